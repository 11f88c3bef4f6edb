package export_test

import (
	"bytes"
	"os"
	"path/filepath"
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
