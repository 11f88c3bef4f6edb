package terminal_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pyro/internal/terminal"
)

func FuzzPlain(f *testing.F) {
	for _, r := range recordings(f) {
		f.Add(r.raw, uint16(r.Cols), uint16(r.Rows), uint16(len(r.raw)/2), false)
	}
	for _, raw := range []string{
		"\x1b[1;99r\x1b[H\x1bM", "\x1b[?69h\x1b[1;31s\x1b[H\x1bM", "a\x1b[999999999999b", "\x1b[99999999999999999999C日\x1b[99@\x1b[2P",
		"\x1b]0;" + strings.Repeat("x", 5000), "日\u0301\b\u0301\x1b[X\u0301", "\x1b[?1049h\x1b[9999S\x1b[9999T\x1b[9999L\x1b[9999M", "\x1b[\r\n1", "0;31m", "?4l\x80\x1b[\x00",
	} {
		f.Add([]byte(raw), uint16(10), uint16(4), uint16(3), true)
	}
	f.Add([]byte("\x1b[9rabcd"), uint16(3), uint16(1), uint16(3), false)
	f.Fuzz(func(t *testing.T, raw []byte, cols, rows, at uint16, cut bool) {
		o := terminal.Options{Cols: int(cols % 300), Rows: int(rows % 100), Cut: cut}
		text, rest := terminal.Plain(raw, o)
		checkText(t, text)
		if rest < 0 || rest > len(raw) || rest > 4096 {
			t.Fatalf("%d bytes left of %d", rest, len(raw))
		}
		// The promise of the package comment, and the line feeds of one screen.
		if limit := (len(raw) + 1) * 4 * max(o.Cols, o.Rows, terminal.DefaultCols); len(text) > limit {
			t.Fatalf("%d bytes made %d", len(raw), len(text))
		}
		// What is given back had no effect, but on an incomplete one before it.
		if short, more := terminal.Plain(raw[:len(raw)-rest], o); more == 0 && short != text {
			t.Fatalf("with %d bytes more %q became %q", rest, short, text)
		}
		o.Cut = false
		whole, rest := terminal.Plain(raw, o)
		middle := int(at) % (len(raw) + 1)
		screen := terminal.NewScreen(o)
		screen.Write(raw[:middle])
		screen.Write(raw[middle:])
		if got := screen.Take(); rest == 0 && got != whole {
			t.Fatalf("in two portions %q, in one %q", got, whole)
		}
		o.Before = raw[:middle]
		after, _ := terminal.Plain(raw[middle:], o)
		checkText(t, after)
	})
}

// checkText checks what is promised of every text.
func checkText(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Fatalf("%q is not UTF-8", text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && unicode.IsControl(r) }); i >= 0 {
		t.Fatalf("a control character is in the text: %q", text[i:])
	}
}
