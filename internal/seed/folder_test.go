package seed_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/seed"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// host is a folder of the host that a test fills.
type host struct {
	testing.TB
	dir string
}

func newHost(tb testing.TB) host { return host{tb, tb.TempDir()} }

func (h host) path(name string) string { return filepath.Join(h.dir, name) }

func (h host) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h host) folder(name string) {
	h.Helper()
	h.must(os.MkdirAll(h.path(name), 0o755))
}

func (h host) file(name, data string) {
	h.Helper()
	h.folder(filepath.Dir(name))
	h.must(os.WriteFile(h.path(name), []byte(data), 0o644))
}

func (h host) symlink(name, target string) {
	h.Helper()
	h.folder(filepath.Dir(name))
	h.must(os.Symlink(target, h.path(name)))
}

func (h host) chmod(name string, mode uint32) {
	h.Helper()
	h.must(syscall.Chmod(h.path(name), mode))
}

// age sets all times, deepest first, so that they stay.
func (h host) age() {
	h.Helper()
	h.must(filepath.WalkDir(h.dir, func(p string, _ os.DirEntry, err error) error {
		h.must(err)
		ts := unix.NsecToTimespec(when.UnixNano())
		return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	}))
}

func TestFolder(t *testing.T) {
	h := newHost(t)
	h.file("a/b/run.sh", "#!/bin/sh\n")
	h.chmod("a/b/run.sh", 0o755)
	h.file("empty", "")
	h.folder("nothing")
	h.chmod("nothing", 0o700)
	h.file(".git/HEAD", "ref: refs/heads/main\n")
	h.file("big", strings.Repeat("0123456789abcdef", 3<<16))
	h.file("odd\nname \xff", "odd")
	h.must(os.Link(h.path("a/b/run.sh"), h.path("z")))
	h.must(os.Link(h.path("a/b/run.sh"), h.path("a/0")))
	h.symlink("a/up", "../z")
	h.symlink("dangling", "a/../no")
	h.symlink("inside", "/workspace//src/a/b")
	h.file("su", "")
	h.chmod("su", 0o4755)
	h.file(filepath.Join("deep", strings.Repeat("d/", 300), "x"), "x")
	h.age()

	tr := treetest.New(t)
	r, err := seed.Folder(t.Context(), h.dir, tr, "/workspace/src", seed.Options{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff([]string{`"su" had mode 4755; its special bits are cleared`}, words(r.Warnings)); d != "" {
		t.Error(d)
	}
	r.Warnings = nil
	wantReport := seed.Report{Mode: "directory", Entries: 17 + 300, Files: 9, Bytes: 10 + 21 + 3<<20 + 3 + 1}
	if d := gocmp.Diff(wantReport, r); d != "" {
		t.Error(d)
	}
	got := treetest.Entries(t, tr)
	base := treetest.Entry{Seconds: when.Unix(), Nanos: when.Nanosecond()}
	entry := func(typ string, mode uint32, data, linkOf, target string) treetest.Entry {
		e := base
		e.Type, e.Mode, e.Data, e.LinkOf, e.Target = typ, mode, data, linkOf, target
		return e
	}
	for p, want := range map[string]treetest.Entry{
		"":                entry("folder", 0o755, "", "", ""),
		"/a":              entry("folder", 0o755, "", "", ""),
		"/a/0":            entry("regular file", 0o755, "#!/bin/sh\n", "", ""),
		"/a/b/run.sh":     entry("regular file", 0o755, "#!/bin/sh\n", "/workspace/src/a/0", ""),
		"/z":              entry("regular file", 0o755, "#!/bin/sh\n", "/workspace/src/a/0", ""),
		"/empty":          entry("regular file", 0o644, "", "", ""),
		"/nothing":        entry("folder", 0o700, "", "", ""),
		"/.git/HEAD":      entry("regular file", 0o644, "ref: refs/heads/main\n", "", ""),
		"/big":            entry("regular file", 0o644, strings.Repeat("0123456789abcdef", 3<<16), "", ""),
		"/odd\nname \xff": entry("regular file", 0o644, "odd", "", ""),
		"/a/up":           entry("symbolic link", 0o777, "", "", "../z"),
		"/dangling":       entry("symbolic link", 0o777, "", "", "a/../no"),
		"/inside":         entry("symbolic link", 0o777, "", "", "/workspace//src/a/b"),
		"/su":             entry("regular file", 0o755, "", "", ""),
		"/deep/" + strings.Repeat("d/", 300) + "x": entry("regular file", 0o644, "x", "", ""),
	} {
		if d := gocmp.Diff(want, got["/workspace/src"+p]); d != "" {
			t.Errorf("%q: %s", p, d)
		}
	}
}

func TestFolderRefusesLinksOut(t *testing.T) {
	for _, c := range []struct{ name, place, target, why string }{
		{"absolute", "l", "/etc/passwd", "absolute path"},
		{"beside the destination", "l", "/workspace/srcs", "absolute path"},
		{"the destination's folder", "l", "/workspace", "absolute path"},
		{"out of the destination", "l", "/workspace/src/../x", "leaves the root"},
		{"up", "d/l", "../../x", "leaves the root"},
		{"up over a link", "d/l", "../in/../../x", "after another link"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			h.folder("d/e")
			h.symlink("in", "d/e")
			h.symlink(c.place, c.target)
			tr := treetest.New(t)
			_, err := seed.Folder(t.Context(), h.dir, tr, "/workspace/src", seed.Options{})
			if api.KindOf(err) != api.KindUnsafe || !strings.Contains(err.Error(), fmt.Sprintf("%q is refused", c.place)) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("got %v", err)
			}
			if n := tr.Stat().Entries; n != 0 {
				t.Errorf("%d entries were made", n)
			}
		})
	}
}

