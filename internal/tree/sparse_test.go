package tree_test

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// evens has data at the even places of ten.
type evens struct{ io.ReaderAt }

func (evens) NextData(off int64) (start, end int64) {
	start = off + off%2
	return min(start, 10), min(start+1, 10)
}

func TestNextData(t *testing.T) {
	tr := treetest.New(t)
	for name, src := range map[string]io.ReaderAt{"/holes": evens{}, "/dense": strings.NewReader("0123456789")} {
		if err := tr.PutData(name, &tree.Node{Size: 4}, src, 3); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string][][2]int64{
		"/holes": {{1, 2}, {1, 2}, {3, 4}, {3, 4}, {4, 4}, {4, 4}},
		"/dense": {{0, 4}, {1, 4}, {2, 4}, {3, 4}, {4, 4}, {4, 4}},
	} {
		n, err := tr.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		got := [][2]int64{}
		for off := range int64(6) {
			start, end := n.NextData(off)
			got = append(got, [2]int64{start, end})
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestDataIsPassedOver: with Data, a payload that nobody wants is not read.
func TestDataIsPassedOver(t *testing.T) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	big := bytes.Repeat([]byte("big"), 1<<20)
	for _, name := range []string{"a", "b"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(big))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(big); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole := archive.Bytes()
	data := func(*tar.Header, io.Reader) (io.ReaderAt, int64, int64, error) { return evens{}, 0, 10, nil }
	in := &counting{ReadSeeker: bytes.NewReader(whole)}
	tr := treetest.New(t)
	if err := tr.ApplyTar(in, tree.ApplyOptions{Data: data}); err != nil {
		t.Fatal(err)
	}
	if n, err := tr.Lookup("/b"); err != nil || n.Size != 10 || in.n > 10_000 {
		t.Errorf("%v, %v after reading %d bytes", n, err, in.n)
	}
	if err := treetest.New(t).ApplyTar(bytes.NewReader(whole[:len(whole)-10_000]), tree.ApplyOptions{Data: data}); err == nil {
		t.Error("an archive that ends in a payload was accepted")
	}
}

// counting counts what is read.
type counting struct {
	io.ReadSeeker
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	c.n += n
	return n, err
}
