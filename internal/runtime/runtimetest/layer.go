package runtimetest

import (
	"archive/tar"
	"errors"
	"io"
	"path"
	"strings"
	"testing"

	"pyro/internal/runtime"
)

var layerTests = map[string]func(*testing.T, *world){
	"Export": testExportLayer,
}

// testExportLayer checks an added, a changed and two deleted files.
func testExportLayer(t *testing.T, w *world) {
	m := w.disposable(t)
	exporter, ok := m.(runtime.LayerExporter)
	if !ok {
		t.Skipf("machines of %s have no layer to export", w.driver.Name())
	}
	if got := sh(t, m, "mkdir /added && echo new >/added/file && ln -s file /added/link && echo more >>/etc/hostname && rm /etc/debian_version /etc/issue"); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	r, pw := io.Pipe()
	go func() { pw.CloseWithError(exporter.ExportLayer(t.Context(), pw)) }()
	layer := readLayer(t, r)
	if e := layer["added/file"]; e.content != "new\n" || e.header.Typeflag != tar.TypeReg {
		t.Errorf("added file is %+v", e)
	}
	if e := layer["added/link"]; e.header == nil || e.header.Typeflag != tar.TypeSymlink || e.header.Linkname != "file" {
		t.Errorf("added link is %+v", e)
	}
	if e := layer["etc/hostname"]; !strings.HasSuffix(e.content, "more\n") {
		t.Errorf("changed file is %+v", e)
	}
	for _, name := range []string{"etc/debian_version", "etc/issue"} {
		if !layer.whiteout(name) {
			t.Errorf("deleted file %s is %+v", name, layer[name].header)
		}
	}
	if _, ok := layer["etc/passwd"]; ok {
		t.Error("the layer holds a file that nobody touched")
	}
	if got := sh(t, m, "cat /added/file").stdout; got != "new\n" {
		t.Errorf("after the export the machine answers %q", got)
	}
}

type entry struct {
	header  *tar.Header
	content string
}

type layer map[string]entry

func readLayer(t *testing.T, r io.Reader) layer {
	t.Helper()
	l := layer{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			io.Copy(io.Discard, r) // padding
			return l
		}
		if err != nil {
			t.Fatalf("after %d entries: %v", len(l), err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		l[clean(h.Name)] = entry{h, string(content)}
	}
}

func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// whiteout reports whether name is a character device 0:0 or a hard link to one.
func (l layer) whiteout(name string) bool {
	h := l[name].header
	if h != nil && h.Typeflag == tar.TypeLink {
		h = l[clean(h.Linkname)].header
	}
	return h != nil && h.Typeflag == tar.TypeChar && h.Devmajor == 0 && h.Devminor == 0
}
