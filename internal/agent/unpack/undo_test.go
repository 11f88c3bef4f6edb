package unpack

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// The push that the tests below break off takes steps of every kind.
var (
	fullTree = []string{
		"src/a/same=1", "src/a/f=1", "src/a/h==src/a/f", "src/a/l->f", "src/a/sub/x=1",
		"src/folder/x=1", "src/folder/y/z=2", "src/folder/y/l->../x", "src/file=1", "src/link->a", "src/zlast/f=1", "outside=1",
	}
	fullStream = []string{
		"./", "a/", "a/f=2", "a/g=3", "a/l->g", "a/sub/n/m/deep=4", "a/sub/x=5", "folder=6", "file/", "file/in=7",
		"link/", "link/in=8", "new/", "new/f=9", "new/h==new/f", "zlast/", "zlast/f=10",
	}
	fullResult = []string{
		"outside=1", "src/", "src/a/", "src/a/f=2", "src/a/g=3", "src/a/h=1", "src/a/l->g", "src/a/same=1", "src/a/sub/",
		"src/a/sub/n/", "src/a/sub/n/m/", "src/a/sub/n/m/deep=4", "src/a/sub/x=5", "src/file/", "src/file/in=7", "src/folder=6",
		"src/link/", "src/link/in=8", "src/new/", "src/new/f=9", "src/new/h=9", "src/zlast/", "src/zlast/f=10",
	}
)

// runWith runs a push with a hook.
func runWith(ctx context.Context, o Options, s []byte, fail func(op, path string) error) error {
	u := &unpacker{rootPath: o.Root, top: &folder{fixed: true}, fail: fail}
	return u.run(ctx, o.Dest, bytes.NewReader(s))
}

// onLayers are hooks that make the file system refuse what some refuse.
var onLayers = map[string]func(op, name string) error{
	"plain": func(string, string) error { return nil },
	"no exchange": func(op, _ string) error {
		if op == "exchange" {
			return unix.EINVAL
		}
		return nil
	},
	"overlay": func(op, name string) error {
		if (op == "exchange" || op == "away") && (name == "folder" || name == "y") {
			return unix.EXDEV
		}
		return nil
	},
}

// TestUndo fails each step in turn, of staging and of commit: the tree is as
// before, byte for byte, with all times and inodes.
func TestUndo(t *testing.T) {
	for layer, refuse := range onLayers {
		t.Run(layer, func(t *testing.T) {
			s := stream(t, fullStream...)
			ops := map[string]int{}
			for k := 0; ; k++ {
				root := t.TempDir()
				plant(t, root, fullTree...)
				before := everything(t, root)
				count, failed := 0, ""
				err := runWith(t.Context(), Options{root, "src"}, s, func(op, path string) error {
					if err := refuse(op, path); err != nil || op == "undo" {
						return err
					}
					if count++; count == k+1 {
						failed = op + " " + path
						ops[op]++
						return unix.ENOSPC
					}
					return nil
				})
				if failed == "" {
					must(t, err)
					if diff := cmp.Diff(fullResult, names(t, root)); diff != "" {
						t.Errorf("tree (-want +got):\n%s", diff)
					}
					break
				}
				wantError(t, err, DiskLimit, "full")
				if diff := cmp.Diff(before, everything(t, root)); diff != "" {
					t.Fatalf("step %d, %s: the tree has changed (-before +after):\n%s", k, failed, diff)
				}
			}
			want := []string{"mkdir", "create", "write", "symlink", "link", "place", "attr"}
			switch layer {
			case "plain":
				want = append(want, "exchange")
			case "no exchange":
				want = append(want, "away")
			case "overlay":
				want = append(want, "exchange", "away", "rmdir")
			}
			for _, op := range want {
				if ops[op] == 0 {
					t.Errorf("no step %q was taken: %v", op, ops)
				}
			}
		})
	}
}

// TestUndoAfterConflict: what is in the way is found when most is done already.
func TestUndoAfterConflict(t *testing.T) {
	root := t.TempDir()
	plant(t, root, append(fullTree, "src/zz->a")...)
	before := everything(t, root)
	_, err := Run(t.Context(), Options{root, "src"}, bytes.NewReader(stream(t, append(fullStream, "zz/f=1")...)))
	wantError(t, err, Conflict, `/src/zz" is a symbolic link`)
	if diff := cmp.Diff(before, everything(t, root)); diff != "" {
		t.Errorf("the tree has changed (-before +after):\n%s", diff)
	}
}

// TestFailedUndoKeeps: what cannot be brought back stays beside the tree, where
// the next run does not sweep it.
func TestFailedUndoKeeps(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "a=precious", "b=1")
	err := runWith(t.Context(), Options{Root: root}, stream(t, "a=2", "b=2", "z=1"), func(op, path string) error {
		switch {
		case op == "place":
			return unix.EIO
		case op == "undo" && path == "a":
			return unix.EROFS
		}
		return nil
	})
	wantError(t, err, Internal, "what is left over is in")
	must(t, runWith(t.Context(), Options{Root: root}, stream(t, "c=1"), nil))
	kept, err := filepath.Glob(filepath.Join(root, keptPrefix+"*", "new", "a"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept %q, %v", kept, err)
	}
	if b, err := os.ReadFile(kept[0]); err != nil || string(b) != "precious" {
		t.Errorf("kept %q, %v", b, err)
	}
	got := slices.DeleteFunc(names(t, root), func(n string) bool { return strings.HasPrefix(n, keptPrefix) })
	if diff := cmp.Diff([]string{"a=2", "b=1", "c=1"}, got); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}

// TestGuestInterferes: between the look at a name and the step, the guest changes
// what stands there.
func TestGuestInterferes(t *testing.T) {
	for _, test := range []struct {
		name   string
		op     string
		change func(t *testing.T, at string)
		want   []string
	}{
		{"a file appears", "place", func(t *testing.T, at string) { plant(t, at, "new=guest") }, []string{"new=2", "old=2"}},
		{"a folder appears", "place", func(t *testing.T, at string) { plant(t, at, "new/x=guest") }, []string{"new=2", "old=2"}},
		{"the file goes", "exchange", func(t *testing.T, at string) { must(t, os.Remove(filepath.Join(at, "old"))) }, []string{"new=2", "old=2"}},
		{"the file becomes a folder", "exchange", func(t *testing.T, at string) {
			must(t, os.Remove(filepath.Join(at, "old")))
			plant(t, at, "old/x=guest")
		}, []string{"new=2", "old=2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			plant(t, root, "old=1")
			done := false
			must(t, runWith(t.Context(), Options{Root: root}, stream(t, "new=2", "old=2"), func(op, _ string) error {
				if op == test.op && !done {
					done = true
					test.change(t, root)
				}
				return nil
			}))
			if diff := cmp.Diff(test.want, names(t, root)); !done || diff != "" {
				t.Errorf("tree (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUndoAfterTheGuest: what the guest removed of the new is not missed.
func TestUndoAfterTheGuest(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "a=1", "d/x=1")
	err := runWith(t.Context(), Options{Root: root}, stream(t, "a=2", "b=2", "d/x=2", "z=2"), func(op, path string) error {
		if op != "place" || path != "z" {
			return nil
		}
		must(t, os.Remove(filepath.Join(root, "a")))
		must(t, os.Remove(filepath.Join(root, "b")))
		return unix.EIO
	})
	wantError(t, err, Internal, `/z"`)
	if diff := cmp.Diff([]string{"a=1", "d/", "d/x=1"}, names(t, root)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}
