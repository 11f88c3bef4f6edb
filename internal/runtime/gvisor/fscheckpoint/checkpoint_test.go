package fscheckpoint_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/runtime/gvisor/fscheckpoint"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// base is what an image holds under the layers of the tests.
func base(tb testing.TB) *tree.Tree {
	tb.Helper()
	t := treetest.New(tb)
	for _, name := range []string{"/keep", "/gone", "/gone2", "/rewritten", "/d/old", "/d/sub/deep", "/replaced/old", "/file-now-folder", "/folder-now-file/x"} {
		if err := t.PutFile(name, 0o600, when, []byte("base "+name)); err != nil {
			tb.Fatal(err)
		}
	}
	return t
}

// apply lays the layer over base, in both ways, and checks that they agree.
func apply(tb testing.TB, c *fscheckpoint.Checkpoint, mount string) map[string]treetest.Entry {
	tb.Helper()
	t := base(tb)
	if err := c.Apply(tb.Context(), mount, t, tree.Limits{}); err != nil {
		tb.Fatal(err)
	}
	got := treetest.Entries(tb, t)
	var plain bytes.Buffer
	if err := c.WriteLayer(tb.Context(), mount, &plain); err != nil {
		tb.Fatal(err)
	}
	viaTar := base(tb)
	if err := viaTar.ApplyTar(&plain, tree.ApplyOptions{Whiteouts: tree.WhiteoutsOverlay}); err != nil {
		tb.Fatal(err)
	}
	want := treetest.Entries(tb, viaTar)
	for path, e := range want { // lists that Apply leaves out and a plain tar keeps
		delete(e.Xattrs, "system.posix_acl_access")
		delete(e.Xattrs, "system.posix_acl_default")
		if len(e.Xattrs) == 0 {
			e.Xattrs = nil
		}
		want[path] = e
	}
	for path, e := range got {
		if len(e.Xattrs) == 0 {
			e.Xattrs = nil
		}
		got[path] = e
	}
	if d := cmp.Diff(want, got); d != "" {
		tb.Errorf("Apply and WriteLayer disagree (-WriteLayer +Apply):\n%s", d)
	}
	return got
}

// contents maps the regular files to their bytes.
func contents(all map[string]treetest.Entry) map[string]string {
	m := map[string]string{}
	for path, e := range all {
		if e.Type == tree.Regular.String() {
			m[path] = e.Data
		}
	}
	return m
}

func repeat(s string, n int) string { return strings.Repeat(s, n/len(s)+1)[:n] }

func TestContents(t *testing.T) {
	l := newLayer()
	want := map[string]string{}
	add := func(name, data string) *layer { want["/"+name] = data; return l }
	zeros := func(n int) string { return strings.Repeat("\x00", n) }

	add("one", "1").file("one", "1")
	add("empty", "").file("empty", "")
	add("page", repeat("page", page)).file("page", repeat("page", page))
	add("many", repeat("many pages", 5*page+7)).file("many", repeat("many pages", 5*page+7))
	l.skip(3) // unused pages of the memory

	a, b := repeat("a", page), repeat("b", page)
	va := l.use([]byte(a), true)
	vz := l.use([]byte(zeros(2*page)), false)
	l.skip(1)
	vb := l.use([]byte(b+a), true)
	add("hole in front", zeros(page)+a).segments("hole in front", 2*page, page, 2*page, va)
	add("hole inside", a+zeros(2*page)+b).segments("hole inside", 4*page, 0, page, va, 3*page, 4*page, vb)
	add("hole at the end", a+zeros(page+1)).segments("hole at the end", 2*page+1, 0, page, va)
	add("nothing but a hole", zeros(3*page+5)).segments("nothing but a hole", 3*page+5)
	add("uncommitted", zeros(page+1)).segments("uncommitted", page+1, 0, 2*page, vz)
	add("partly committed", a+zeros(2*page)).segments("partly committed", 3*page, 0, 3*page, va)
	add("out of order", b+a).segments("out of order", 2*page, 0, page, vb, page, 2*page, va)
	add("one page twice", a+a).segments("one page twice", 2*page, 0, page, va, page, 2*page, va)
	add("hole after half a piece", b+zeros(page)).segments("hole after half a piece", 2*page, 0, page, vb)
	add("hole before half a piece", zeros(page)+b).segments("hole before half a piece", 2*page, page, 2*page, vb)
	vu := l.use([]byte(zeros(page)), false)
	l.use([]byte(b), true)
	add("uncommitted in front", zeros(page)+b).segments("uncommitted in front", 2*page, 0, 2*page, vu)
	add("two segments, one piece", b+a).segments("two segments, one piece", 2*page, 0, page, vb, page, 2*page, vb+page)
	add("segment beyond the size", a[:10]).segments("segment beyond the size", 10, 0, page, va, 5*page, 6*page, vb)
	add("longer segment", a[:10]).segments("longer segment", 10, 0, 3*page, va)
	add("empty with a segment", "").segments("empty with a segment", 0, 0, page, va)
	add("short of its segment", (b + a)[:page+1]).segments("short of its segment", page+1, 0, 2*page, vb)
	many := []uint64{} // more than the decoder reads at once
	expected := ""
	for i := range uint64(1000) {
		many = append(many, 2*i*page, (2*i+1)*page, []uint64{va, vb}[i%2])
		expected += []string{a, b}[i%2] + zeros(page)
	}
	add("many segments", expected).segments("many segments", 2000*page, many...)

	c := newCheckpoint().add(t, "/", l).open(t)
	all := contents(apply(t, c, "/"))
	tr := base(t)
	if err := c.Apply(t.Context(), "/", tr, tree.Limits{}); err != nil {
		t.Fatal(err)
	}
	for name, data := range want {
		if got := all[name]; got != data {
			t.Errorf("%q: %d bytes that differ from the %d wanted", name, len(got), len(data))
		}
		n, err := tr.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		used := []byte(repeat("not zero", len(data))) // where holes must be written too
		if _, err := io.ReadFull(tr.Open(n), used); err != nil || string(used) != data {
			t.Errorf("%q: differs when it is read into a buffer that was in use: %v", name, err)
		}
	}
}

