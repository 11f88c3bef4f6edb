package seed_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/erofs"
	"pyro/internal/seed"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// workspace is a guest of a test: an image, and what it holds now.
type workspace struct {
	testing.TB
	image seed.Image
	tree  *tree.Tree // its root is /workspace
	sums  *seed.Sums
}

// hourAhead is a clock by which every file was changed long ago. Changes of a
// test must be told apart by tick then.
func hourAhead() time.Time { return time.Now().Add(time.Hour) }

// newWorkspace is a workspace that was created from source, "" for empty, and
// whose sums were taught.
func newWorkspace(tb testing.TB, source string) *workspace {
	tb.Helper()
	w := &workspace{TB: tb, sums: &seed.Sums{}}
	w.sums.SetClock(hourAhead)
	t := treetest.New(tb)
	if source != "" {
		s := w.open(source)
		defer s.Close()
		if _, err := s.Read(tb.Context(), t, "/workspace", seed.Options{Root: "/workspace", Sums: w.sums}); err != nil {
			tb.Fatal(err)
		}
	}
	f, err := os.Create(path.Join(tb.TempDir(), "image"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	if _, err := erofs.Write(f, t, erofs.WriteOptions{}); err != nil {
		tb.Fatal(err)
	}
	w.image = seed.Image{ID: "image", Data: f}
	w.tree = w.load()
	w.sums.Learn(w.image, w.tree)
	return w
}

// load returns the image as a tree.
func (w *workspace) load() *tree.Tree {
	w.Helper()
	f := w.image.Data.(*os.File)
	info, err := f.Stat()
	if err != nil {
		w.Fatal(err)
	}
	im, err := erofs.Open(f, info.Size())
	if err != nil {
		w.Fatal(err)
	}
	t := treetest.New(w)
	if err := im.Load(t); err != nil {
		w.Fatal(err)
	}
	return t
}

func (w *workspace) open(source string) *seed.Source {
	w.Helper()
	s, err := seed.Open(source)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

func (w *workspace) tryPlan(ctx context.Context, source, dest string, o seed.Options) (*seed.Plan, error) {
	w.Helper()
	s := w.open(source)
	defer s.Close()
	o.Root, o.Sums = "/workspace", w.sums
	p, err := s.Plan(ctx, seed.Present{Tree: w.tree, Image: w.image}, dest, o)
	if err == nil {
		w.Cleanup(func() { p.Close() })
	}
	return p, err
}

func (w *workspace) plan(source, dest string) *seed.Plan {
	w.Helper()
	p, err := w.tryPlan(w.Context(), source, dest, seed.Options{})
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// store passes the sums through the form in which they are kept.
func (w *workspace) store() {
	w.Helper()
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(w.sums)
	w.sums = &seed.Sums{}
	w.sums.SetClock(hourAhead)
	if err == nil {
		err = gob.NewDecoder(&b).Decode(w.sums)
	}
	if err != nil {
		w.Fatal(err)
	}
}

func (w *workspace) put(name string, n *tree.Node, data string) {
	w.Helper()
	if err := w.tree.Put(name, n, strings.NewReader(data)); err != nil {
		w.Fatal(err)
	}
}

func (w *workspace) remove(name string) {
	w.Helper()
	if err := w.tree.Remove(name); err != nil {
		w.Fatal(err)
	}
}

// apply unpacks what a plan sends as the guest does: every entry replaces what
// is in its place, but for folders, which are merged.
func (w *workspace) apply(p *seed.Plan, dest string) {
	w.Helper()
	var sent, moved bytes.Buffer
	if err := p.Changes.WriteTar(w.Context(), &sent); err != nil {
		w.Fatal(err)
	}
	base := "." + strings.TrimPrefix(dest, "/workspace") + "/"
	tw := tar.NewWriter(&moved)
	for tr := tar.NewReader(&sent); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			w.Fatal(err)
		}
		h.Name = base + h.Name
		if h.Typeflag == tar.TypeLink {
			h.Linkname = base + h.Linkname
		}
		h.Format = tar.FormatPAX
		if err := tw.WriteHeader(h); err != nil {
			w.Fatal(err)
		}
		if _, err := io.Copy(tw, tr); err != nil {
			w.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		w.Fatal(err)
	}
	if p.NewDest {
		w.put(base, &tree.Node{Type: tree.Dir, Mode: 0o755}, "")
	}
	if err := w.tree.ApplyTar(&moved, tree.ApplyOptions{Whiteouts: tree.WhiteoutsOCI}); err != nil {
		w.Fatal(err)
	}
}

// changes are the entries of a plan in words.
func changes(p *seed.Plan) []string {
	var all []string
	for _, e := range p.Changes.Entries {
		all = append(all, fmt.Sprintf("%s %s", e.Status, e.Path))
	}
	return all
}

// tick waits until the host's files get another time than those before.
func (h host) tick() {
	h.Helper()
	probe := path.Join(h.TempDir(), "probe")
	ctime := func() unix.Timespec {
		h.must(os.WriteFile(probe, nil, 0o644))
		h.must(os.Remove(probe)) // to be made anew: an empty file that stays empty keeps its time
		h.must(os.WriteFile(probe, nil, 0o644))
		var info unix.Stat_t
		h.must(unix.Stat(probe, &info))
		return info.Ctim
	}
	for first := ctime(); ctime() == first; {
		time.Sleep(time.Millisecond)
	}
}

// opened returns the names of files below dir, not deeper, that fn opens.
func (h host) opened(dir string, fn func()) []string {
	h.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	h.must(err)
	defer unix.Close(fd)
	_, err = unix.InotifyAddWatch(fd, h.path(dir), unix.IN_OPEN)
	h.must(err)
	fn()
	names := map[string]bool{}
	buf := make([]byte, 1<<20)
	n, err := unix.Read(fd, buf)
	if err != nil && err != unix.EAGAIN {
		h.Fatal(err)
	}
	for b := buf[:max(n, 0)]; len(b) > 0; {
		// inotify(7): descriptor, mask, cookie, length of the name; 4 bytes each.
		mask, size := binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[12:])
		if mask&unix.IN_ISDIR == 0 {
			names[string(bytes.TrimRight(b[16:16+size], "\x00"))] = true
		}
		b = b[16+size:]
	}
	return slices.Sorted(maps.Keys(names))
}

// TestPlan changes both sides in every way and looks what is sent, and that
// nothing else is opened.
func TestPlan(t *testing.T) {
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprintf("known=%t", known), func(t *testing.T) {
			h := newHost(t)
			for _, name := range []string{
				"same", "content", "mode", "touched", "restored", "gone", "type", "size", "d/deep/x", "odd\n\xff",
				"g-content", "g-gone", "g-mode", "g-link", "g-folder", "g-copy", "exchanged1", "h1",
			} {
				h.file(name, "one")
			}
			h.file("exchanged2", "two")
			h.file("empty", "")
			h.file("large", strings.Repeat("large", 1<<20))
			h.symlink("link", "same")
			h.symlink("relinked", "same")
			h.folder("d/none")
			h.must(os.Link(h.path("h1"), h.path("h2")))
			h.age()
			testPlan(t, h, known)
		})
	}
}

