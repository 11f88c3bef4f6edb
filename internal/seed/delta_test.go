package seed_test

import (
	"archive/tar"
	"bytes"
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/seed"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// read returns the folder of the host as a tree below /workspace.
func (h host) read(t *testing.T) *tree.Tree {
	t.Helper()
	tr := treetest.New(t)
	if _, err := seed.Folder(t.Context(), h.dir, tr, "/workspace", seed.Options{Strict: true}); err != nil {
		t.Fatal(err)
	}
	return tr
}

func manifest(t *testing.T, tr *tree.Tree, made time.Time) *seed.Manifest {
	t.Helper()
	m, err := seed.NewManifest(t.Context(), tr, "/workspace", made)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer // as it is kept between two pushes
	if err := gob.NewEncoder(&b).Encode(m); err != nil {
		t.Fatal(err)
	}
	m = nil
	if err := gob.NewDecoder(&b).Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDelta(t *testing.T) {
	h := newHost(t)
	for _, name := range []string{"same", "content", "mode", "touched", "gone", "type", "size", "d/deep/x", "odd\n\xff", "racy"} {
		h.file(name, "one")
	}
	h.symlink("link", "same")
	h.symlink("relinked", "same")
	h.file("h1", "hard")
	h.must(os.Link(h.path("h1"), h.path("h2")))
	h.age()
	old := h.read(t)
	m := manifest(t, old, time.Now())

	nothing, err := seed.Delta(t.Context(), m, h.read(t), "/workspace")
	if err != nil || len(nothing.Entries) != 0 || len(nothing.Deleted) != 0 || nothing.Bytes != 0 {
		t.Fatalf("nothing changed, but: %+v, %v", nothing, err)
	}

	later := time.Now().Add(time.Hour)
	h.file("content", "two") // the same size
	h.chmod("mode", 0o755)
	h.must(os.Chtimes(h.path("touched"), later, later))
	h.must(os.Remove(h.path("gone")))
	h.must(os.Remove(h.path("type")))
	h.folder("type")
	h.file("size", "three")
	h.file("d/deep/new", "new")
	h.must(os.Remove(h.path("relinked")))
	h.symlink("relinked", "d")
	h.file("h2", "HARD")
	now := h.read(t)
	c, err := seed.Delta(t.Context(), m, now, "/workspace")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range c.Entries {
		got = append(got, fmt.Sprintf("%s %s", e.Status, e.Path))
	}
	want := []string{
		"modified content", "added d/deep/new", "modified h1", "modified h2", "modified mode",
		"modified relinked", "modified size", "type_changed type",
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := gocmp.Diff([]string{"gone"}, c.Deleted); d != "" {
		t.Error(d)
	}
	if c.Bytes != 3+3+4+3+5 {
		t.Errorf("%d bytes", c.Bytes)
	}

	// What was pushed plus the changes is what is there now, but for deletions
	// and for the times of what did not change otherwise.
	var b bytes.Buffer
	if err := c.WriteTar(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	place := treetest.New(t)
	var whole bytes.Buffer
	if err := subtree(t, old).WriteTar(&whole, time.Time{}); err != nil {
		t.Fatal(err)
	}
	for _, r := range []io.Reader{&whole, &b} {
		if err := place.ApplyTar(r, tree.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	wantAll, gotAll := treetest.Entries(t, subtree(t, now)), treetest.Entries(t, place)
	wantAll["/gone"] = gotAll["/gone"]
	for p, e := range wantAll {
		if e.Type == "folder" || p == "/touched" {
			e.Seconds, e.Nanos = gotAll[p].Seconds, gotAll[p].Nanos
			wantAll[p] = e
		}
	}
	if d := gocmp.Diff(wantAll, gotAll); d != "" {
		t.Error(d)
	}
}

// subtree copies what is below /workspace to the root of another tree.
func subtree(t *testing.T, from *tree.Tree) *tree.Tree {
	t.Helper()
	to := treetest.New(t)
	first := map[*tree.Node]string{}
	err := from.Walk(func(p string, n *tree.Node) error {
		below, ok := strings.CutPrefix(p, "/workspace")
		if !ok {
			return nil
		}
		if other, ok := first[n]; ok && n.Type != tree.Dir {
			return to.Link(other, below)
		}
		first[n] = below
		return to.Put(below+"/.", n, from.Open(n))
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// TestDeltaRacy: a change within the grain of the clock keeps time and size.
func TestDeltaRacy(t *testing.T) {
	h := newHost(t)
	h.file("f", "one")
	h.age()
	m := manifest(t, h.read(t), when.Add(time.Millisecond))
	h.file("f", "two")
	h.age()
	c, err := seed.Delta(t.Context(), m, h.read(t), "/workspace")
	if err != nil || len(c.Entries) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestDeltaNewHardLink: a new name of an unchanged file stays a link to it.
func TestDeltaNewHardLink(t *testing.T) {
	h := newHost(t)
	h.file("a", "data")
	h.age()
	m := manifest(t, h.read(t), time.Now())
	h.must(os.Link(h.path("a"), h.path("b")))
	c, err := seed.Delta(t.Context(), m, h.read(t), "/workspace")
	if err != nil || len(c.Entries) != 2 || c.Entries[0].Status != seed.Linked || c.Bytes != 4 {
		t.Fatalf("%+v, %v", c, err)
	}
	var b bytes.Buffer
	if err := c.WriteTar(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(&b)
	first, _ := r.Next()
	second, err := r.Next()
	if err != nil || first.Name != "./a" || second.Typeflag != tar.TypeLink || second.Linkname != "./a" {
		t.Errorf("%v, %v, %v", first, second, err)
	}
}

func TestDeltaErrors(t *testing.T) {
	tr := treetest.New(t)
	if _, err := seed.NewManifest(t.Context(), tr, "/workspace", when); api.KindOf(err) != api.KindNotFound {
		t.Errorf("got %v", err)
	}
	if err := tr.PutFile("/workspace", 0o644, when, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := seed.Delta(t.Context(), &seed.Manifest{}, tr, "/workspace"); api.KindOf(err) != api.KindConflict {
		t.Errorf("got %v", err)
	}
	if _, err := seed.NewManifest(t.Context(), tr, "/", when); err != nil {
		t.Error(err)
	}
	full := newHost(t)
	full.file("f", "data")
	c, err := seed.Delta(t.Context(), &seed.Manifest{}, full.read(t), "/workspace")
	if err != nil || len(c.Entries) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := c.WriteTar(t.Context(), failing{}); api.KindOf(err) != api.KindStorage {
		t.Errorf("got %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// BenchmarkPushAgain is what a second push of 10,000 files of 128 MB costs here
// when one of them changed.
func BenchmarkPushAgain(b *testing.B) {
	h := project(b, 10_000, 128<<20/10_000)
	tr := treetest.New(b)
	if _, err := seed.Folder(b.Context(), h.dir, tr, "/workspace", seed.Options{}); err != nil {
		b.Fatal(err)
	}
	b.Run("manifest", func(b *testing.B) {
		for b.Loop() {
			if _, err := seed.NewManifest(b.Context(), tr, "/workspace", time.Now()); err != nil {
				b.Fatal(err)
			}
		}
	})
	m, err := seed.NewManifest(b.Context(), tr, "/workspace", time.Now().Add(time.Hour))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("delta", func(b *testing.B) {
		for b.Loop() {
			c, err := seed.Delta(b.Context(), m, tr, "/workspace")
			if err == nil {
				err = c.WriteTar(b.Context(), io.Discard)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