func TestOverlay(t *testing.T) {
	l := newLayer().file("new", "new").file("rewritten", "changed")
	l.with(
		whiteout("gone"), hardlink("gone2", "gone"),
		hardlink("new name", "new"), dir("d"), hardlink("d/third", "new"),
		symlink("soft", "d/../new"), header("fifo", tar.TypeFifo),
		device("dev", tar.TypeChar, 5, 1), device("disk", tar.TypeBlock, 8, 300),
		opaque("replaced"), opaque("file-now-folder"),
		xattr(xattr(dir("acl"), "system.posix_acl_default", "AgAAAA"), "user.mine", "kept"),
		symlink("long target", strings.Repeat("t", 4000)),
	)
	l.file("replaced/new", "inside").file("folder-now-file", "now a file").file("d/added", "added")
	l.file("odd\nname", "1").file("not utf-8 \xff", "2").file("-dash", "3").file(strings.Repeat("long/", 1)+strings.Repeat("n", 255), "4")
	l.with(xattr(entry{Header: tar.Header{Name: "./setuid", Typeflag: tar.TypeReg, Mode: 0o4755, ModTime: when, Uid: 4_000_000_000, Size: 8}, payload: make([]byte, 8)}, "security.capability", "cap"))

	got := apply(t, newCheckpoint().add(t, "/", l).open(t), "/")
	if d := cmp.Diff(map[string]string{
		"/keep": "base /keep", "/d/old": "base /d/old", "/d/sub/deep": "base /d/sub/deep",
		"/new": "new", "/new name": "new", "/d/third": "new", "/rewritten": "changed",
		"/replaced/new": "inside", "/folder-now-file": "now a file", "/d/added": "added",
		"/odd\nname": "1", "/not utf-8 \xff": "2", "/-dash": "3", "/long/" + strings.Repeat("n", 255): "4", "/setuid": "",
	}, contents(got)); d != "" {
		t.Error(d)
	}
	for path, want := range map[string]treetest.Entry{
		"/fifo":     {Type: "fifo", Mode: 0o640, UID: 1, GID: 2, Seconds: when.Unix()},
		"/dev":      {Type: "character device", Mode: 0o640, UID: 1, GID: 2, Seconds: when.Unix(), Major: 5, Minor: 1},
		"/disk":     {Type: "block device", Mode: 0o640, UID: 1, GID: 2, Seconds: when.Unix(), Major: 8, Minor: 300},
		"/soft":     {Type: "symbolic link", Mode: 0o777, UID: 1, GID: 2, Seconds: when.Unix(), Target: "d/../new"},
		"/replaced": {Type: "folder", Mode: 0o755, UID: 1, GID: 2, Seconds: when.Unix()},
		"/acl":      {Type: "folder", Mode: 0o755, UID: 1, GID: 2, Seconds: when.Unix(), Xattrs: map[string]string{"user.mine": "kept"}},
		"/setuid":   {Type: "regular file", Mode: 0o4755, UID: 4_000_000_000, Seconds: when.Unix(), Xattrs: map[string]string{"security.capability": "cap"}},
	} {
		if d := cmp.Diff(want, got[path]); d != "" {
			t.Errorf("%s (-want +got):\n%s", path, d)
		}
	}
	for _, name := range []string{"/new", "/new name"} {
		if got[name].LinkOf != "/d/third" {
			t.Errorf("%s and /d/third are no longer one file", name)
		}
	}
}