func testPlan(t *testing.T, h host, known bool) {
	w := newWorkspace(t, h.dir)
	if !known {
		w.sums = &seed.Sums{}
		w.sums.SetClock(hourAhead)
	}
	var nothing *seed.Plan
	got := h.opened(".", func() { nothing = w.plan(h.dir, "/workspace") })
	if len(nothing.Changes.Entries) != 0 || nothing.Changes.Bytes != 0 || nothing.NewDest {
		t.Fatalf("nothing changed, but: %+v", nothing)
	}
	if known && len(got) != 0 {
		t.Errorf("opened %q for nothing", got)
	}
	if !known && len(got) != 20 { // every file but the empty one and those in d
		t.Errorf("opened %q", got)
	}
	w.store()

	h.tick()
	later := time.Now().Add(-time.Minute)
	h.file("content", "two") // the same size
	h.chmod("mode", 0o755)
	h.must(os.Chtimes(h.path("touched"), later, later))
	h.file("restored", "ONE")
	h.must(os.Chtimes(h.path("restored"), when, when))
	h.must(os.Remove(h.path("gone")))
	h.must(os.Remove(h.path("type")))
	h.folder("type")
	h.file("size", "three")
	h.file("d/deep/new", "new")
	h.folder("d/newfolder")
	h.chmod("d/none", 0o700)
	h.must(os.Remove(h.path("relinked")))
	h.symlink("relinked", "d")
	h.file("h2", "HARD")
	h.must(unix.Renameat2(unix.AT_FDCWD, h.path("exchanged1"), unix.AT_FDCWD, h.path("exchanged2"), unix.RENAME_EXCHANGE))

	old := func(name string) *tree.Node {
		n, err := w.tree.Lookup(name)
		h.must(err)
		return &tree.Node{Mode: n.Mode, ModTime: n.ModTime}
	}
	w.put("/g-content", old("/g-content"), "eno")
	w.put("/g-copy", old("/g-copy"), "one") // not the image's any more, but the same
	w.remove("/g-gone")
	w.put("/g-mode", &tree.Node{Mode: 0o600, ModTime: when}, "one")
	w.remove("/g-link")
	w.put("/g-link", &tree.Node{Type: tree.Symlink, Target: "same"}, "")
	w.remove("/g-folder")
	w.put("/g-folder/x", old("/same"), "one")
	w.put("/more", old("/same"), "stays")

	var p *seed.Plan
	got = h.opened(".", func() { p = w.plan(h.dir, "/workspace") })
	want := []string{
		"modified content", "added d/deep/new", "added d/newfolder", "modified d/none", "modified exchanged1", "modified exchanged2",
		"modified g-content", "type_changed g-folder", "added g-gone", "type_changed g-link", "modified g-mode",
		"modified h1", "modified h2", "modified mode", "modified relinked", "modified restored", "modified size", "type_changed type",
	}
	if d := gocmp.Diff(want, changes(p)); d != "" {
		t.Error(d)
	}
	if p.Changes.Bytes != 3+3+3+3+3+3+3+3+3+4+3+3+5 {
		t.Errorf("%d bytes", p.Changes.Bytes)
	}
	want = []string{
		"content", "exchanged1", "exchanged2", "g-content", "g-folder", "g-gone", "g-link", "g-mode",
		"h1", "h2", "mode", "restored", "size", "touched",
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("opened: %s", d)
	}
	fresh := w.check(h.dir, "/workspace", p)
	w.apply(p, "/workspace")
	w.holds(fresh, "/workspace")
	if e := treetest.Entries(t, w.tree)["/more"]; e.Data != "stays" {
		t.Errorf("what the guest has besides: %+v", e)
	}

	again := h.opened(".", func() { p = w.plan(h.dir, "/workspace") })
	if len(again) != 0 || len(p.Changes.Entries) != 0 {
		t.Errorf("after the push: opened %q, %v", again, changes(p))
	}
}

