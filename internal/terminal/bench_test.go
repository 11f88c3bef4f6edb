package terminal_test

import (
	"bytes"
	"strings"
	"testing"

	"pyro/internal/terminal"
)

func BenchmarkPlain(b *testing.B) {
	for _, bench := range []struct{ name, unit string }{
		{"coloured", "\x1b[01;34mdirectory\x1b[0m  \x1b[32mfile.go\x1b[0m  some text \x1b[1;31merror:\x1b[0m of the usual length\r\n"},
		{"text", "a line of text as it comes out of a compiler, about seventy bytes\r\n"},
		{"bar", "\r\x1b[K 42% [\x1b[32m##########\x1b[0m          ] 12.3 MB/s"},
		{"wide", "日本語のテキスト、あまり長くない行です\r\n"},
		{"screens", "\x1b[H\x1b[2J\x1b[5;10Hx\x1b[20;3Hy\x1b[3L\x1b[2M"},
		{"line feeds", "\n"},
		{"erasures", "\x1b[2J"},
		{"wraps", strings.Repeat("x", 4096)},
	} {
		raw := bytes.Repeat([]byte(bench.unit), 1<<20/len(bench.unit))
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				terminal.Plain(raw, terminal.Options{})
			}
		})
	}
	b.Run("worst", func(b *testing.B) {
		raw := bytes.Repeat([]byte("\x1b[2J"), 1<<18)
		o := terminal.Options{Cols: terminal.MaxCols, Rows: terminal.MaxRows}
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			terminal.Plain(raw, o)
		}
	})
}