// TestWriteLayerKeepsEntries: what a tree cannot hold stays in the tar.
func TestWriteLayerKeepsEntries(t *testing.T) {
	l := newLayer().file("f", repeat("data", page+1)).file("g", "")
	l.with(opaque("d"), whiteout("w1"), hardlink("w2", "w1"), hardlink("h", "f"),
		xattr(header("p", tar.TypeFifo), "system.posix_acl_access", "AgAAAAE"), symlink(strings.Repeat("x", 200), "y"))
	var b bytes.Buffer
	if err := newCheckpoint().add(t, "/", l).open(t).WriteLayer(t.Context(), "/", &b); err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(&b)
	for i := 0; ; i++ {
		h, err := tr.Next()
		if err == io.EOF {
			if i != len(l.entries) {
				t.Errorf("%d entries of %d", i, len(l.entries))
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		want := l.entries[i].Header
		for k, v := range want.PAXRecords {
			if h.PAXRecords[k] != v {
				t.Errorf("%s: record %s is %q", h.Name, k, h.PAXRecords[k])
			}
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if want.Name == "./f" && string(data) != repeat("data", page+1) || want.Name != "./f" && len(data) > 0 {
			t.Errorf("%s holds %d bytes", h.Name, len(data))
		}
		if got := fmt.Sprint(h.Name, h.Typeflag, h.Linkname, h.Mode, h.Uid, h.Gid, h.ModTime.Unix(), h.Devmajor, h.Devminor); got !=
			fmt.Sprint(want.Name, want.Typeflag, want.Linkname, want.Mode, want.Uid, want.Gid, want.ModTime.Unix(), want.Devmajor, want.Devminor) {
			t.Errorf("%s is %s", want.Name, got)
		}
	}
}

func TestMounts(t *testing.T) {
	root, work := newLayer().file("keep", repeat("root", 3*page)), newLayer().skip(7).file("keep", "workspace").file("b", "2")
	for name, c := range map[string]*checkpoint{
		"one order":   newCheckpoint().add(t, "/", root).add(t, "/workspace", work),
		"the other":   newCheckpoint().add(t, "/workspace", work).add(t, "/", root),
		"and a third": newCheckpoint().add(t, "/empty", newLayer()).add(t, "/workspace", work).add(t, "/", root),
	} {
		t.Run(name, func(t *testing.T) {
			got := c.open(t)
			if v := got.Version(); v != "test-1" {
				t.Errorf("version %q", v)
			}
			mounts := got.Mounts()
			if strings.Join(mounts, " ") != "/ /workspace" && strings.Join(mounts, " ") != "/ /empty /workspace" {
				t.Errorf("mounts %q", mounts)
			}
			if all := contents(apply(t, got, "/")); all["/keep"] != repeat("root", 3*page) || all["/b"] != "" {
				t.Errorf("/ holds %q", all)
			}
			if all := contents(apply(t, got, "/workspace")); all["/keep"] != "workspace" || all["/b"] != "2" {
				t.Errorf("/workspace holds %q", all)
			}
			if err := got.Apply(t.Context(), "/nowhere", base(t), tree.Limits{}); api.KindOf(err) != api.KindNotFound {
				t.Errorf("got %v", err)
			}
			if err := got.WriteLayer(t.Context(), "", io.Discard); api.KindOf(err) != api.KindNotFound {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestOpenAbsent(t *testing.T) {
	if _, err := fscheckpoint.Open(filepath.Join(t.TempDir(), "absent")); api.KindOf(err) != api.KindNotFound {
		t.Errorf("got %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fscheckpoint.Open(file); api.KindOf(err) != api.KindStorage {
		t.Errorf("got %v", err)
	}
}

func TestClose(t *testing.T) {
	c := newCheckpoint().add(t, "/", newLayer().file("f", "data")).open(t)
	tr := base(t)
	if err := c.Apply(t.Context(), "/", tr, tree.Limits{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.ReadFile("/f"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	if err := c.Apply(t.Context(), "/", base(t), tree.Limits{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("apply after close: %v", err)
	}
}

func TestCancel(t *testing.T) {
	c := newCheckpoint().add(t, "/", newLayer().file("f", "data")).open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Apply(ctx, "/", base(t), tree.Limits{}); api.KindOf(err) != api.KindCanceled {
		t.Errorf("Apply: %v", err)
	}
	if err := c.WriteLayer(ctx, "/", io.Discard); api.KindOf(err) != api.KindCanceled {
		t.Errorf("WriteLayer: %v", err)
	}
}

// TestCancelInFile: a file may be so large that its copying must be stopped.
func TestCancelInFile(t *testing.T) {
	c := newCheckpoint().add(t, "/", newLayer().segments("hole", 8<<30)).open(t)
	ctx, cancel := context.WithCancel(t.Context())
	w := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	if err := c.WriteLayer(ctx, "/", w); api.KindOf(err) != api.KindCanceled {
		t.Errorf("got %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestFailingWriter(t *testing.T) {
	c := newCheckpoint().add(t, "/", newLayer().file("f", repeat("x", 3<<20))).open(t)
	boom := errors.New("boom")
	err := c.WriteLayer(t.Context(), "/", writerFunc(func([]byte) (int, error) { return 0, boom }))
	if !errors.Is(err, boom) || api.KindOf(err) != api.KindStorage {
		t.Errorf("got %v", err)
	}
	full := api.Errorf(api.KindDiskLimit, "full")
	err = c.WriteLayer(t.Context(), "/", writerFunc(func([]byte) (int, error) { return 0, full }))
	if api.KindOf(err) != api.KindDiskLimit {
		t.Errorf("got %v", err)
	}
}