// check compares a plan with what a simple comparison of everything finds, and
// returns the source as a tree.
func (w *workspace) check(source, dest string, p *seed.Plan) *tree.Tree {
	w.Helper()
	fresh := treetest.New(w)
	s := w.open(source)
	defer s.Close()
	report, err := s.Read(w.Context(), fresh, dest, seed.Options{Root: "/workspace"})
	if err != nil {
		w.Fatal(err)
	}
	if d := gocmp.Diff(report, p.Report, gocmp.AllowUnexported(seed.Warning{})); d != "" {
		w.Errorf("the report: %s", d)
	}
	base := strings.TrimSuffix(strings.TrimPrefix(dest, "/workspace"), "/") + "/"
	status := map[string]string{}
	changed := map[*tree.Node]bool{}
	each := func(fn func(name string, n *tree.Node)) {
		fresh.Walk(func(p string, n *tree.Node) error {
			if name, ok := strings.CutPrefix(p, base); ok && name != "" {
				fn(name, n)
			}
			return nil
		})
	}
	each(func(name string, n *tree.Node) {
		if s := differs(fresh, n, w.tree, step(w.tree, base+name)); s != "" {
			status[name] = s
			changed[n] = true
		}
	})
	bytes := int64(0)
	var want []string
	each(func(name string, n *tree.Node) {
		if s := status[name]; s != "" {
			want = append(want, s+" "+name)
		} else if changed[n] {
			want = append(want, "linked "+name)
		}
	})
	for n := range changed {
		bytes += n.Size
	}
	byName := func(a, b string) int {
		_, x, _ := strings.Cut(a, " ")
		_, y, _ := strings.Cut(b, " ")
		return strings.Compare(x, y)
	}
	slices.SortFunc(want, byName)
	if d := gocmp.Diff(want, changes(p)); d != "" {
		w.Errorf("the changes: %s", d)
	}
	if p.Changes.Bytes != bytes {
		w.Errorf("%d bytes, want %d", p.Changes.Bytes, bytes)
	}
	return fresh
}

