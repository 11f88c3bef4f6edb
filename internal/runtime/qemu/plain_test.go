package qemu

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/holes"
	"pyro/internal/runtime"
	"pyro/internal/tree/treetest"
)

const terabyte = 1 << 40

// saved is a layer with a file with holes, of so many bytes, between two others.
func saved(t testing.TB, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h tar.Header, data string) {
		h.Format = tar.FormatPAX
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, data); err != nil {
			t.Fatal(err)
		}
	}
	put(tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}, "")
	put(tar.Header{Typeflag: tar.TypeReg, Name: "./before", Mode: 0o644, Size: 6}, "before")
	m := holes.Map{Size: size, Pieces: []holes.Piece{{Offset: 2, Size: 3}, {Offset: size - 4, Size: 3}}}
	h := tar.Header{Typeflag: tar.TypeReg, Name: "./holes", Mode: 0o640, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}}
	m.Mark(&h)
	var pieces bytes.Buffer
	if err := m.Write(&pieces); err != nil {
		t.Fatal(err)
	}
	put(h, pieces.String()+"onetwo")
	put(tar.Header{Typeflag: tar.TypeLink, Name: "./link", Linkname: "./holes"}, "")
	put(tar.Header{Typeflag: tar.TypeReg, Name: "./behind", Mode: 0o644, Size: 6}, "behind")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// savedTo makes a saved disk of the layer.
func savedTo(t testing.TB, format int, layer []byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		diskFileName: fmt.Sprintf(`{"format":%d,"sizes":{"/":%d}}`, format, len(layer)), "root.tar": string(layer),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestDiskWithHoles: nothing is read of a hole of a terabyte.
func TestDiskWithHoles(t *testing.T) {
	d, err := openDisk(savedTo(t, diskFormat, saved(t, terabyte)))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	tr := treetest.New(t)
	if err := d.Apply(t.Context(), runtime.RootMount, tr); err != nil {
		t.Fatal(err)
	}
	n, err := tr.Lookup("/link")
	if err != nil || n.Size != terabyte || n.Xattrs["user.a"] != "b" {
		t.Fatalf("%+v, %v", n, err)
	}
	for at, want := range map[int64]string{0: "\x00\x00one\x00", 1 << 39: "\x00\x00", terabyte - 5: "\x00two\x00"} {
		b := make([]byte, len(want))
		if _, err := tr.Open(n).ReadAt(b, at); err != nil || string(b) != want {
			t.Errorf("at %d there is %q, %v", at, b, err)
		}
	}
	if start, end := n.NextData(5); start != terabyte-4 || end != terabyte-1 {
		t.Errorf("data from %d to %d", start, end)
	}
	for _, name := range []string{"/before", "/behind"} {
		if b, err := tr.ReadFile(name); err != nil || string(b) != name[1:] {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	err = d.WriteLayer(t.Context(), runtime.RootMount, io.Discard)
	if e := api.AsError(err); e == nil || e.Kind != api.KindUnsupported || !strings.Contains(e.Message, "/holes has 1099511627776 bytes") || e.Hint == "" {
		t.Errorf("as a plain tar: %+v", err)
	}
}

// TestPlainDisk: the form of earlier versions is read, and is what others are given.
func TestPlainDisk(t *testing.T) {
	const size = 1 << 20
	now, err := openDisk(savedTo(t, diskFormat, saved(t, size)))
	if err != nil {
		t.Fatal(err)
	}
	defer now.Close()
	var layer bytes.Buffer
	if err := now.WriteLayer(t.Context(), runtime.RootMount, &layer); err != nil {
		t.Fatal(err)
	}
	if layer.Len() < size || bytes.Contains(layer.Bytes(), []byte(holes.Record)) {
		t.Errorf("the layer has %d bytes", layer.Len())
	}
	before, err := openDisk(savedTo(t, diskFormatPlain, layer.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	a, b := treetest.New(t), treetest.New(t)
	if err := errors.Join(now.Apply(t.Context(), runtime.RootMount, a), before.Apply(t.Context(), runtime.RootMount, b)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(treetest.Entries(t, a), treetest.Entries(t, b)); d != "" {
		t.Errorf("(-with holes +plain):\n%s", d)
	}
}

type failing struct{ err error }

func (w failing) Write([]byte) (int, error) { return 0, w.err }

func TestPlainErrors(t *testing.T) {
	layer := saved(t, 5<<20)
	if err := plain("it", bytes.NewReader(layer), failing{errors.New("full")}); api.KindOf(err) != api.KindStorage {
		t.Errorf("the writer fails: %v", err)
	}
	for _, n := range []int{100, 700, len(layer) / 2} {
		if err := plain("it", bytes.NewReader(layer[:n]), io.Discard); api.KindOf(err) != api.KindVerification {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	gone := api.Errorf(api.KindCanceled, "gone")
	if err := plain("it", io.MultiReader(bytes.NewReader(layer[:3000]), failingReader{gone}), io.Discard); !errors.Is(err, gone) {
		t.Errorf("the reader fails: %v", err)
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// FuzzDisk: whatever is in a layer, reading it comes to an end, and what plain
// writes is a tar without holes.
func FuzzDisk(f *testing.F) {
	f.Add(saved(f, 1<<16))
	f.Add(saved(f, terabyte))
	f.Fuzz(func(t *testing.T, layer []byte) {
		if len(layer) == 0 {
			return
		}
		d, err := openDisk(savedTo(t, diskFormat, layer))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		tr := treetest.New(t)
		_ = d.Apply(t.Context(), runtime.RootMount, tr)
		var out bytes.Buffer
		if plain("it", bytes.NewReader(layer), &limited{w: &out, left: 4 << 20}) != nil {
			return
		}
		in := tar.NewReader(&out)
		for {
			h, err := in.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := h.PAXRecords[holes.Record]; ok {
				t.Errorf("%q has holes", h.Name)
			}
		}
	})
}

// limited fails after so many bytes.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errors.New("enough")
	}
	return l.w.Write(p)
}
