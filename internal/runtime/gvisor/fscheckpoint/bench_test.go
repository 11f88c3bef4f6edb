package fscheckpoint_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"pyro/internal/runtime/gvisor/fscheckpoint"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// benchLayer has files of size bytes in folders of a hundred.
func benchLayer(files, size int) *layer {
	l := newLayer()
	data := strings.Repeat("x", size)
	for i := range files {
		if i%100 == 0 {
			l.with(dir(fmt.Sprintf("dir-%03d", i/100)))
		}
		l.file(fmt.Sprintf("dir-%03d/some-file-%05d.txt", i/100, i), data)
	}
	return l
}

func BenchmarkApply(b *testing.B) {
	for _, c := range []struct {
		name        string
		files, size int
	}{
		{"files=100", 99, 2000},
		{"files=10000", 10_000, 12_800},
	} {
		b.Run(c.name, func(b *testing.B) {
			dir := newCheckpoint().add(b, "/", benchLayer(c.files, c.size)).save(b)
			b.ReportAllocs()
			for b.Loop() {
				cp, err := fscheckpoint.Open(dir)
				if err != nil {
					b.Fatal(err)
				}
				t, err := tree.New(b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				if err := cp.Apply(b.Context(), "/", t, tree.Limits{}); err != nil {
					b.Fatal(err)
				}
				t.Close()
				cp.Close()
			}
		})
	}
}

func BenchmarkWriteLayer(b *testing.B) {
	const files, size = 10_000, 12_800
	c := newCheckpoint().add(b, "/", benchLayer(files, size)).open(b)
	b.SetBytes(files * size)
	for b.Loop() {
		if err := c.WriteLayer(b.Context(), "/", io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads all files of an applied layer.
func BenchmarkRead(b *testing.B) {
	const files, size = 10_000, 12_800
	c := newCheckpoint().add(b, "/", benchLayer(files, size)).open(b)
	t := treetest.New(b)
	if err := c.Apply(b.Context(), "/", t, tree.Limits{}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(files * size)
	for b.Loop() {
		if err := t.WriteTar(io.Discard, when); err != nil {
			b.Fatal(err)
		}
	}
}
