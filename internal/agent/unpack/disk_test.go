package unpack

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// mount mounts a file system at a new folder until the test ends.
func mount(t *testing.T, source, fstype, data string) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	if err := unix.Mount(source, dir, fstype, 0, data); err != nil {
		t.Skipf("needs to mount %s: %v", fstype, err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	return dir
}

// TestFullDisk: no more room for data, or for names.
func TestFullDisk(t *testing.T) {
	for name, test := range map[string]struct {
		options string
		stream  []string
	}{
		"bytes": {"size=1m", []string{"a=2", "big=" + strings.Repeat("x", 2<<20)}},
		"names": {"nr_inodes=12", []string{"a=2", "1=", "2=", "3=", "4=", "5=", "6=", "7=", "8=", "9="}},
	} {
		t.Run(name, func(t *testing.T) {
			root := mount(t, "tmpfs", "tmpfs", test.options)
			plant(t, root, "a=1")
			before := everything(t, root)
			_, err := Run(t.Context(), Options{Root: root}, bytes.NewReader(stream(t, test.stream...)))
			wantError(t, err, DiskLimit, "the disk of the sandbox is full")
			if diff := cmp.Diff(before, everything(t, root)); diff != "" {
				t.Errorf("the tree has changed (-before +after):\n%s", diff)
			}
			_, err = Run(t.Context(), Options{Root: root}, bytes.NewReader(stream(t, "a=3")))
			must(t, err)
		})
	}
}

// overlay mounts an overlay whose lower layer has the tree, and whose upper one
// has a few megabytes.
func overlay(t *testing.T, tree ...string) string {
	t.Helper()
	lower := t.TempDir()
	plant(t, lower, tree...)
	upper := mount(t, "tmpfs", "tmpfs", "size=2m")
	for _, name := range []string{"up", "work"} {
		must(t, os.Mkdir(filepath.Join(upper, name), 0o755))
	}
	return mount(t, "overlay", "overlay",
		"lowerdir="+lower+",upperdir="+filepath.Join(upper, "up")+",workdir="+filepath.Join(upper, "work"))
}

// TestOverlay: a tree of a lower layer, whose folders Linux cannot rename.
func TestOverlay(t *testing.T) {
	root := overlay(t, fullTree...)
	_, err := Run(t.Context(), Options{root, "src"}, bytes.NewReader(stream(t, fullStream...)))
	must(t, err)
	if diff := cmp.Diff(fullResult, names(t, root)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}

// TestOverlayFullInCommit: what is replaced must be copied to the upper layer to
// be moved, and there is no room for that.
func TestOverlayFullInCommit(t *testing.T) {
	root := overlay(t, append(slices.Clone(fullTree), "src/zz="+strings.Repeat("x", 4<<20))...)
	before := names(t, root)
	_, err := Run(t.Context(), Options{root, "src"}, bytes.NewReader(stream(t, append(slices.Clone(fullStream), "zz=small")...)))
	wantError(t, err, DiskLimit, `/src/zz" cannot be written`)
	if diff := cmp.Diff(before, names(t, root)); diff != "" {
		t.Errorf("the tree has changed (-before +after):\n%s", diff)
	}
}
