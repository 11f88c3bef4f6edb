package commandlog

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkGiB writes 1 GiB through stdout in pieces of one size; "plain" writes
// the same to a file of the same budget, which starts over when it is full.
func BenchmarkGiB(b *testing.B) {
	const total = 1 << 30
	for _, size := range []int{100, 4 << 10, 32 << 10, 128 << 10} {
		p := sample(size)
		b.Run(fmt.Sprintf("log/%d", size), func(b *testing.B) {
			b.SetBytes(total)
			for b.Loop() {
				l := Open(filepath.Join(b.TempDir(), "log"), Budget{})
				o := l.Begin(1)
				for n := 0; n < total; n += size {
					o.Stdout().Write(p)
				}
				if _, err := o.Close(); err != nil {
					b.Fatal(err)
				}
				l.Clear()
			}
		})
		b.Run(fmt.Sprintf("plain/%d", size), func(b *testing.B) {
			b.SetBytes(total)
			for b.Loop() {
				path := filepath.Join(b.TempDir(), "file")
				file, err := os.Create(path)
				if err != nil {
					b.Fatal(err)
				}
				for n, at := 0, 0; n < total; n += size {
					if at += size; at > 64<<20 {
						file.Seek(0, io.SeekStart)
						at = 0
					}
					if _, err := file.Write(p); err != nil {
						b.Fatal(err)
					}
				}
				file.Close()
				os.Remove(path)
			}
		})
	}
}

// BenchmarkCommand is what an ordinary command costs.
func BenchmarkCommand(b *testing.B) {
	l := Open(b.TempDir(), Budget{Total: 16 << 20})
	for i := 1; b.Loop(); i++ {
		run(b, l, i, "a line\n", "")
	}
}

// BenchmarkClose is the end of a command that wrote more than is kept.
func BenchmarkClose(b *testing.B) {
	p := sample(1 << 20)
	for b.Loop() {
		b.StopTimer()
		l := Open(b.TempDir(), Budget{})
		o := l.Begin(1)
		for range 100 {
			o.Stdout().Write(p)
		}
		b.StartTimer()
		o.Close()
		b.StopTimer()
		l.Clear()
		b.StartTimer()
	}
}
