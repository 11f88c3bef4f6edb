package tree_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// sample returns a tree with links of every kind.
func sample(t *testing.T) *tree.Tree {
	return apply(t, tree.ApplyOptions{}, []entry{
		file("usr/bin/tool", "tool"), symlink("bin", "usr/bin"), symlink("usr/bin/alias", "tool"),
		symlink("abs", "/usr/bin/tool"), symlink("up", "../../usr"), symlink("loop", "loop2"), symlink("loop2", "loop"),
		symlink("broken", "nowhere"), file("plain", "plain"),
	})
}

func TestLookup(t *testing.T) {
	tr := sample(t)
	for _, c := range []struct {
		path, lookup, resolve string // the type found, or "none" or "loop"
	}{
		{"/", "folder", "folder"},
		{"", "folder", "folder"},
		{"usr/bin/tool", "regular file", "regular file"},
		{"//usr/./bin//tool/", "regular file", "regular file"},
		{"/bin", "symbolic link", "folder"},
		{"/bin/", "symbolic link", "folder"},
		{"/bin/.", "symbolic link", "folder"},
		{"/bin/tool", "regular file", "regular file"},
		{"/bin/alias", "symbolic link", "regular file"},
		{"/bin/../bin/tool", "regular file", "regular file"},
		{"/bin/../lib", "none", "none"},
		{"/abs", "symbolic link", "regular file"},
		{"/up", "symbolic link", "folder"},
		{"/up/bin/tool", "regular file", "regular file"},
		{"/../../usr", "folder", "folder"},
		{"/usr/..", "folder", "folder"},
		{"/plain/..", "none", "none"},
		{"/plain/x", "none", "none"},
		{"/broken", "symbolic link", "none"},
		{"/broken/x", "none", "none"},
		{"/loop", "symbolic link", "loop"},
		{"/loop/x", "loop", "loop"},
		{"/none", "none", "none"},
	} {
		for _, f := range []struct {
			name string
			find func(string) (*tree.Node, error)
			want string
		}{{"Lookup", tr.Lookup, c.lookup}, {"Resolve", tr.Resolve, c.resolve}} {
			n, err := f.find(c.path)
			got := ""
			switch {
			case err == nil:
				got = n.Type.String()
			case errors.Is(err, os.ErrNotExist) && api.KindOf(err) == api.KindNotFound:
				got = "none"
			case api.KindOf(err) == api.KindUnsafe:
				got = "loop"
			}
			if got != f.want {
				t.Errorf("%s(%q) finds %q (%v), want %q", f.name, c.path, got, err, f.want)
			}
		}
	}
}