// step walks to a path without following links; nil if nothing is there.
func step(t *tree.Tree, p string) *tree.Node {
	n := t.Root()
	for part := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
		if part == "" {
			continue
		}
		if n = n.Child(part); n == nil {
			return nil
		}
	}
	return n
}

func differs(ta *tree.Tree, a *tree.Node, tb *tree.Tree, b *tree.Node) string {
	switch {
	case b == nil:
		return "added"
	case a.Type != b.Type:
		return "type_changed"
	case a.Mode != b.Mode || a.Target != b.Target:
		return "modified"
	}
	x, _ := io.ReadAll(ta.Open(a))
	y, _ := io.ReadAll(tb.Open(b))
	if !bytes.Equal(x, y) {
		return "modified"
	}
	return ""
}

// holds fails unless everything of fresh is in the workspace.
func (w *workspace) holds(fresh *tree.Tree, dest string) {
	w.Helper()
	base := strings.TrimPrefix(dest, "/workspace")
	fresh.Walk(func(p string, n *tree.Node) error {
		if p != base && strings.HasPrefix(p, base+"/") && p != "/" {
			if d := differs(fresh, n, w.tree, step(w.tree, p)); d != "" {
				w.Errorf("after the push %q is %s", p, d)
			}
		}
		return nil
	})
}

// TestPlanRacy: a file that was changed a moment ago is read again, since it may
// be changed once more without another time.
func TestPlanRacy(t *testing.T) {
	h := newHost(t)
	h.file("f", "one")
	h.file("settled", "one")
	future := time.Now().Add(24 * time.Hour)
	h.file("future", "one")
	h.must(os.Chtimes(h.path("future"), future, future))
	w := newWorkspace(t, h.dir)
	w.sums = &seed.Sums{} // by the true clock everything is new
	for range 3 {
		var p *seed.Plan
		opened := h.opened(".", func() { p = w.plan(h.dir, "/workspace") })
		if len(opened) != 3 || len(p.Changes.Entries) != 0 {
			t.Fatalf("opened %q, %q", opened, changes(p))
		}
		w.sums.SetClock(nil)
	}
	w.sums.SetClock(hourAhead)
	w.plan(h.dir, "/workspace")
	if opened := h.opened(".", func() { w.plan(h.dir, "/workspace") }); !slices.Equal(opened, []string{"future"}) {
		t.Errorf("opened %q", opened)
	}
}

// TestPlanWriterOfSameSize: whatever a writer does between plans, keeping size
// and time, the last plan after it brings the last content.
func TestPlanWriterOfSameSize(t *testing.T) {
	h := newHost(t)
	h.file("f", "0000")
	h.age()
	w := newWorkspace(t, h.dir)
	w.sums = &seed.Sums{}
	for i := range 300 {
		done := make(chan error)
		go func() {
			err := os.WriteFile(h.path("f"), []byte(fmt.Sprintf("%04d", i)), 0o644)
			os.Chtimes(h.path("f"), when, when)
			done <- err
		}()
		w.plan(h.dir, "/workspace")
		h.must(<-done)
		p := w.plan(h.dir, "/workspace")
		w.apply(p, "/workspace")
		if b, err := w.tree.ReadFile("/f"); err != nil || string(b) != fmt.Sprintf("%04d", i) {
			t.Fatalf("%d: %q, %v", i, b, err)
		}
	}
}

// meddling is data of the guest that changes the host when it is read.
type meddling struct {
	io.ReaderAt
	meddle func()
}

func (m meddling) ReadAt(p []byte, off int64) (int, error) {
	m.meddle()
	return m.ReaderAt.ReadAt(p, off)
}

