package tree_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

func writeTar(tb testing.TB, tr *tree.Tree, clamp time.Time) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := tr.WriteTar(&b, clamp); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// again returns the tree that the tar of tr gives.
func again(tb testing.TB, tr *tree.Tree) *tree.Tree {
	tb.Helper()
	c := treetest.New(tb)
	if err := c.ApplyTar(bytes.NewReader(writeTar(tb, tr, time.Time{})), tree.ApplyOptions{}); err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestTarRoundTrip(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			tr := treetest.New(t)
			treetest.Random(t, tr, r, 200)
			if err := tr.Put("/attrs", &tree.Node{Xattrs: map[string]string{"security.capability": "\x01\x00\xff\n", "user.empty": ""}}, nil); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(treetest.Entries(t, tr), treetest.Entries(t, again(t, tr))); d != "" {
				t.Error("the tree came back different:\n", d)
			}
			if !bytes.Equal(writeTar(t, tr, epoch), writeTar(t, treetest.Clone(t, tr, r), epoch)) {
				t.Error("the tar depends on the order in which the tree was made")
			}
		})
	}
}

func TestWriteTarForm(t *testing.T) {
	tr := apply(t, tree.ApplyOptions{}, []entry{file("d/b", "data"), hardlink("d/c", "d/b"), hardlink("d/a", "d/b"), symlink("l", "d")})
	if err := tr.PutFile("/new", 0o644, time.Unix(5000, 1), nil); err != nil {
		t.Fatal(err)
	}
	var got []string
	r := tar.NewReader(bytes.NewReader(writeTar(t, tr, time.Unix(1000, 0))))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimSpace(fmt.Sprintf("%c %s %s %d", h.Typeflag, h.Name, h.Linkname, h.ModTime.Unix())))
	}
	want := []string{"5 ./  0", "5 ./d/  0", "0 ./d/a  0", "1 ./d/b ./d/a 0", "1 ./d/c ./d/a 0", "2 ./l d 0", "0 ./new  1000"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestWriteTarReportsErrors(t *testing.T) {
	tr := treetest.New(t)
	if err := tr.PutData("/short", &tree.Node{Size: 100}, strings.NewReader("short"), 0); err != nil {
		t.Fatal(err)
	}
	if err := tr.WriteTar(io.Discard, epoch); err == nil {
		t.Error("a file shorter than its size was written")
	}
	full := errors.New("disk full")
	if err := treetest.New(t).WriteTar(failingWriter{full}, epoch); !errors.Is(err, full) {
		t.Error(err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
