package unpack

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// tenThousand is a push of 10,000 files of 2 KiB in 500 folders.
func tenThousand(b *testing.B) []byte {
	b.Helper()
	var entries []string
	data := strings.Repeat("x", 2048)
	for d := range 500 {
		entries = append(entries, fmt.Sprintf("d%03d/", d))
		for f := range 20 {
			entries = append(entries, fmt.Sprintf("d%03d/f%02d=%s", d, f, data))
		}
	}
	return stream(b, entries...)
}

// BenchmarkRun pushes 10,000 files to an empty place, and over themselves.
func BenchmarkRun(b *testing.B) {
	s := tenThousand(b)
	push := func(b *testing.B, root string) {
		if _, err := Run(b.Context(), Options{root, "src"}, bytes.NewReader(s)); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			root := b.TempDir()
			b.StartTimer()
			push(b, root)
		}
	})
	b.Run("again", func(b *testing.B) {
		root := b.TempDir()
		push(b, root)
		for b.Loop() {
			push(b, root)
		}
	})
}

// BenchmarkTar is what BenchmarkRun is compared with.
func BenchmarkTar(b *testing.B) {
	tar, err := exec.LookPath("tar")
	if err != nil {
		b.Skipf("needs tar")
	}
	s := tenThousand(b)
	extract := func(b *testing.B, root string) {
		cmd := exec.CommandContext(b.Context(), tar, "x", "-C", root)
		cmd.Stdin, cmd.Stderr = bytes.NewReader(s[:len(s)-len(CommitWord)]), os.Stderr
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			root := b.TempDir()
			b.StartTimer()
			extract(b, root)
		}
	})
	b.Run("again", func(b *testing.B) {
		root := b.TempDir()
		extract(b, root)
		for b.Loop() {
			extract(b, root)
		}
	})
}
