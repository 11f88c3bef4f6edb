package seed_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/seed"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

func TestOpen(t *testing.T) {
	h := newHost(t)
	h.folder("d")
	h.symlink("link", "d")
	h.must(syscall.Mkfifo(h.path("fifo"), 0o644))
	write := func(name string, data []byte) {
		h.must(os.WriteFile(h.path(name), data, 0o644))
	}
	one := pack(t, file("a", "x"))
	write("tar.zip", one)
	write("gz", gz(t, one))
	write("zst", zst(t, one))
	write("nothing.tar", pack(t))
	write("empty.tar", nil)
	write("text.tar", []byte(strings.Repeat("text ", 1000)))
	write("short.tar", []byte("text"))
	write("zip.tar", []byte("PK\x03\x04 and so on"))
	write("xz.tar", []byte("\xfd7zXZ\x00 and so on"))
	write("text.tgz", gz(t, []byte("text")))
	write("bad.tgz", []byte("\x1f\x8b\x08 and so on, which is not what a gzip holds"))
	for _, c := range []struct {
		path string
		mode seed.Mode
		kind api.Kind
		why  string
	}{
		{"d", seed.Directory, "", ""},
		{"link", seed.Directory, "", ""},
		{"tar.zip", seed.ArchivedTree, "", ""},
		{"gz", seed.ArchivedTree, "", ""},
		{"zst", seed.ArchivedTree, "", ""},
		{"nothing.tar", seed.ArchivedTree, "", ""},
		{"absent", "", api.KindNotFound, "there is no"},
		{"tar.zip/x", "", api.KindNotFound, "there is no"},
		{"fifo", "", api.KindUsage, "is a fifo"},
		{"empty.tar", "", api.KindUsage, "an empty file"},
		{"text.tar", "", api.KindUsage, "another kind"},
		{"short.tar", "", api.KindUsage, "another kind"},
		{"zip.tar", "", api.KindUsage, "zip archive"},
		{"xz.tar", "", api.KindUsage, "packed with xz"},
		{"text.tgz", "", api.KindUsage, "not a compressed tar"},
		{"bad.tgz", "", api.KindVerification, "damaged"},
	} {
		t.Run(c.path, func(t *testing.T) {
			mode, err := readAny(t, h.path(c.path))
			if api.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.why) && c.why != "" {
				t.Fatalf("got %v", err)
			}
			if err != nil && !strings.Contains(err.Error(), h.path(c.path)) {
				t.Errorf("%q does not name the path", err)
			}
			if err == nil && mode != c.mode {
				t.Errorf("it is of type %s", mode)
			}
		})
	}
}

func readAny(t *testing.T, path string) (seed.Mode, error) {
	s, err := seed.Open(path)
	if err != nil {
		return "", err
	}
	defer s.Close()
	r, err := s.Read(t.Context(), treetest.New(t), "/workspace", seed.Options{})
	return r.Mode, err
}

func TestWrongMode(t *testing.T) {
	h := newHost(t)
	if _, err := seed.Archive(t.Context(), h.dir, treetest.New(t), "/", seed.Options{}); api.KindOf(err) != api.KindUsage {
		t.Errorf("got %v", err)
	}
	if _, err := seed.Folder(t.Context(), save(t, pack(t)), treetest.New(t), "/", seed.Options{}); api.KindOf(err) != api.KindUsage {
		t.Errorf("got %v", err)
	}
}

func TestDestination(t *testing.T) {
	tr := treetest.New(t)
	put := func(p string, n *tree.Node) {
		if err := tr.Put(p, n, nil); err != nil {
			t.Fatal(err)
		}
	}
	put("/workspace/link", &tree.Node{Type: tree.Symlink, Target: "/etc"})
	put("/workspace/file", &tree.Node{})
	put("/etc", &tree.Node{Type: tree.Dir})
	archive := save(t, pack(t, file("x", "")))
	for _, dest := range []string{"", "workspace", "/workspace/link", "/workspace/link/d", "/workspace/file", "/workspace/file/x", "/a\x00b"} {
		if _, err := seed.Archive(t.Context(), archive, tr, dest, seed.Options{}); api.KindOf(err) != api.KindUsage {
			t.Errorf("%q: got %v", dest, err)
		}
	}
	if _, err := seed.Archive(t.Context(), archive, tr, "/workspace/./a//b/../c/", seed.Options{}); err != nil {
		t.Error(err)
	}
	if _, err := tr.Lookup("/workspace/a/c/x"); err != nil {
		t.Error(err)
	}
}

