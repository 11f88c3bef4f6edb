package seed_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"pyro/api"
	"pyro/internal/seed"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

var when = time.Unix(1_600_000_000, 123_000_000)

// entry is one entry of an archive for a test; data belongs to regular files.
type entry struct {
	tar.Header
	data string
}

func file(name, data string) entry {
	return entry{tar.Header{Name: name, Mode: 0o644, Uid: 1000, Gid: 100, ModTime: when, Format: tar.FormatPAX}, data}
}

func dir(name string) entry {
	return entry{tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o750, ModTime: when, Format: tar.FormatPAX}, ""}
}

func symlink(name, target string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777, ModTime: when, Format: tar.FormatPAX}, ""}
}

func hardlink(name, target string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target, Mode: 0o644}, ""}
}

func special(name string, typ byte) entry {
	return entry{tar.Header{Name: name, Typeflag: typ, Mode: 0o644, Devmajor: 1, Devminor: 3}, ""}
}

func withMode(e entry, mode int64) entry {
	e.Mode = mode
	return e
}

// pack makes the bytes of a tar.
func pack(tb testing.TB, entries ...entry) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.data))
		e.Typeflag = cmp.Or(e.Typeflag, tar.TypeReg)
		if err := w.WriteHeader(&e.Header); err != nil {
			tb.Fatal(err)
		}
		io.WriteString(w, e.data)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func gz(tb testing.TB, data []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func zst(tb testing.TB, data []byte) []byte {
	tb.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

// save writes data to a file whose name tells nothing.
func save(tb testing.TB, data []byte) string {
	tb.Helper()
	p := filepath.Join(tb.TempDir(), "thing")
	if err := os.WriteFile(p, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestArchive(t *testing.T) {
	plain := pack(t,
		dir("."), dir("empty"), file("a/b/run.sh", "#!/bin/sh\n"), withMode(file("x", "x"), 0o755), withMode(file("none", "n"), 0),
		symlink("l", "a/b"), symlink("a/up", "../x"), symlink("a/dangling", "b/../../not/there"), symlink("here", "."),
		hardlink("a/hard", "./a/b/run.sh"), hardlink("l2", "l"),
		file("odd\nname \xff", "odd"), file("x", "second"), withMode(dir("sticky"), 0o1777),
		entry{tar.Header{Name: "g", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "c"}}, ""},
	)
	ns := when.Nanosecond()
	root := treetest.Entry{Type: "folder", Mode: 0o755, Seconds: when.Unix(), Nanos: ns}
	reg := func(mode uint32, data string) treetest.Entry {
		return treetest.Entry{Type: "regular file", Mode: mode, Seconds: when.Unix(), Nanos: ns, Data: data}
	}
	sym := func(target string) treetest.Entry {
		return treetest.Entry{Type: "symbolic link", Mode: 0o777, Seconds: when.Unix(), Nanos: ns, Target: target}
	}
	hard := reg(0o644, "#!/bin/sh\n")
	hard.LinkOf = "/workspace/src/a/b/run.sh"
	hardSym := sym("a/b")
	hardSym.LinkOf = "/workspace/src/l"
	folder := root
	folder.Mode = 0o750
	cleared := root
	cleared.Mode = 0o777
	made := treetest.Entry{Type: "folder", Mode: 0o755}
	want := map[string]treetest.Entry{
		"/": made, "/workspace": made, "/workspace/src": root,
		"/workspace/src/empty": folder, "/workspace/src/a": root, "/workspace/src/a/b": root,
		"/workspace/src/a/b/run.sh": reg(0o644, "#!/bin/sh\n"), "/workspace/src/a/hard": hard,
		"/workspace/src/x": reg(0o644, "second"), "/workspace/src/none": reg(0, "n"),
		"/workspace/src/l": sym("a/b"), "/workspace/src/l2": hardSym, "/workspace/src/here": sym("."),
		"/workspace/src/a/up": sym("../x"), "/workspace/src/a/dangling": sym("b/../../not/there"),
		"/workspace/src/odd\nname \xff": reg(0o644, "odd"), "/workspace/src/sticky": cleared,
	}
	// The first name in the order of bytes is the one that others are links of.
	first := want["/workspace/src/a/b/run.sh"]
	want["/workspace/src/a/b/run.sh"] = first
	for name, data := range map[string][]byte{"tar": plain, "gzip": gz(t, plain), "zstd": zst(t, plain)} {
		t.Run(name, func(t *testing.T) {
			tr := treetest.New(t)
			r, err := seed.Archive(t.Context(), save(t, data), tr, "/workspace/src", seed.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if d := gocmp.Diff(want, treetest.Entries(t, tr)); d != "" {
				t.Error(d)
			}
			wantReport := seed.Report{Mode: "archive", Entries: 14, Files: 5, Bytes: 10 + 6 + 1 + 3}
			if d := gocmp.Diff([]string{`"sticky" had mode 1777; its special bits are cleared`}, words(r.Warnings)); d != "" {
				t.Error(d)
			}
			r.Warnings = nil
			if d := gocmp.Diff(wantReport, r); d != "" {
				t.Error(d)
			}
		})
	}
}

func words(ws []seed.Warning) []string {
	var s []string
	for _, w := range ws {
		s = append(s, w.String())
	}
	return s
}

// tampered lets edit change the bytes of a tar.
func tampered(data []byte, edit func(b []byte)) []byte {
	data = bytes.Clone(data)
	edit(data)
	sum := 8 * int64(' ')
	for i, b := range data[:512] {
		if i < 148 || i >= 156 {
			sum += int64(b)
		}
	}
	copy(data[148:], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

// sparse is a PAX sparse file of size bytes that are all a hole.
func sparse(tb testing.TB, name string, size int64) []byte {
	tb.Helper()
	// Map of version 1.0, at the start of the data: no fragments but an empty one at the end.
	m := fmt.Sprintf("1\n%d\n0\n", size)
	m += strings.Repeat("\x00", 512-len(m))
	b := pack(tb, entry{tar.Header{Name: "GNUSparseFile.0/x", Mode: 0o644, Format: tar.FormatPAX, PAXRecords: map[string]string{
		"XXX.sparse.major": "1", "XXX.sparse.minor": "0", "XXX.sparse.name": name, "XXX.sparse.realsize": fmt.Sprint(size),
	}}, m})
	return bytes.ReplaceAll(b, []byte("XXX.sparse."), []byte("GNU.sparse."))
}

func TestArchiveRefused(t *testing.T) {
	one := pack(t, entry{tar.Header{Name: "a", Mode: 0o644}, "data"})
	for _, c := range []struct {
		name  string
		data  []byte
		entry string // named in the error
		why   string
		kind  api.Kind
	}{
		{"absolute", pack(t, file("fine", ""), file("/etc/passwd", "x")), `"/etc/passwd"`, "absolute path", api.KindUnsafe},
		{"dotdot", pack(t, file("a/../../x", "x")), `"a/../../x"`, `".."`, api.KindUnsafe},
		{"dotdot folder", pack(t, dir("..")), `"../"`, `".."`, api.KindUnsafe},
		{"absolute link", pack(t, symlink("l", "/etc/passwd")), `"l"`, "absolute path", api.KindUnsafe},
		{"link to the destination by its path", pack(t, symlink("l", "/workspace/x")), `"l"`, "absolute path", api.KindUnsafe},
		{"climbing link", pack(t, symlink("a/b/l", "../../../x")), `"a/b/l"`, "leaves the root", api.KindUnsafe},
		{"link climbing after a detour", pack(t, symlink("l", "a/../../x")), `"l"`, "leaves the root", api.KindUnsafe},
		{"link climbing over a link", pack(t, symlink("p/q/l", "../.."), symlink("p/q/m", "l/../x")), `"p/q/m"`, "after another link", api.KindUnsafe},
		{"the same in the other order", pack(t, symlink("p/q/a", "l/../x"), symlink("p/q/l", "../..")), `"p/q/a"`, "after another link", api.KindUnsafe},
		{"two bad links", pack(t, symlink("z", "/"), symlink("b", "..")), `"b"`, "1 others", api.KindUnsafe},
		{"winding link", pack(t, dir("a"), symlink("l", strings.Repeat("a/../", 50))), `"l"`, "more than 40 times", api.KindUnsafe},
		{"hard link of a link to a higher place", pack(t, symlink("a/b/l", "../../x"), hardlink("m", "a/b/l")), `"m"`, "leaves the root", api.KindUnsafe},
		{"below a link", pack(t, symlink("d", "e"), dir("e"), file("d/x", "x")), `"d/x"`, "symbolic link", api.KindUnsafe},
		{"folder below a link", pack(t, symlink("d", "."), dir("d/x/y")), `"d/x/y/"`, "symbolic link", api.KindUnsafe},
		{"below a file", pack(t, file("d", "e"), file("d/x/y", "x")), `"d/x/y"`, "regular file", api.KindUnsafe},
		{"hard link to nothing", pack(t, hardlink("h", "a")), `"h"`, "not in the archive", api.KindUnsafe},
		{"hard link to a later entry", pack(t, hardlink("h", "a"), file("a", "")), `"h"`, "not in the archive", api.KindUnsafe},
		{"hard link out", pack(t, hardlink("h", "../a")), `"h"`, `".."`, api.KindUnsafe},
		{"hard link to an absolute path", pack(t, file("etc/passwd", ""), hardlink("h", "/etc/passwd")), `"h"`, "absolute", api.KindUnsafe},
		{"hard link to a folder", pack(t, dir("d"), hardlink("h", "d")), `"h"`, "folder", api.KindUnsafe},
		{"hard link in the root's place", pack(t, file("a", ""), hardlink(".", "a")), `"."`, "root", api.KindUnsafe},
		{"file in the root's place", pack(t, symlink("./.", "a")), `"./."`, "root", api.KindUnsafe},
		{"device", pack(t, special("dev", tar.TypeChar)), `"dev"`, "device", api.KindUnsafe},
		{"block device", pack(t, special("dev", tar.TypeBlock)), `"dev"`, "device", api.KindUnsafe},
		{"fifo", pack(t, special("p", tar.TypeFifo)), `"p"`, "fifo", api.KindUnsafe},
		{"unknown type", tampered(one, func(b []byte) { b[156] = 'Q' }), `"a"`, "type 'Q'", api.KindUnsafe},
		{"file becomes folder", pack(t, file("a", ""), dir("a")), `"a/"`, "second entry", api.KindUnsafe},
		{"folder becomes link", pack(t, dir("a"), symlink("a", "b")), `"a"`, "second entry", api.KindUnsafe},
		{"implied folder becomes link", pack(t, file("a/b", ""), symlink("a", "b")), `"a"`, "second entry", api.KindUnsafe},
		{"link becomes file", pack(t, symlink("a", "b"), file("a", "")), `"a"`, "second entry", api.KindUnsafe},
		{"link becomes hard link", pack(t, symlink("a", "b"), file("b", ""), hardlink("a", "b")), `"a"`, "second entry", api.KindUnsafe},
		{"setuid", pack(t, withMode(file("su", ""), 0o4755)), `"su"`, "setuid", api.KindUnsafe},
		{"setgid", pack(t, withMode(file("sg", ""), 0o2755)), `"sg"`, "setgid", api.KindUnsafe},
		{"setuid folder", pack(t, withMode(dir("d"), 0o4755)), `"d/"`, "setuid", api.KindUnsafe},
		{"setuid hard link", pack(t, file("a", ""), withMode(hardlink("h", "a"), 0o4755)), `"h"`, "setuid", api.KindUnsafe},
		{"NUL in the name", bytes.ReplaceAll(pack(t, file("ok", ""), file(strings.Repeat("n", 120), "")), []byte("nnnnn\n"), []byte("nn\x00nn\n")), `"ok"`, "not a tar entry", api.KindUnsafe},
		{"size larger than the archive", tampered(one, func(b []byte) { copy(b[124:], "00077777777\x00") }), `"a"`, "less than the 16777215 bytes", api.KindUnsafe},
		{"negative size", tampered(one, func(b []byte) { copy(b[124:], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") }), "first entry", "not a tar entry", api.KindUnsafe},
		{"cut in the data", one[:514], `"a"`, "less than the 4 bytes", api.KindUnsafe},
		{"garbage after the entry", append(bytes.Clone(one[:1024]), bytes.Repeat([]byte("garbage."), 64)...), `"a"`, "not a tar entry", api.KindUnsafe},
		{"a second archive", append(bytes.Clone(one), one...), `"a"`, "end mark", api.KindUnsafe},
		{"too many zeros", append(bytes.Clone(one), make([]byte, 17<<20)...), `"a"`, "end mark", api.KindUnsafe},
		{"bomb after the end mark", gz(t, append(bytes.Clone(one), make([]byte, 17<<20)...)), `"a"`, "end mark", api.KindUnsafe},
		{"long part", pack(t, file(strings.Repeat("n", 256), "")), `nnn"`, "256 bytes", api.KindUnsafe},
		{"long link", pack(t, symlink("l", strings.Repeat("t", 4096))), `"l"`, "4096 bytes", api.KindUnsafe},
		{"sparse bomb", sparse(t, "hole", 2<<30), `"hole"`, "1 GiB", api.KindUnsafe},
		{"sparse size of the whole disk", sparse(t, "hole", 1<<62), `"hole"`, "bytes", api.KindUnsafe},
		{"gzip cut", gz(t, pack(t, file("a", strings.Repeat("data", 1000))))[:60], "damaged", "EOF", api.KindVerification},
		{"gzip with a wrong checksum", flip(gz(t, one), -8), "damaged", "checksum", api.KindVerification},
		{"zstd cut", zst(t, one)[:40], "damaged", "EOF", api.KindVerification},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := treetest.New(t)
			if err := tr.PutFile("/workspace/mine", 0o600, when, []byte("mine")); err != nil {
				t.Fatal(err)
			}
			before := treetest.Entries(t, tr)
			_, err := seed.Archive(t.Context(), save(t, c.data), tr, "/workspace", seed.Options{})
			if api.KindOf(err) != c.kind {
				t.Fatalf("got kind %q: %v", api.KindOf(err), err)
			}
			for _, part := range []string{c.entry, c.why} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not name %q", err, part)
				}
			}
			if d := gocmp.Diff(before, treetest.Entries(t, tr)); d != "" {
				t.Error("the tree changed:\n", d)
			}
		})
	}
}

func TestArchiveSparse(t *testing.T) {
	tr := treetest.New(t)
	if _, err := seed.Archive(t.Context(), save(t, sparse(t, "d/hole", 5000)), tr, "/", seed.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := treetest.Entries(t, tr)["/d/hole"].Data; got != strings.Repeat("\x00", 5000) {
		t.Errorf("%d bytes: %.20q...", len(got), got)
	}
}

// flip changes the byte at i, counted from the end if negative.
func flip(b []byte, i int) []byte {
	if i < 0 {
		i += len(b)
	}
	b[i] ^= 0xff
	return b
}

func TestArchiveLimits(t *testing.T) {
	for _, c := range []struct {
		name   string
		data   []byte
		limits tree.Limits
		why    string
	}{
		{"entries", pack(t, file("a", ""), file("b", ""), file("c", "")), tree.Limits{Entries: 2}, "more than 2 entries"},
		{"implied folders", pack(t, file("a/b/c", "")), tree.Limits{Entries: 2}, "more than 2 entries"},
		{"the same name again", pack(t, file("a", ""), file("a", ""), file("a", "")), tree.Limits{Entries: 2}, "more than 2 entries"},
		{"bytes", pack(t, file("a", "1234"), file("b", "56")), tree.Limits{Bytes: 5}, "more than 5 bytes"},
		{"bytes of duplicates", pack(t, file("a", "1234"), file("a", "56")), tree.Limits{Bytes: 5}, "more than 5 bytes"},
		{"depth", pack(t, file("a/b/c", "")), tree.Limits{Depth: 3}, "more than 3 parts"},
		{"path", pack(t, file(strings.Repeat("n", 40), "")), tree.Limits{NameLen: 50}, "longer than 50 bytes"},
		{"names together", gz(t, pack(t, names(700, 2000)...)), tree.Limits{Entries: 710}, "names and link targets"},
		{"the stream", gz(t, pack(t, file("a", strings.Repeat("a", 20<<20)))), tree.Limits{Entries: 1, Bytes: 1 << 20}, "more than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := treetest.New(t)
			_, err := seed.Archive(t.Context(), save(t, c.data), tr, "/workspace", seed.Options{Limits: c.limits})
			if api.KindOf(err) != api.KindUnsafe || !strings.Contains(fmt.Sprint(err), c.why) {
				t.Errorf("got %v, want %q", err, c.why)
			}
			if n := tr.Stat().Entries; n != 0 {
				t.Errorf("%d entries were made", n)
			}
		})
	}
}

// names makes count files with paths of about length bytes.
func names(count, length int) []entry {
	all := make([]entry, count)
	for i := range all {
		p := fmt.Sprintf("%d", i)
		for len(p) < length {
			p = strings.Repeat("n", 200) + "/" + p
		}
		all[i] = symlink(fmt.Sprint(i), p)
	}
	return all
}

// TestArchiveBomb: what unpacks without end is stopped in proportion to its size.
func TestArchiveBomb(t *testing.T) {
	bomb := save(t, nil)
	f, err := os.OpenFile(bomb, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	const size = 3 << 30
	if err := w.WriteHeader(&tar.Header{Name: "zeros", Mode: 0o644, Size: size, Format: tar.FormatPAX}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(z, io.LimitReader(zeros{}, 1<<20)); err != nil { // the rest is only promised
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = seed.Archive(t.Context(), bomb, treetest.New(t), "/workspace", seed.Options{})
	if api.KindOf(err) != api.KindUnsafe || !strings.Contains(fmt.Sprint(err), `"zeros"`) || !strings.Contains(fmt.Sprint(err), "1 GiB") {
		t.Errorf("got %v", err)
	}
}

func TestArchiveManyEntries(t *testing.T) {
	const count = 100_000
	entries := make([]entry, count)
	for i := range entries {
		entries[i] = file(fmt.Sprintf("%d/%d", i%100, i), "x")
	}
	p := save(t, gz(t, pack(t, entries...)))
	begin := time.Now()
	tr := treetest.New(t)
	r, err := seed.Archive(t.Context(), p, tr, "/workspace", seed.Options{})
	if err != nil || r.Files != count || r.Entries != count+100 || r.Bytes != count || tr.Stat().Entries != r.Entries+1 {
		t.Errorf("%+v, %v", r, err)
	}
	t.Logf("%v", time.Since(begin))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func FuzzArchive(f *testing.F) {
	for _, data := range [][]byte{
		pack(f, dir("d"), file("d/f", "data"), symlink("l", "d/f"), hardlink("h", "d/f"), file("d/f", "more")),
		pack(f, symlink("a/l", "../b"), symlink("m", "a/../l/..")),
		pack(f, file("../x", ""), file("/y", "")),
		pack(f, special("p", tar.TypeFifo), withMode(file("s", ""), 0o6755)),
		pack(f, file(strings.Repeat("long/", 60)+"x", "x")),
		sparse(f, "hole", 5000),
		gz(f, pack(f, file("a", "b"))),
		zst(f, pack(f, file("a", "b"))),
	} {
		f.Add(data)
	}
	limits := tree.Limits{Entries: 100, Bytes: 1 << 20, NameLen: 500, Depth: 30}
	f.Fuzz(func(t *testing.T, data []byte) {
		tr := treetest.New(t)
		if err := tr.PutFile("/outside", 0o600, when, []byte("canary")); err != nil {
			t.Fatal(err)
		}
		before := treetest.Entries(t, tr)
		r, err := seed.Archive(t.Context(), save(t, data), tr, "/workspace/src", seed.Options{Limits: limits})
		after := treetest.Entries(t, tr)
		if err != nil {
			switch api.KindOf(err) {
			case api.KindUnsafe, api.KindVerification, api.KindUsage:
			default:
				t.Errorf("kind %q: %v", api.KindOf(err), err)
			}
			if d := gocmp.Diff(before, after); d != "" {
				t.Error("the tree changed:\n", d)
			}
			return
		}
		if r.Entries != len(after)-4 || r.Bytes > limits.Bytes {
			t.Errorf("%+v of %d entries", r, len(after))
		}
		for p, e := range after {
			below, ok := strings.CutPrefix(p, "/workspace/src/")
			switch {
			case p == "/" || p == "/workspace" || p == "/workspace/src":
			case p == "/outside" && e.Data == "canary":
			case !ok || e.UID != 0 || e.GID != 0 || e.Mode&^0o777 != 0:
				t.Errorf("%q: %+v", p, e)
			case e.Type == "symbolic link":
				if strings.HasPrefix(e.Target, "/") || !filepath.IsLocal(filepath.Join("./"+filepath.Dir(below), e.Target)) {
					t.Errorf("%q leads to %q", below, e.Target)
				}
			case e.Type != "regular file" && e.Type != "folder":
				t.Errorf("%q is a %s", p, e.Type)
			}
		}
	})
}