// TestFolderOddTypes: what cannot be copied is told, and an error when strict.
func TestFolderOddTypes(t *testing.T) {
	h := newHost(t)
	h.file("d/file", "x")
	h.must(syscall.Mkfifo(h.path("d/fifo"), 0o644))
	l, err := net.Listen("unix", h.path("sock"))
	h.must(err)
	defer l.Close()
	want := []string{`"d/fifo" is a fifo, which is not copied`, `"sock" is a socket, which is not copied`}
	if syscall.Mknod(h.path("null"), syscall.S_IFCHR|0o666, 1<<8|3) == nil { // needs root
		want = []string{want[0], `"null" is a device, which is not copied`, want[1]}
	}
	tr := treetest.New(t)
	r, err := seed.Folder(t.Context(), h.dir, tr, "/workspace", seed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff(want, words(r.Warnings)); d != "" {
		t.Error(d)
	}
	if got := treetest.Entries(t, tr); len(got) != 4 || r.Entries != 2 || got["/workspace/d/file"].Data != "x" {
		t.Errorf("%+v, %v", r, got)
	}
	_, err = seed.Folder(t.Context(), h.dir, treetest.New(t), "/workspace", seed.Options{Strict: true})
	if api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), fmt.Sprintf("%s (and %d others)", want[0], len(want)-1)) {
		t.Errorf("strict: %v", err)
	}
}

// The environment of the test's second process, which is nobody.
const nobodyEnv = "PYRO_SEED_TEST_FOLDER"

