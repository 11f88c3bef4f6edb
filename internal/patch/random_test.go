package patch_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

var (
	names = []string{
		"a", "b", " lead", "trail ", "two words", "x b", "x", "tab\there", "new\nline", `quo"te`, `back\slash`,
		"h\xc3\xa9", "\xff\xfe", "a-b", "a.txt", "-", "+++ b", "--- a", "dev", "null", "bell\a\b\v\f\r\x01\x7f", "@@", "'",
	}
	tameNames = []string{"a", "b", "c", "a-b", "a.txt", "two words", "x", "run.sh", "h\xc3\xa9", `quo"te`, "tab\there"}
)

// randomPair returns a tree and what became of it.
func randomPair(t *testing.T, r *rand.Rand, names []string) (before, after *tree.Tree) {
	before = treetest.New(t)
	put(t, before, folder(""))
	for range r.IntN(25) {
		before.Put(randomPath(r, before, names), randomNode(r), nil)
	}
	if len(names) > 15 { // any name will do: take the hardest ones too
		whole := treetest.New(t)
		treetest.Random(t, whole, r, r.IntN(12))
		graft(t, before, whole)
	}
	texts(t, r, before)
	after = treetest.Clone(t, before, r)
	for range r.IntN(12) {
		mutate(t, r, after, names)
	}
	return before, after
}

// graft puts all of whole below /w.
func graft(t *testing.T, to, whole *tree.Tree) {
	whole.Walk(func(path string, n *tree.Node) error {
		if path != "/" {
			if _, err := to.Lookup("/w" + path); err == nil {
				return nil
			}
			if err := to.Put("/w"+path, n, whole.Open(n)); errors.Is(err, fs.ErrNotExist) {
				return fs.SkipDir // a file of before stands in the way
			} else if err != nil {
				t.Fatal(err)
			}
		}
		return nil
	})
}

// paths returns all that is below /w, sorted, so that a seed always does the same.
func paths(tr *tree.Tree) (all []string) {
	tr.Walk(func(path string, n *tree.Node) error {
		if strings.HasPrefix(path, "/w/") {
			all = append(all, path)
		}
		return nil
	})
	return all
}

func randomPath(r *rand.Rand, tr *tree.Tree, names []string) string {
	dir := "/w"
	if all := paths(tr); len(all) > 0 && r.IntN(2) == 0 {
		p := all[r.IntN(len(all))]
		if n, err := tr.Lookup(p); err == nil && n.Type == tree.Dir && len(p) < 1000 {
			dir = p
		}
	}
	return filepath.Join(dir, names[r.IntN(len(names))])
}

func randomNode(r *rand.Rand) *tree.Node {
	n := &tree.Node{Mode: []uint32{0o644, 0o755, 0o600, 0o711}[r.IntN(4)]}
	switch k := r.IntN(12); {
	case k < 3:
		n.Type = tree.Dir
	case k < 5:
		n.Type, n.Target = tree.Symlink, []string{"a", "../b", "/etc/passwd", "line\nbreak", "\xff", "ends\n"}[r.IntN(6)]
	case k == 5:
		n.Type = tree.Fifo
	}
	return n
}

// texts fills empty files with text.
func texts(t *testing.T, r *rand.Rand, tr *tree.Tree) {
	for _, p := range paths(tr) {
		if n, _ := tr.Lookup(p); n != nil && n.Type == tree.Regular && n.Size == 0 {
			if err := tr.Put(p, n, strings.NewReader(randomText(r))); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func randomText(r *rand.Rand) string {
	var lines []string
	for i := range r.IntN([]int{1, 3, 20, 300}[r.IntN(4)]) {
		lines = append(lines, randomLine(r, i))
	}
	text := strings.Join(lines, "")
	switch r.IntN(8) {
	case 0, 1:
		return strings.TrimSuffix(text, "\n")
	case 2:
		return strings.ReplaceAll(text, "\n", "\r\n")
	case 3:
		if len(text) > 100 {
			return text[:50] + "\x00" + text[50:]
		}
	}
	return text
}

func randomLine(r *rand.Rand, i int) string {
	switch r.IntN(3) {
	case 0:
		return fmt.Sprintf("line %d\n", i)
	case 1:
		return fmt.Sprintf("line %d\n", r.IntN(1000))
	}
	return []string{"\n", "}\n", "-- \n", "--- a/x\n", "+++ b/x\n", "@@ -1 +1 @@\n", "diff --git a/a b/b\n", "\\ No newline\n", "\r\n", "\xff\xfe\n", "  \t \n"}[r.IntN(11)]
}

func mutate(t *testing.T, r *rand.Rand, tr *tree.Tree, names []string) {
	all := paths(tr)
	path := randomPath(r, tr, names)
	if len(all) > 0 && r.IntN(4) > 0 {
		path = all[r.IntN(len(all))]
	}
	old, _ := tr.Lookup(path)
	var err error
	switch k := r.IntN(8); {
	case old == nil || k == 0: // something else, or something new
		if err = tr.Remove(path); err == nil {
			err = tr.Put(path, randomNode(r), nil)
		}
		texts(t, r, tr)
	case k == 1:
		err = tr.Remove(path)
	case k == 2 && old.Type == tree.Dir: // a file or link in a folder's place
		n := randomNode(r)
		tr.Remove(path)
		err = tr.Put(path, n, nil)
	case k == 2: // and a folder in theirs
		tr.Remove(path)
		if err = tr.Put(filepath.Join(path, names[0]), randomNode(r), nil); err == nil {
			texts(t, r, tr)
		}
	case k == 3 && old.Type != tree.Symlink:
		old.Mode ^= []uint32{0o111, 0o022, 0o4000}[r.IntN(3)]
	case old.Type == tree.Symlink:
		err = tr.Put(path, &tree.Node{Type: tree.Symlink, Target: old.Target[:min(len(old.Target), 4000)] + "2"}, nil)
	case old.Type == tree.Regular:
		data := make([]byte, old.Size)
		tr.Open(old).ReadAt(data, 0)
		err = tr.Put(path, old, strings.NewReader(editText(r, string(data))))
	}
	if err != nil {
		t.Fatalf("%q: %v", path, err)
	}
}

func editText(r *rand.Rand, text string) string {
	lines := strings.SplitAfter(text, "\n")
	for range 1 + r.IntN(6) {
		at := r.IntN(len(lines) + 1)
		switch r.IntN(4) {
		case 0:
			lines = slices.Insert(lines, at, randomLine(r, 7))
		case 1:
			lines = slices.Delete(lines, at, min(len(lines), at+r.IntN(4)))
		case 2:
			if at < len(lines) {
				lines[at] = randomLine(r, 8)
			}
		case 3:
			if last := len(lines) - 1; last >= 0 && r.IntN(2) == 0 {
				lines[last] = strings.TrimSuffix(lines[last], "\n")
			}
		}
	}
	return strings.Join(lines, "")
}