func TestPutReplaces(t *testing.T) {
	tr := sample(t)
	n := &tree.Node{Type: tree.Dir, Mode: 0o700, UID: 7, ModTime: time.Unix(9, 0), Xattrs: map[string]string{"user.a": "b"}}
	for _, path := range []string{"/bin", "/usr", "/", "/new/dir"} {
		if err := tr.Put(path, n, nil); err != nil {
			t.Fatal(err)
		}
	}
	n.Xattrs["user.a"] = "changed by the caller"
	if err := tr.PutFile("/abs", 0o600, epoch, []byte("own")); err != nil {
		t.Fatal(err)
	}
	all := treetest.Entries(t, tr)
	want := treetest.Entry{Type: "folder", Mode: 0o700, UID: 7, Seconds: 9, Xattrs: map[string]string{"user.a": "b"}}
	for _, path := range []string{"/usr", "/", "/new/dir"} {
		if d := cmp.Diff(want, all[path]); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
	if all["/bin"].Target != "usr/bin" {
		t.Error("the folder took the link's place:", all["/bin"])
	}
	if all["/new"].Mode != 0o755 || all["/new"].UID != 0 {
		t.Error("the parent made on the way:", all["/new"])
	}
	if all["/abs"].Data != "own" || all["/usr/bin/tool"].Data != "tool" {
		t.Error("a file was written through a link")
	}
}

func TestPutRefuses(t *testing.T) {
	tr := sample(t)
	for _, c := range []struct {
		path string
		n    tree.Node
	}{
		{"/a/../b", tree.Node{}},
		{"/a\x00", tree.Node{}},
		{"/" + strings.Repeat("x", 256), tree.Node{}},
		{"/", tree.Node{}},
		{"/loop/x", tree.Node{}},
		{"/x", tree.Node{Type: tree.Symlink}},
		{"/x", tree.Node{Type: tree.Symlink, Target: "a\x00b"}},
		{"/x", tree.Node{Type: tree.CharDevice, Major: 4096}},
		{"/x", tree.Node{Type: tree.Type(77)}},
		{"/x", tree.Node{Xattrs: map[string]string{"a=b": "c"}}},
	} {
		if err := tr.Put(c.path, &c.n, nil); api.KindOf(err) != api.KindUnsafe {
			t.Errorf("Put(%q, %+v) = %v", c.path, c.n, err)
		}
	}
	if err := tr.PutFile("/plain/x", 0o644, epoch, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file below a file: %v", err)
	}
	full := errors.New("no more")
	before := list(t, tr)
	if err := tr.Put("/plain", &tree.Node{}, io.MultiReader(strings.NewReader("half"), &failingReader{full})); !errors.Is(err, full) {
		t.Errorf("data that fails: %v", err)
	}
	if d := cmp.Diff(before, list(t, tr)); d != "" {
		t.Error("a Put that failed changed the tree:", d)
	}
}

type failingReader struct{ err error }

func (r *failingReader) Read([]byte) (int, error) { return 0, r.err }

func TestPutData(t *testing.T) {
	tr := treetest.New(t)
	src := strings.NewReader("0123456789")
	if err := tr.PutData("/f", &tree.Node{Mode: 0o644, Size: 4}, src, 3); err != nil {
		t.Fatal(err)
	}
	if b, err := tr.ReadFile("/f"); string(b) != "3456" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if err := tr.PutData("/d", &tree.Node{Type: tree.Dir}, src, 0); err == nil {
		t.Error("a folder with data")
	}
}

func TestRemove(t *testing.T) {
	tr := sample(t)
	for _, path := range []string{"/bin/alias", "/up", "/none", "/none/x", "/plain/x", "/abs"} {
		if err := tr.Remove(path); err != nil {
			t.Errorf("Remove(%q) = %v", path, err)
		}
	}
	want := []string{"/bin -> usr/bin", "/broken -> nowhere", "/loop -> loop2", "/loop2 -> loop", "/plain = plain", "/usr", "/usr/bin", "/usr/bin/tool = tool"}
	if d := cmp.Diff(want, list(t, tr)); d != "" {
		t.Error(d)
	}
	if err := tr.Remove("/"); err != nil {
		t.Fatal(err)
	}
	if got := list(t, tr); len(got) > 0 {
		t.Error(got)
	}
}

func TestReadFileIsBounded(t *testing.T) {
	tr := treetest.New(t)
	if err := tr.PutData("/big", &tree.Node{Size: 64<<20 + 1}, bytes.NewReader(nil), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.ReadFile("/big"); api.KindOf(err) != api.KindUnsafe {
		t.Error(err)
	}
	if _, err := tr.ReadFile("/"); api.KindOf(err) != api.KindConflict {
		t.Error(err)
	}
}

func TestWalkSkipDir(t *testing.T) {
	var got []string
	err := sample(t).Walk(func(path string, n *tree.Node) error {
		got = append(got, path)
		if path == "/usr" {
			return fs.SkipDir
		}
		return nil
	})
	want := []string{"/", "/abs", "/bin", "/broken", "/loop", "/loop2", "/plain", "/up", "/usr"}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(d, err)
	}
}

// TestOpenWhilePutting reads files while others are added (run with -race).
func TestOpenWhilePutting(t *testing.T) {
	tr := treetest.New(t)
	if err := tr.PutFile("/f", 0o644, epoch, bytes.Repeat([]byte("f"), 3<<20/2)); err != nil {
		t.Fatal(err)
	}
	n, err := tr.Lookup("/f")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			b, err := io.ReadAll(tr.Open(n))
			if err != nil || len(b) != 3<<20/2 || bytes.Count(b, []byte("f")) != len(b) {
				t.Errorf("read %d bytes: %v", len(b), err)
			}
		})
	}
	for range 20 {
		if err := tr.PutFile("/g", 0o644, epoch, bytes.Repeat([]byte("g"), 200_000)); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}

func TestSpoolLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	tr, err := tree.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.PutFile("/f", 0o644, epoch, make([]byte, 2<<20)); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the spool has a name: %v, %v", left, err)
	}
	if _, err := tree.New(dir + "/none"); api.KindOf(err) != api.KindStorage {
		t.Errorf("a spool in no folder: %v", err)
	}
}