// TestFolderUnreadable reads as a user who may not read everything.
func TestFolderUnreadable(t *testing.T) {
	if dir := os.Getenv(nobodyEnv); dir != "" {
		readAsNobody(t, dir)
		return
	}
	h := newHost(t)
	h.file("fine", "fine")
	h.file("secret", "secret")
	h.chmod("secret", 0)
	h.file("closed/x", "x")
	h.file("listed/x", "x")
	h.chmod("listed", 0o444)
	h.chmod("closed", 0)
	defer h.chmod("closed", 0o755)
	defer h.chmod("listed", 0o755)
	if os.Getuid() != 0 {
		readAsNobody(t, h.dir)
		return
	}
	const nobody = 65534
	h.must(os.Chmod(filepath.Dir(h.dir), 0o755)) // the parent of all of the test's folders
	h.chmod(".", 0o755)
	self, err := os.Executable()
	h.must(err)
	if exec.Command("test", "-r", self).Run() != nil {
		t.Skipf("needs a test binary that can be read: %s", self)
	}
	cmd := exec.Command("/proc/self/fd/3", "-test.run=^TestFolderUnreadable$", "-test.v")
	f, err := os.Open(self) // whose path nobody may have no way to
	h.must(err)
	defer f.Close()
	cmd.ExtraFiles = []*os.File{f}
	cmd.Dir = "/"
	cmd.Env = []string{nobodyEnv + "=" + h.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS: TestFolderUnreadable") {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

func readAsNobody(t *testing.T, dir string) {
	tr := treetest.New(t)
	r, err := seed.Folder(t.Context(), dir, tr, "/workspace", seed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`"closed" cannot be read: permission denied`,
		`"listed/x" cannot be read: permission denied`,
		`"secret" cannot be read: permission denied`,
	}
	if d := gocmp.Diff(want, words(r.Warnings)); d != "" {
		t.Error(d)
	}
	got := treetest.Entries(t, tr)
	if len(got) != 4 || got["/workspace/fine"].Data != "fine" || got["/workspace/listed"].Type != "folder" {
		t.Errorf("got %v", got)
	}
	_, err = seed.Folder(t.Context(), dir, treetest.New(t), "/workspace", seed.Options{Strict: true})
	if api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), `"closed"`) || !strings.Contains(err.Error(), "2 others") {
		t.Errorf("strict: %v", err)
	}
	_, err = seed.Folder(t.Context(), filepath.Join(dir, "closed"), treetest.New(t), "/workspace", seed.Options{})
	if api.KindOf(err) != api.KindPermission {
		t.Errorf("a closed source: %v", err)
	}
}

// TestFolderSwapped: while the folder is read, one of its folders and one of its
// files are exchanged with links to the outside, over and over.
func TestFolderSwapped(t *testing.T) {
	h := newHost(t)
	outside := newHost(t)
	outside.file("canary", "CANARY")
	outside.file("deeper/canary", "CANARY")
	for i := range 20 {
		h.file(fmt.Sprintf("d/deeper/%d", i), "inside")
		h.file(fmt.Sprintf("d/%d", i), "inside")
	}
	h.file("d/canary", "inside")
	h.file("f", "inside")
	h.symlink("dlink", outside.dir)
	h.symlink("flink", outside.path("canary"))
	var stop atomic.Bool
	done := make(chan int)
	go func() {
		n := 0
		for ; !stop.Load(); n++ {
			for _, pair := range [][2]string{{"d", "dlink"}, {"f", "flink"}} {
				unix.Renameat2(unix.AT_FDCWD, h.path(pair[0]), unix.AT_FDCWD, h.path(pair[1]), unix.RENAME_EXCHANGE)
			}
		}
		done <- n
	}()
	links := 0
	for range 300 {
		tr := treetest.New(t)
		// Below this destination the links count as inside, so that no reading is
		// refused before its data can be looked at.
		if _, err := seed.Folder(t.Context(), h.dir, tr, outside.dir, seed.Options{}); err != nil {
			t.Fatal(err)
		}
		for p, e := range treetest.Entries(t, tr) {
			if strings.Contains(e.Data, "CANARY") {
				t.Fatalf("%s was read from outside", p)
			}
			if p == outside.path("d") && e.Type == "symbolic link" {
				links++
			}
		}
	}
	stop.Store(true)
	t.Logf("%d swaps; the folder was seen as a link in %d of 300 readings", <-done, links)
}

// TestFolderChanging: a file that shrinks and grows is taken with the size that
// its data has.
func TestFolderChanging(t *testing.T) {
	h := newHost(t)
	const most = 8 << 20
	h.file("f", strings.Repeat("x", most))
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			os.Truncate(h.path("f"), 10)
			os.Truncate(h.path("f"), most)
		}
	}()
	changed := 0
	for range 100 {
		tr := treetest.New(t)
		r, err := seed.Folder(t.Context(), h.dir, tr, "/workspace", seed.Options{})
		if err != nil {
			t.Fatal(err)
		}
		e := treetest.Entries(t, tr)["/workspace/f"] // fails if the size is a lie
		if int64(len(e.Data)) != r.Bytes {
			t.Errorf("%d bytes, %+v", len(e.Data), r)
		}
		if len(e.Data) != 10 && len(e.Data) != most && len(r.Warnings) == 0 {
			t.Errorf("%d bytes without a warning", len(e.Data))
		}
		changed += len(r.Warnings)
	}
	stop.Store(true)
	<-done
	t.Logf("%d of 100 readings saw a change", changed)
}

