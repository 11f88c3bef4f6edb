package export_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pyro/internal/export"
	"pyro/internal/tree"
)

// TestHoles: a sparse file of the guest does not fill the host's disk, and has
// the same bytes.
func TestHoles(t *testing.T) {
	files, err := tree.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	const size = 32 << 20
	content := make([]byte, size)
	content[5] = 1
	copy(content[20<<20:], "in the middle")
	if err := files.Put("/sparse", &tree.Node{Mode: 0o640}, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := files.Put("/zeros", &tree.Node{Mode: 0o640}, bytes.NewReader(make([]byte, size))); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "out")
	if _, err := export.Write(t.Context(), export.Source{Tree: files, Path: "/"}, target, export.Options{}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(target, "sparse"))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("other bytes, or %v", err)
	}
	for _, name := range []string{"sparse", "zeros"} {
		info, err := os.Stat(filepath.Join(target, name))
		if err != nil {
			t.Fatal(err)
		}
		if blocks := info.Sys().(*syscall.Stat_t).Blocks; info.Size() != size || blocks*512 > 4<<20 {
			t.Errorf("%s has %d bytes and takes %d on the disk", name, info.Size(), blocks*512)
		}
	}
}

// hole is a source of a file of a terabyte whose last bytes alone are data.
type hole struct{ reads int64 }

const terabyte = 1 << 40

func (h *hole) NextData(off int64) (start, end int64) { return max(off, terabyte-3), terabyte }

func (h *hole) ReadAt(p []byte, off int64) (int, error) {
	h.reads += int64(len(p))
	return strings.NewReader("end").ReadAt(p, off-(terabyte-3))
}

// TestHolesAreNotRead: what is exported of a file whose holes are known costs what
// is in it.
func TestHolesAreNotRead(t *testing.T) {
	g, src := newGuest(t), &hole{}
	if err := g.PutData("/workspace/f", &tree.Node{Mode: 0o640, Size: terabyte}, src, 0); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "out")
	if _, err := export.Write(t.Context(), g.source("f"), target, export.Options{MaxBytes: terabyte}); err != nil {
		t.Fatal(err)
	}
	out, err := os.Open(target)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	info, err := out.Stat()
	if err != nil || info.Size() != terabyte || src.reads > 3 {
		t.Errorf("%d bytes were read, and written: %v, %v", src.reads, info.Size(), err)
	}
	b := make([]byte, 4)
	if _, err := out.ReadAt(b, terabyte-4); err != nil || string(b) != "\x00end" {
		t.Errorf("the end is %q, %v", b, err)
	}
}