// TestPlanChangedWhileRead: what a file held before a change is not remembered
// as what it holds after it, even if size and time are as before.
func TestPlanChangedWhileRead(t *testing.T) {
	h := newHost(t)
	h.file("f", "one")
	h.age()
	w := newWorkspace(t, "")
	src := meddling{strings.NewReader("one"), func() {
		h.tick()
		h.file("f", "two")
		h.age()
	}}
	h.must(w.tree.PutData("/f", &tree.Node{Mode: 0o644, Size: 3}, src, 0))
	if got := changes(w.plan(h.dir, "/workspace")); len(got) != 0 {
		t.Fatalf("by what was read nothing changed, but: %q", got)
	}
	p := w.plan(h.dir, "/workspace")
	w.apply(p, "/workspace")
	if b, err := w.tree.ReadFile("/f"); err != nil || string(b) != "two" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestPlanNewHardLink: a new name of an unchanged file stays a link to it.
func TestPlanNewHardLink(t *testing.T) {
	h := newHost(t)
	h.file("a", "data")
	w := newWorkspace(t, h.dir)
	h.tick()
	h.must(os.Link(h.path("a"), h.path("b")))
	p := w.plan(h.dir, "/workspace")
	if d := gocmp.Diff([]string{"linked a", "added b"}, changes(p)); d != "" || p.Changes.Bytes != 4 {
		t.Fatalf("%d bytes, %s", p.Changes.Bytes, d)
	}
	var b bytes.Buffer
	if err := p.Changes.WriteTar(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(&b)
	first, _ := r.Next()
	second, err := r.Next()
	if err != nil || first.Name != "./a" || second.Typeflag != tar.TypeLink || second.Linkname != "./a" {
		t.Errorf("%v, %v, %v", first, second, err)
	}
}

// TestPlanUnknownHardLink: one name is as in the guest, the other is not, and the
// sums know the file.
func TestPlanUnknownHardLink(t *testing.T) {
	h := newHost(t)
	h.file("a", "data")
	for _, name := range []string{"b", "c", "d/e"} {
		h.folder(path.Dir(name))
		h.must(os.Link(h.path("a"), h.path(name)))
	}
	w := newWorkspace(t, h.dir)
	w.put("/c", &tree.Node{Mode: 0o644}, "other")
	p := w.plan(h.dir, "/workspace")
	if d := gocmp.Diff([]string{"linked a", "linked b", "modified c", "linked d/e"}, changes(p)); d != "" {
		t.Fatal(d)
	}
	fresh := w.check(h.dir, "/workspace", p)
	w.apply(p, "/workspace")
	w.holds(fresh, "/workspace")
	if step(w.tree, "/a") != step(w.tree, "/c") || step(w.tree, "/a") != step(w.tree, "/d/e") {
		t.Error("the links are torn")
	}
}

func TestPlanDestination(t *testing.T) {
	h := newHost(t)
	h.file("x", "x")
	h.folder("empty")
	h.symlink("abs", "/workspace/a/b/x")
	w := newWorkspace(t, "")
	w.put("/link", &tree.Node{Type: tree.Symlink, Target: "d"}, "")
	w.put("/d", &tree.Node{Type: tree.Dir}, "")
	w.put("/file", &tree.Node{}, "")
	for _, c := range []struct{ dest, why string }{
		{"", "not an absolute path"},
		{"workspace", "not an absolute path"},
		{"/", "not below /workspace"},
		{"/workspaces", "not below /workspace"},
		{"/workspace/../etc", "not below /workspace"},
		{"/workspace/link", "/workspace/link is a symbolic link"},
		{"/workspace/link/d", "/workspace/link is a symbolic link"},
		{"/workspace/file/x", "/workspace/file is a regular file"},
	} {
		_, err := w.tryPlan(t.Context(), h.dir, c.dest, seed.Options{})
		if api.KindOf(err) != api.KindUsage || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%q: got %v", c.dest, err)
		}
	}
	p := w.plan(h.dir, "/workspace/a//b/")
	if d := gocmp.Diff([]string{"added abs", "added empty", "added x"}, changes(p)); d != "" || !p.NewDest {
		t.Errorf("%t, %s", p.NewDest, d)
	}
	if p := w.plan(newHost(t).dir, "/workspace/e"); len(p.Changes.Entries) != 0 || !p.NewDest {
		t.Errorf("%t, %v", p.NewDest, changes(p))
	}
}

// TestPlanAsRead: a plan refuses and warns as reading does, also where it opens
// nothing.
func TestPlanAsRead(t *testing.T) {
	h := newHost(t)
	h.file("d/a", "1234")
	h.file("d/b", "1234")
	h.chmod("d/b", 0o4755)
	h.must(unix.Mkfifo(h.path("fifo"), 0o644))
	w := newWorkspace(t, h.dir)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		link string
		o    seed.Options
		kind api.Kind
	}{
		{"fine", t.Context(), "", seed.Options{}, ""},
		{"strict", t.Context(), "", seed.Options{Strict: true}, api.KindConflict},
		{"entries", t.Context(), "", seed.Options{Limits: tree.Limits{Entries: 3}}, api.KindUnsafe},
		{"bytes", t.Context(), "", seed.Options{Limits: tree.Limits{Bytes: 7}}, api.KindUnsafe},
		{"depth", t.Context(), "", seed.Options{Limits: tree.Limits{Depth: 1}}, api.KindUnsafe},
		{"canceled", ended, "", seed.Options{}, api.KindCanceled},
		{"link out", t.Context(), "../x", seed.Options{}, api.KindUnsafe},
		{"absolute link", t.Context(), "/x", seed.Options{}, api.KindUnsafe},
		{"absolute link inside", t.Context(), "/workspace/x", seed.Options{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			os.Remove(h.path("link"))
			if c.link != "" {
				h.symlink("link", c.link)
			}
			s := w.open(h.dir)
			defer s.Close()
			o := c.o
			o.Root = "/workspace"
			want, wantErr := s.Read(c.ctx, treetest.New(t), "/workspace", o)
			p, err := w.tryPlan(c.ctx, h.dir, "/workspace", c.o)
			if api.KindOf(err) != c.kind || api.KindOf(wantErr) != c.kind {
				t.Fatalf("got %v and %v", err, wantErr)
			}
			if err == nil {
				if d := gocmp.Diff(want, p.Report, gocmp.AllowUnexported(seed.Warning{})); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func TestPlanArchive(t *testing.T) {
	entries := []entry{
		dir("d"), file("d/a", "one"), file("implied/b", "one"), symlink("l", "d"), hardlink("h", "d/a"), file("empty", ""),
		file("large", strings.Repeat("large", 1<<19)),
	}
	first := save(t, gz(t, pack(t, entries...)))
	w := newWorkspace(t, "")
	p := w.plan(first, "/workspace/src")
	if len(p.Changes.Entries) != 8 || !p.NewDest || p.Report.Mode != seed.ArchivedTree {
		t.Errorf("%+v: %v", p, changes(p))
	}
	fresh := w.check(first, "/workspace/src", p)
	w.apply(p, "/workspace/src")
	w.holds(fresh, "/workspace/src")
	if p := w.plan(first, "/workspace/src"); len(p.Changes.Entries) != 0 || p.NewDest {
		t.Errorf("again: %v", changes(p))
	}

	entries[0] = withMode(entries[0], 0o700)
	entries[2] = file("implied/b", "two")
	entries[3] = symlink("l", "empty")
	w.put("/src/implied", &tree.Node{Type: tree.Dir, Mode: 0o711}, "")
	w.put("/src/h", &tree.Node{Mode: 0o644}, "eno")
	second := save(t, pack(t, entries...))
	p = w.plan(second, "/workspace/src")
	if d := gocmp.Diff([]string{"modified d", "linked d/a", "modified h", "modified implied/b", "modified l"}, changes(p)); d != "" {
		t.Error(d)
	}
	w.apply(p, "/workspace/src")
	if n := step(w.tree, "/src/implied"); n.Mode != 0o711 {
		t.Errorf("a folder without an entry got the mode %o", n.Mode)
	}
}

// broken is data of a guest that cannot be read.
type broken struct{ err error }

func (b broken) ReadAt([]byte, int64) (int, error) { return 0, b.err }

func TestPlanErrors(t *testing.T) {
	h := newHost(t)
	h.file("f", "data")
	w := newWorkspace(t, h.dir)
	damaged := api.Errorf(api.KindVerification, "damaged")
	for want, err := range map[api.Kind]error{api.KindStorage: io.ErrUnexpectedEOF, api.KindVerification: damaged} {
		if err := w.tree.PutData("/f", &tree.Node{Mode: 0o644, Size: 4}, broken{err}, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := w.tryPlan(t.Context(), h.dir, "/workspace", seed.Options{}); api.KindOf(err) != want {
			t.Errorf("got %v", err)
		}
	}
	if _, err := w.tryPlan(t.Context(), h.dir, "/workspace", seed.Options{SpoolDir: h.path("absent")}); api.KindOf(err) != api.KindStorage {
		t.Errorf("got %v", err)
	}
	w.remove("/f")
	p := w.plan(h.dir, "/workspace")
	if err := p.Changes.WriteTar(t.Context(), failing{}); api.KindOf(err) != api.KindStorage {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Changes.WriteTar(ctx, io.Discard); api.KindOf(err) != api.KindCanceled {
		t.Errorf("got %v", err)
	}
	p.Close()
	if err := p.Changes.WriteTar(t.Context(), io.Discard); api.KindOf(err) != api.KindStorage {
		t.Errorf("after Close: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
