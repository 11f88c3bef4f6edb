package export_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/export"
	"pyro/internal/tree/treetest"
)

// entry is one entry of a guest's tar: a name, a type, and a link's target or
// a file's data.
type entry struct {
	name string
	typ  byte
	arg  string
	mode int64
}

func pack(tb testing.TB, entries ...entry) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		mode := int64(0o644)
		if e.typ == tar.TypeDir {
			mode = 0o755
		}
		h := &tar.Header{Name: e.name, Typeflag: cmp.Or(e.typ, tar.TypeReg), Mode: cmp.Or(e.mode, mode), ModTime: when, Format: tar.FormatPAX}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(e.arg))
		} else {
			h.Linkname = e.arg
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			io.WriteString(w, e.arg)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// canary is a folder of the host with a target inside and files around that
// nothing may touch.
func canary(tb testing.TB) (dir, target string, check func()) {
	tb.Helper()
	dir = tb.TempDir()
	for _, name := range []string{"victim", "sub/victim"} {
		os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		if err := os.WriteFile(filepath.Join(dir, name), []byte("canary"), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "at"), 0o755); err != nil {
		tb.Fatal(err)
	}
	outside := func() map[string]string {
		all := listing(tb, dir)
		for p := range all {
			if p == "at" || strings.HasPrefix(p, "at/") {
				delete(all, p)
			}
		}
		return all
	}
	before := outside()
	return dir, filepath.Join(dir, "at", "out"), func() {
		tb.Helper()
		if d := gocmp.Diff(before, outside()); d != "" {
			tb.Error("outside of the target: ", d)
		}
	}
}

// TestHostileTar: whatever a guest sends, nothing beside the target changes.
func TestHostileTar(t *testing.T) {
	const link, hard = tar.TypeSymlink, tar.TypeLink
	dir, _, _ := canary(t) // its absolute path
	for _, c := range []struct {
		name    string
		entries []entry
		refused string // the entry, if it is refused
	}{
		{"through a relative link", []entry{{name: "d", typ: link, arg: "../../sub"}, {name: "d/victim", arg: "x"}}, ""},
		{"through an absolute link", []entry{{name: "d", typ: link, arg: dir + "/sub"}, {name: "d/victim", arg: "x"}}, ""},
		{"through a link to a file", []entry{{name: "f", typ: link, arg: "../../victim"}, {name: "f", arg: "x"}}, ""},
		{"folder over a link", []entry{{name: "d", typ: link, arg: "../../sub"}, {name: "d/", typ: tar.TypeDir}, {name: "d/victim", arg: "x"}}, ""},
		{"link over a folder", []entry{{name: "d/x", arg: "x"}, {name: "d", typ: link, arg: "../../sub"}, {name: "d/victim", arg: "x"}}, ""},
		{"chain of links", []entry{{name: "a", typ: link, arg: "b"}, {name: "b", typ: link, arg: "../.."}, {name: "a/victim", arg: "x"}}, ""},
		{"hard link to a link out", []entry{{name: "l", typ: link, arg: "../../victim"}, {name: "h", typ: hard, arg: "l"}, {name: "h", arg: "x"}}, ""},
		{"mode of a link's target", []entry{{name: "l", typ: link, arg: "../../victim", mode: 0o777}}, ""},
		{"devices and fifos", []entry{{name: "p", typ: tar.TypeFifo}, {name: "c", typ: tar.TypeChar}, {name: "b", typ: tar.TypeBlock}}, ""},
		{"dotdot", []entry{{name: "../victim", arg: "x"}}, "../victim"},
		{"dotdot inside", []entry{{name: "a/../../victim", arg: "x"}}, "a/../../victim"},
		{"absolute", []entry{{name: dir + "/victim", arg: "x"}}, dir + "/victim"},
		{"hard link out", []entry{{name: "h", typ: hard, arg: "../../victim"}}, `"h"`},
		{"absolute hard link", []entry{{name: "h", typ: hard, arg: dir + "/victim"}}, `"h"`},
		{"hard link to nothing", []entry{{name: "h", typ: hard, arg: "victim"}}, `"h"`},
		{"hard link through a link", []entry{{name: "d", typ: link, arg: dir}, {name: "h", typ: hard, arg: "d/victim"}}, `"h"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, target, check := canary(t)
			tr, err := export.ReadTar(t.Context(), bytes.NewReader(pack(t, c.entries...)), "the guest's tar", t.TempDir(), export.Options{})
			if c.refused != "" {
				if api.KindOf(err) != api.KindUnsafe || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if _, err := export.Write(t.Context(), export.Source{Tree: tr, Path: "/"}, target, export.Options{}); err != nil {
				t.Error(err)
			}
			check()
		})
	}
}

// endless is a tar that never ends: of one file, or of headers.
type endless struct {
	block []byte
	at    int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		c := copy(p[n:], e.block[e.at:])
		n += c
		e.at = (e.at + c) % len(e.block)
	}
	return n, nil
}

func TestEndlessTar(t *testing.T) {
	file := pack(t, entry{name: "f", arg: "x"})
	file = file[:len(file)-1024] // without the end mark
	var long bytes.Buffer
	w := tar.NewWriter(&long)
	if err := w.WriteHeader(&tar.Header{Name: strings.Repeat("n", 900), Typeflag: tar.TypeReg, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string][]byte{"files": file, "headers of one entry": long.Bytes()[:1536]} {
		_, err := export.ReadTar(t.Context(), &endless{block: block}, "tar", t.TempDir(), export.Options{MaxEntries: 1000, MaxBytes: 1 << 20})
		if api.KindOf(err) != api.KindUnsafe {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := export.ReadTar(ctx, &endless{block: file}, "tar", t.TempDir(), export.Options{}); api.KindOf(err) != api.KindCanceled {
		t.Errorf("canceled: %v", err)
	}
	// A bad name ends the reading of a stream that has no end.
	bad := io.MultiReader(bytes.NewReader(pack(t, entry{name: "../x", arg: "x"})[:2048]), &endless{block: file})
	if _, err := export.ReadTar(t.Context(), bad, "tar", t.TempDir(), export.Options{}); api.KindOf(err) != api.KindUnsafe || !strings.Contains(fmt.Sprint(err), "../x") {
		t.Errorf("bad name: %v", err)
	}
}

func FuzzHostileTar(f *testing.F) {
	const link, hard = tar.TypeSymlink, tar.TypeLink
	f.Add(pack(f, entry{name: "d", typ: link, arg: "../../sub"}, entry{name: "d/victim", arg: "x"}))
	f.Add(pack(f, entry{name: "f", typ: link, arg: "../../victim"}, entry{name: "g", typ: hard, arg: "f"}, entry{name: "g", arg: "x"}))
	f.Add(pack(f, entry{name: "a/b/c/", typ: tar.TypeDir, mode: 0o1000}, entry{name: "a/b", typ: link, arg: "."}, entry{name: "p", typ: tar.TypeFifo}))
	f.Add(pack(f, entry{name: "../x", arg: "x"}, entry{name: "/y", arg: "y"}))
	f.Add(pack(f, entry{name: strings.Repeat("d/", 50) + "f", arg: strings.Repeat("x", 600), mode: 0o6777}))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, target, check := canary(t)
		defer check()
		o := export.Options{MaxEntries: 200, MaxBytes: 1 << 20}
		tr, err := export.ReadTar(t.Context(), bytes.NewReader(data), "tar", t.TempDir(), o)
		if err != nil {
			if api.KindOf(err) != api.KindUnsafe {
				t.Errorf("kind %q: %v", api.KindOf(err), err)
			}
			return
		}
		defer tr.Close()
		r, err := export.Write(t.Context(), export.Source{Tree: tr, Path: "/"}, target, o)
		if err != nil { // a tree may hold more than its own limits by the folders it makes
			if api.KindOf(err) != api.KindDiskLimit {
				t.Error(err)
			}
			onlyHere(t, filepath.Dir(target))
			return
		}
		want := 0
		for _, e := range treetest.Entries(t, tr) {
			if e.Type == "folder" || e.Type == "regular file" || e.Type == "symbolic link" {
				want++
			}
		}
		if got := len(listing(t, target)); got != want || r.Entries != want-1 {
			t.Errorf("%d entries, %d reported, want %d", got, r.Entries, want)
		}
		onlyHere(t, filepath.Dir(target), "out")
		os.RemoveAll(target)
	})
}