// TestOverExisting: a push merges folders and replaces the rest, and never goes
// through a link that stands in the workspace.
func TestOverExisting(t *testing.T) {
	tr := treetest.New(t)
	h := newHost(t)
	for p, n := range map[string]*tree.Node{
		"/etc": {Type: tree.Dir}, "/workspace": {Type: tree.Dir, Mode: 0o700},
		"/workspace/d": {Type: tree.Symlink, Target: "/etc"}, "/workspace/f": {Type: tree.Symlink, Target: "/etc/f"},
		"/workspace/kept": {Type: tree.Dir, Mode: 0o700}, "/workspace/file": {Type: tree.Dir},
	} {
		h.must(tr.Put(p, n, nil))
	}
	h.must(tr.PutFile("/workspace/kept/old", 0o600, when, []byte("old")))
	h.must(tr.PutFile("/workspace/file/x", 0o600, when, nil))
	data := pack(t, file("d/x", "new"), file("f", "new"), file("kept/new", "new"), file("file", "new"))
	if _, err := seed.Archive(t.Context(), save(t, data), tr, "/workspace", seed.Options{}); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for p, e := range treetest.Entries(t, tr) {
		got[p] = fmt.Sprintf("%s %o %s", e.Type, e.Mode, e.Data)
	}
	want := map[string]string{
		"/": "folder 755 ", "/etc": "folder 0 ", "/workspace": "folder 700 ",
		"/workspace/d": "folder 755 ", "/workspace/d/x": "regular file 644 new", "/workspace/f": "regular file 644 new",
		"/workspace/kept": "folder 700 ", "/workspace/kept/old": "regular file 600 old", "/workspace/kept/new": "regular file 644 new",
		"/workspace/file": "regular file 644 new",
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestWarningsAreBounded(t *testing.T) {
	h := newHost(t)
	for i := range 1200 {
		h.must(syscall.Mkfifo(h.path(fmt.Sprintf("%04d", i)), 0o600))
	}
	r, err := seed.Folder(t.Context(), h.dir, treetest.New(t), "/workspace", seed.Options{})
	if err != nil || len(r.Warnings) != 1000 || r.Dropped != 200 || r.Warnings[999].Path != "0999" {
		t.Errorf("%d, %d, %v", len(r.Warnings), r.Dropped, err)
	}
}

// project fills a folder with files like those of a large checkout.
func project(tb testing.TB, files, size int) host {
	h := newHost(tb)
	data := []byte(strings.Repeat("All work and no play makes Jack a dull boy.\n", size/44+1))[:size]
	for i := range files {
		dir := filepath.Join("src", fmt.Sprint(i%10), fmt.Sprint(i/10%20))
		if i < 200 {
			h.folder(dir)
		}
		h.must(os.WriteFile(h.path(filepath.Join(dir, fmt.Sprint(i))), data, 0o644))
	}
	return h
}

// BenchmarkFolder reads 10,000 files of 128 MB together.
func BenchmarkFolder(b *testing.B) {
	h := project(b, 10_000, 128<<20/10_000)
	b.SetBytes(128 << 20)
	for b.Loop() {
		tr := treetest.New(b)
		if _, err := seed.Folder(b.Context(), h.dir, tr, "/workspace", seed.Options{Strict: true}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkArchive(b *testing.B) {
	h := project(b, 10_000, 128<<20/10_000)
	tr := treetest.New(b)
	if _, err := seed.Folder(b.Context(), h.dir, tr, "/", seed.Options{Strict: true}); err != nil {
		b.Fatal(err)
	}
	var plain strings.Builder
	if err := tr.WriteTar(&plain, time.Time{}); err != nil {
		b.Fatal(err)
	}
	for name, data := range map[string][]byte{"tar": []byte(plain.String()), "gzip": gz(b, []byte(plain.String()))} {
		b.Run(name, func(b *testing.B) {
			p := save(b, data)
			b.SetBytes(128 << 20)
			for b.Loop() {
				if _, err := seed.Archive(b.Context(), p, treetest.New(b), "/workspace", seed.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
