package tree_test

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// FuzzApplyTar is best run with -fuzzminimizetime=10x: walking maps makes the
// coverage of one input differ, and minimizing it would take all the time.
func FuzzApplyTar(f *testing.F) {
	lower := archive(f, file("d/old", "old"), symlink("l", "d"), file("e/f/g", "g"), hardlink("h", "e/f/g"))
	for _, seed := range [][]byte{
		archive(f, file("d/new", "new"), file("d/.wh..wh..opq", ""), file(".wh.h", ""), dir("e/f")),
		archive(f, device("d", tar.TypeChar, 0, 0), hardlink("l", "d"), opaque("e"), file("e/x", "x")),
		archive(f, symlink("up", "../.."), file("up/x", "x"), hardlink("y", "up/x"), symlink("loop", "loop")),
		archive(f, pax(file(strings.Repeat("n", 200), "x"), "SCHILY.xattr.user.a", "b"), device("dev", tar.TypeBlock, 4095, 1<<20-1)),
		archive(f, file(".wh.", "")),
		archive(f, file("a/../b", "")),
		sparse(),
		rawHeader("f", '0', map[int]string{124: "00000077777\x00"}),
		lower,
	} {
		for mode := range byte(3) {
			f.Add(seed, mode)
		}
	}
	limits := tree.Limits{Entries: 200, Bytes: 1 << 20, NameLen: 600, Depth: 40}
	f.Fuzz(func(t *testing.T, data []byte, mode byte) {
		tr := treetest.New(t)
		if err := tr.ApplyTar(bytes.NewReader(lower), tree.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
		o := tree.ApplyOptions{Name: "fuzz", Whiteouts: tree.Whiteouts(mode % 3), Limits: limits}
		if err := tr.ApplyTar(bytes.NewReader(data), o); err != nil {
			if api.KindOf(err) != api.KindUnsafe {
				t.Fatalf("kind %q: %v", api.KindOf(err), err)
			}
			return
		}
		checkTree(t, tr, limits)
		tr2 := again(t, tr)
		if d := cmp.Diff(treetest.Entries(t, tr), treetest.Entries(t, tr2)); d != "" {
			t.Fatal("its own tar gives another tree:\n", d)
		}
	})
}

// checkTree asserts what holds for every tree.
func checkTree(t *testing.T, tr *tree.Tree, limits tree.Limits) {
	t.Helper()
	count := 0
	err := tr.Walk(func(path string, n *tree.Node) error {
		count++
		if found, err := tr.Lookup(path); err != nil || found != n {
			t.Errorf("%q cannot be looked up: %v", path, err)
		}
		if len(path) > limits.NameLen || strings.Count(path, "/") > limits.Depth {
			t.Errorf("%q is beyond the limits", path)
		}
		for _, part := range strings.Split(path, "/")[1:] {
			if path != "/" && (part == "" || part == "." || part == ".." || len(part) > 255 || strings.Contains(part, "\x00")) {
				t.Errorf("%q has the part %q", path, part)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := tr.Stat(); s.Entries != count-1 || s.Entries > limits.Entries+10 || s.Bytes > limits.Bytes+10 {
		t.Errorf("%d entries, %+v, limits %+v", count, s, limits)
	}
}