func TestFolderLimits(t *testing.T) {
	h := newHost(t)
	for i := range 30 {
		h.file(fmt.Sprintf("d/%02d", i), "1234")
	}
	h.file("d/e/f/x", "")
	for _, c := range []struct {
		limits tree.Limits
		why    string
	}{
		{tree.Limits{Entries: 33}, "more than 33 entries"},
		{tree.Limits{Bytes: 119}, "more than 119 bytes"},
		{tree.Limits{Depth: 4}, "more than 4 parts"},
		{tree.Limits{NameLen: 12}, "longer than 12 bytes"},
		{tree.Limits{Entries: 34, Bytes: 120, Depth: 5, NameLen: 18}, ""},
	} {
		tr := treetest.New(t)
		_, err := seed.Folder(t.Context(), h.dir, tr, "/workspace", seed.Options{Limits: c.limits})
		if c.why == "" {
			if err != nil {
				t.Errorf("%+v: %v", c.limits, err)
			}
			continue
		}
		if api.KindOf(err) != api.KindUnsafe || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%+v: got %v", c.limits, err)
		}
		if n := tr.Stat().Entries; n != 0 {
			t.Errorf("%d entries were made", n)
		}
	}
}

// TestFolderSparse: holes count, and are noticed before they are read.
func TestFolderSparse(t *testing.T) {
	h := newHost(t)
	h.file("hole", "")
	h.must(os.Truncate(h.path("hole"), 1<<40))
	_, err := seed.Folder(t.Context(), h.dir, treetest.New(t), "/workspace", seed.Options{})
	if api.KindOf(err) != api.KindUnsafe || !strings.Contains(err.Error(), `"hole"`) {
		t.Errorf("got %v", err)
	}
}

func TestFolderCanceled(t *testing.T) {
	h := newHost(t)
	h.file("x", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, path := range []string{h.dir, save(t, pack(t, file("x", "x"))), save(t, gz(t, pack(t, file("x", "x"))))} {
		s, err := seed.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		tr := treetest.New(t)
		if _, err := s.Read(ctx, tr, "/workspace", seed.Options{}); api.KindOf(err) != api.KindCanceled {
			t.Errorf("%s: got %v", path, err)
		}
		s.Close()
		if n := tr.Stat().Entries; n != 0 {
			t.Errorf("%d entries were made", n)
		}
	}
}

// TestFolderLeavesNothingOpen counts descriptors after readings that end well
// and badly.
func TestFolderLeavesNothingOpen(t *testing.T) {
	h := newHost(t)
	for i := range 300 {
		h.file(fmt.Sprintf("%d/%d/x", i%7, i), "x")
	}
	descriptors := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		h.must(err)
		return len(all)
	}
	tr := treetest.New(t)
	before := descriptors()
	for i := range 20 {
		seed.Folder(t.Context(), h.dir, tr, "/workspace", seed.Options{Limits: tree.Limits{Entries: 40 * i}})
	}
	if after := descriptors(); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// TestFolderManyEntries: the names are hard links, which are the quickest to make.
func TestFolderManyEntries(t *testing.T) {
	h := newHost(t)
	const folders, each = 100, 1000
	for i := range folders {
		h.file(fmt.Sprintf("%d/0", i), "x")
		for j := range each - 1 {
			h.must(os.Link(h.path(fmt.Sprintf("%d/0", i)), h.path(fmt.Sprintf("%d/%d", i, j+1))))
		}
	}
	begin := time.Now()
	tr := treetest.New(t)
	r, err := seed.Folder(t.Context(), h.dir, tr, "/workspace", seed.Options{})
	if err != nil || r.Entries != folders*each+folders || r.Files != folders*each || r.Bytes != folders {
		t.Errorf("%+v, %v", r, err)
	}
	if s := tr.Stat(); s.Entries != r.Entries+1 || s.Bytes != folders {
		t.Errorf("%+v", s)
	}
	t.Logf("%v", time.Since(begin))
}
