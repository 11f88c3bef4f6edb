package export_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/export"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

var when = time.Unix(1_600_000_000, 123_000_000)

// guest is a tree that a test fills.
type guest struct {
	testing.TB
	*tree.Tree
}

func newGuest(tb testing.TB) guest { return guest{tb, treetest.New(tb)} }

func (g guest) put(p string, n tree.Node, data string) {
	g.Helper()
	n.ModTime = when
	var r io.Reader
	if n.Type == tree.Regular {
		r = strings.NewReader(data)
	}
	if err := g.Put(p, &n, r); err != nil {
		g.Fatal(err)
	}
}

func (g guest) file(p, data string) { g.Helper(); g.put(p, tree.Node{Mode: 0o644, UID: 1000}, data) }

func (g guest) dir(p string) {
	g.Helper()
	g.put(p, tree.Node{Type: tree.Dir, Mode: 0o755}, "")
}

func (g guest) symlink(p, target string) {
	g.Helper()
	g.put(p, tree.Node{Type: tree.Symlink, Target: target}, "")
}

func (g guest) source(p string) export.Source {
	return export.Source{Tree: g.Tree, Path: p, Root: "/workspace"}
}

// listing tells everything about the files below dir but their owners.
func listing(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	all := map[string]string{}
	inodes := map[uint64]string{}
	err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		info, err := os.Lstat(p)
		if err != nil {
			return err
		}
		s := fmt.Sprintf("%v %d", info.Mode(), info.ModTime().UnixNano())
		switch {
		case info.Mode().IsRegular():
			ino := info.Sys().(*syscall.Stat_t).Ino
			if inodes[ino] != "" {
				s += " like " + inodes[ino]
				break
			}
			inodes[ino] = rel
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			s += " " + string(data)
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			s += " " + target
		}
		all[rel] = s
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

func words(ws []export.Warning) []string {
	var s []string
	for _, w := range ws {
		s = append(s, w.String())
	}
	return s
}

func TestWriteFolder(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skipf("needs root to read a file of mode 0000 back")
	}
	defer syscall.Umask(syscall.Umask(0o077)) // which must not show
	g := newGuest(t)
	g.put("/workspace/p", tree.Node{Type: tree.Dir, Mode: 0o2775}, "")
	g.put("/workspace/p/closed", tree.Node{Type: tree.Dir, Mode: 0o500}, "")
	g.file("/workspace/p/closed/x", "x")
	g.dir("/workspace/p/empty")
	g.put("/workspace/p/run.sh", tree.Node{Mode: 0o4777}, "#!/bin/sh\n")
	g.put("/workspace/p/none", tree.Node{}, "")
	g.file("/workspace/p/a", "hard")
	if err := g.Link("/workspace/p/a", "/workspace/p/closed/hard"); err != nil {
		t.Fatal(err)
	}
	g.file("/workspace/p/odd\nname \xff", "odd")
	g.symlink("/workspace/p/closed/up", "../a")
	g.symlink("/workspace/p/passwd", "/etc/passwd")
	g.symlink("/workspace/p/closed/out", "../../x")
	g.put("/workspace/p/fifo", tree.Node{Type: tree.Fifo, Mode: 0o644}, "")
	g.put("/workspace/p/sda", tree.Node{Type: tree.BlockDevice, Major: 8}, "")
	big := strings.Repeat("0123456789abcdef", 1<<16)
	g.file("/workspace/p/big", big)

	dir := t.TempDir()
	target := filepath.Join(dir, "out")
	r, err := export.Write(t.Context(), g.source("/workspace/p"), target, export.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ns := when.UnixNano()
	want := map[string]string{
		".":              fmt.Sprintf("drwxrwxr-x %d", ns),
		"closed":         fmt.Sprintf("dr-x------ %d", ns),
		"closed/x":       fmt.Sprintf("-rw-r--r-- %d x", ns),
		"closed/hard":    fmt.Sprintf("-rw-r--r-- %d like a", ns),
		"closed/up":      fmt.Sprintf("Lrwxrwxrwx %d ../a", ns),
		"closed/out":     fmt.Sprintf("Lrwxrwxrwx %d ../../x", ns),
		"empty":          fmt.Sprintf("drwxr-xr-x %d", ns),
		"run.sh":         fmt.Sprintf("-rwxrwxrwx %d #!/bin/sh\n", ns),
		"none":           fmt.Sprintf("---------- %d ", ns),
		"a":              fmt.Sprintf("-rw-r--r-- %d hard", ns),
		"odd\nname \xff": fmt.Sprintf("-rw-r--r-- %d odd", ns),
		"passwd":         fmt.Sprintf("Lrwxrwxrwx %d /etc/passwd", ns),
		"big":            fmt.Sprintf("-rw-r--r-- %d %s", ns, big),
	}
	if d := cmp.Diff(want, listing(t, target)); d != "" {
		t.Error(d)
	}
	wantWarnings := []string{
		`"." had mode 2775; its special bits are dropped`,
		`"closed/out" is a symbolic link to "../../x", outside of what is exported`,
		`"fifo" is a fifo, which is not exported`,
		`"passwd" is a symbolic link to "/etc/passwd", outside of what is exported`,
		`"run.sh" had mode 4777; its special bits are dropped`,
		`"sda" is a block device, which is not exported`,
	}
	if d := cmp.Diff(wantWarnings, words(r.Warnings)); d != "" {
		t.Error(d)
	}
	r.Warnings = nil
	wantReport := export.Report{Path: "/workspace/p", Folder: true, Entries: 12, Files: 7, Bytes: 1 + 10 + 4 + 3 + 1<<20}
	if d := cmp.Diff(wantReport, r); d != "" {
		t.Error(d)
	}
	onlyHere(t, dir, "out")
}

// onlyHere asserts that nothing else is in dir.
func onlyHere(t *testing.T, dir string, names ...string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range all {
		got = append(got, e.Name())
	}
	if d := cmp.Diff(names, got); d != "" {
		t.Error("in the target's folder: ", d)
	}
}

func TestWriteFile(t *testing.T) {
	g := newGuest(t)
	g.put("/workspace/d/run", tree.Node{Mode: 0o4755}, "data")
	g.symlink("/workspace/current", "d")
	g.symlink("/workspace/absolute", "/workspace/./current/run")
	g.symlink("/workspace/twice", "absolute")
	for _, p := range []string{"/workspace/d/run", "d/run", "current/run", "absolute", "twice", "/workspace//d/../current/run"} {
		dir := t.TempDir()
		r, err := export.Write(t.Context(), g.source(p), filepath.Join(dir, "out"), export.Options{})
		if err != nil {
			t.Errorf("%s: %v", p, err)
			continue
		}
		want := export.Report{
			Path: "/workspace/d/run", Entries: 1, Files: 1, Bytes: 4,
			Warnings: []export.Warning{{Path: ".", Reason: "had mode 4755; its special bits are dropped"}},
		}
		if d := cmp.Diff(want, r); d != "" {
			t.Error(d)
		}
		got := listing(t, dir)["out"]
		if want := fmt.Sprintf("-rwxr-xr-x %d data", when.UnixNano()); got != want {
			t.Errorf("%s: %q, want %q", p, got, want)
		}
		onlyHere(t, dir, "out")
	}
}

func TestWrongSources(t *testing.T) {
	g := newGuest(t)
	g.file("/etc/passwd", "secret")
	g.file("/workspace/file", "")
	g.file("/workspaces/file", "")
	g.put("/workspace/fifo", tree.Node{Type: tree.Fifo}, "")
	g.symlink("/workspace/abs", "/etc/passwd")
	g.symlink("/workspace/rel", "../etc/passwd")
	g.symlink("/workspace/beside", "/workspaces/file")
	g.symlink("/workspace/d/above", "../..")
	g.symlink("/workspace/loop", "loop")
	g.symlink("/workspace/dangling", "absent")
	for _, c := range []struct {
		path string
		kind api.Kind
		why  string
	}{
		{"/etc/passwd", api.KindUsage, "not below /workspace"},
		{"../etc/passwd", api.KindUsage, "not below /workspace"},
		{"/workspace/../etc/passwd", api.KindUsage, "not below /workspace"},
		{"/workspaces/file", api.KindUsage, "not below"},
		{"absent", api.KindNotFound, "/workspace/absent"},
		{"dangling", api.KindNotFound, "/workspace/absent"},
		{"file/x", api.KindNotFound, "regular file"},
		{"file/", api.KindNotFound, "not a folder"},
		{"fifo", api.KindUsage, "is a fifo"},
		{"abs", api.KindUnsafe, "/workspace/abs leads out"},
		{"rel", api.KindUnsafe, "/workspace/rel leads out"},
		{"beside", api.KindUnsafe, "/workspace/beside leads out"},
		{"d/above", api.KindUnsafe, "/workspace/d/above leads out"},
		{"d/above/etc/passwd", api.KindUnsafe, "/workspace/d/above leads out"},
		{"loop", api.KindUnsafe, "too many"},
	} {
		dir := t.TempDir()
		_, err := export.Write(t.Context(), g.source(c.path), filepath.Join(dir, "out"), export.Options{})
		if api.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.why) {
			t.Errorf("%s: kind %q: %v", c.path, api.KindOf(err), err)
		}
		onlyHere(t, dir)
	}
	if _, err := export.Write(t.Context(), export.Source{Tree: g.Tree, Path: "x", Root: "/absent"}, "/x", export.Options{}); api.KindOf(err) != api.KindNotFound {
		t.Errorf("an absent root: %v", err)
	}
}

func TestWrongTargets(t *testing.T) {
	g := newGuest(t)
	g.file("/workspace/d/file", "new")
	dir := t.TempDir()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(dir, "file"), []byte("old"), 0o600))
	must(os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	must(os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	before := listing(t, dir)
	for _, c := range []struct {
		target string
		kind   api.Kind
	}{
		{"", api.KindUsage},
		{"a\x00b", api.KindUsage},
		{"/", api.KindConflict},
		{dir, api.KindConflict},
		{dir + "/file", api.KindConflict},
		{dir + "/folder", api.KindConflict},
		{dir + "/folder/", api.KindConflict},
		{dir + "/dangling", api.KindConflict},
		{dir + "/absent/out", api.KindNotFound},
		{dir + "/file/out", api.KindUsage},
		{dir + "/" + strings.Repeat("n", 256), api.KindUsage},
		{"/proc/self/out", api.KindNotFound},
	} {
		for _, p := range []string{"d", "d/file"} {
			_, err := export.Write(t.Context(), g.source(p), c.target, export.Options{})
			if kind := api.KindOf(err); kind != c.kind && !strings.HasPrefix(c.target, "/proc") || err == nil {
				t.Errorf("%s to %.100q: kind %q: %v", p, c.target, kind, err)
			}
		}
	}
	if d := cmp.Diff(before, listing(t, dir)); d != "" {
		t.Error(d)
	}
}

// source makes a file of the tree whose bytes come from at.
func source(t *testing.T, size int64, at readerAt) guest {
	g := newGuest(t)
	g.file("/workspace/d/first", "first")
	if err := g.PutData("/workspace/d/second", &tree.Node{Mode: 0o644, Size: size}, at, 0); err != nil {
		t.Fatal(err)
	}
	return g
}

type readerAt func(p []byte, off int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

// TestTargetTakenMeanwhile: whoever comes first keeps the name.
func TestTargetTakenMeanwhile(t *testing.T) {
	for _, p := range []string{"d", "d/second"} {
		for _, kind := range []string{"file", "folder", "link"} {
			dir := t.TempDir()
			target := filepath.Join(dir, "out")
			g := source(t, 100, func(p []byte, _ int64) (int, error) {
				switch kind {
				case "file":
					os.WriteFile(target, []byte("theirs"), 0o600)
				case "folder":
					os.Mkdir(target, 0o700)
				case "link":
					os.Symlink("/etc", target)
				}
				return len(p), nil
			})
			_, err := export.Write(t.Context(), g.source(p), target, export.Options{})
			if api.KindOf(err) != api.KindConflict {
				t.Errorf("%s over a %s: %v", p, kind, err)
			}
			onlyHere(t, dir, "out")
			if all := listing(t, dir); len(all) != 2 || strings.Contains(all["out"], "first") {
				t.Errorf("%v", all)
			}
		}
	}
}

func TestWriteFailsHalfWay(t *testing.T) {
	for _, p := range []string{"d", "d/second"} {
		dir := t.TempDir()
		g := source(t, 1<<30, func([]byte, int64) (int, error) { return 0, syscall.EIO })
		if _, err := export.Write(t.Context(), g.source(p), dir+"/out", export.Options{}); api.KindOf(err) != api.KindStorage {
			t.Errorf("%v", err)
		}
		onlyHere(t, dir)

		ctx, cancel := context.WithCancel(t.Context())
		g = source(t, 1<<40, func(p []byte, _ int64) (int, error) { cancel(); return len(p), nil })
		if _, err := export.Write(ctx, g.source(p), dir+"/out", export.Options{MaxBytes: 1 << 50}); api.KindOf(err) != api.KindCanceled {
			t.Errorf("%v", err)
		}
		onlyHere(t, dir)
	}
}

func TestLimits(t *testing.T) {
	g := source(t, 1<<40, func([]byte, int64) (int, error) { panic("not to be read") })
	g.symlink("/workspace/d/third", "x")
	dir := t.TempDir()
	for _, o := range []export.Options{{}, {MaxBytes: 1 << 40}, {MaxEntries: 2, MaxBytes: 1 << 50}} {
		if _, err := export.Write(t.Context(), g.source("d"), dir+"/out", o); api.KindOf(err) != api.KindDiskLimit {
			t.Errorf("%+v: %v", o, err)
		}
		if _, err := export.WriteTar(t.Context(), g.source("d"), io.Discard, o); api.KindOf(err) != api.KindDiskLimit {
			t.Errorf("%+v: %v", o, err)
		}
	}
	onlyHere(t, dir)
}

// small mounts a file system of 256 KiB and 20 inodes.
func small(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,nr_inodes=20"); err != nil {
		t.Skipf("needs root to mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestDiskFull(t *testing.T) {
	dir := small(t)
	g := newGuest(t)
	g.file("/workspace/big/a", "a")
	g.file("/workspace/big/b", strings.Repeat("b", 1<<20))
	for i := range 30 {
		g.dir(fmt.Sprintf("/workspace/many/%d", i))
	}
	for _, p := range []string{"big", "big/b", "many"} {
		_, err := export.Write(t.Context(), g.source(p), dir+"/out", export.Options{})
		if api.KindOf(err) != api.KindStorage || api.AsError(err).Hint == "" {
			t.Errorf("%s: %v", p, err)
		}
		onlyHere(t, dir)
	}
	if _, err := export.Write(t.Context(), g.source("big/a"), dir+"/out", export.Options{}); err != nil {
		t.Error(err)
	}
}

const killedEnv = "PYRO_EXPORT_TEST_TARGET"

// TestKilled: an export whose process is killed leaves what Sweep finds, and
// Sweep keeps away from it before.
func TestKilled(t *testing.T) {
	if target := os.Getenv(killedEnv); target != "" {
		g := source(t, 1<<40, func(p []byte, off int64) (int, error) {
			if off > 1<<20 {
				fmt.Println("half way")
				select {}
			}
			return len(p), nil
		})
		export.Write(t.Context(), g.source(os.Getenv(killedEnv+"_SOURCE")), target, export.Options{MaxBytes: 1 << 50})
		return
	}
	for _, p := range []string{"d", "d/second"} {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), killedEnv+"="+dir+"/out", killedEnv+"_SOURCE="+p)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if b := make([]byte, 8); must2(io.ReadFull(out, b)) != 8 || string(b) != "half way" {
			t.Errorf("the other process says %q", b)
		}
		if removed, err := export.Sweep(dir); len(removed) != 0 || err != nil {
			t.Errorf("of a living process: %v, %v", removed, err)
		}
		cmd.Process.Kill()
		cmd.Wait()
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != 1 || !export.IsTemporary(left[0].Name()) {
			t.Errorf("left: %v, %v", left, err)
		}
		if removed, err := export.Sweep(dir); len(removed) != 1 || err != nil {
			t.Errorf("of a killed process: %v, %v", removed, err)
		}
		onlyHere(t, dir)
	}
}

func must2(n int, _ error) int { return n }

func TestSweepKeepsWhatIsNotItsOwn(t *testing.T) {
	dir := t.TempDir()
	names := []string{
		".pyro-export-.tmp", ".pyro-export-0123456789abcdef", ".pyro-export-0123456789ABCDEF.tmp",
		".pyro-export-0123456789abcde.tmp", ".pyro-export-0123456789abcdef.tmp.tmp", "x.pyro-export-0123456789abcdef.tmp",
	}
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := ".pyro-export-00000000000000aa.tmp"
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, link)); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	if removed, err := export.Sweep(dir); len(removed) != 0 || err != nil {
		t.Errorf("%v, %v", removed, err)
	}
	if d := cmp.Diff(before, listing(t, dir)); d != "" {
		t.Error(d)
	}
	if os.Getuid() == 0 {
		theirs := filepath.Join(dir, ".pyro-export-00000000000000bb.tmp")
		if err := os.WriteFile(theirs, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(theirs, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if removed, err := export.Sweep(dir); len(removed) != 0 || err != nil {
			t.Errorf("another user's: %v, %v", removed, err)
		}
	}
	if _, err := export.Sweep(filepath.Join(dir, "absent")); err != nil {
		t.Error(err)
	}
}

func TestWriteTar(t *testing.T) {
	g := newGuest(t)
	g.put("/workspace/p", tree.Node{Type: tree.Dir, Mode: 0o1755}, "")
	g.put("/workspace/p/run", tree.Node{Mode: 0o4755, UID: 1000, Xattrs: map[string]string{"security.capability": "x"}}, "data")
	g.symlink("/workspace/p/d/l", "/x")
	g.put("/workspace/p/fifo", tree.Node{Type: tree.Fifo}, "")
	if err := g.Link("/workspace/p/run", "/workspace/p/again"); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	r, err := export.WriteTar(t.Context(), g.source("p"), &b, export.Options{})
	if err != nil || r.Entries != 4 || r.Files != 2 || r.Bytes != 4 || len(r.Warnings) != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	back, err := export.ReadTar(t.Context(), &b, "tar", t.TempDir(), export.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	at := func(e treetest.Entry) treetest.Entry {
		e.Seconds, e.Nanos = when.Unix(), when.Nanosecond()
		return e
	}
	want := map[string]treetest.Entry{
		"/":      at(treetest.Entry{Type: "folder", Mode: 0o755}),
		"/d":     {Type: "folder", Mode: 0o755},
		"/d/l":   at(treetest.Entry{Type: "symbolic link", Mode: 0o777, Target: "/x"}),
		"/again": at(treetest.Entry{Type: "regular file", Mode: 0o755, UID: 1000, Data: "data"}),
		"/run":   at(treetest.Entry{Type: "regular file", Mode: 0o755, UID: 1000, Data: "data", LinkOf: "/again"}),
	}
	if d := cmp.Diff(want, treetest.Entries(t, back)); d != "" {
		t.Error(d)
	}

	b.Reset()
	if _, err := export.WriteTar(t.Context(), g.source("p/run"), &b, export.Options{}); err != nil {
		t.Fatal(err)
	}
	one, err := export.ReadTar(t.Context(), &b, "tar", t.TempDir(), export.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	if got := treetest.Entries(t, one); len(got) != 2 || got["/run"].Data != "data" {
		t.Errorf("%v", got)
	}
	if _, err := export.WriteTar(t.Context(), g.source("p"), failing{}, export.Options{}); api.KindOf(err) != api.KindStorage {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := export.WriteTar(ctx, g.source("p"), io.Discard, export.Options{}); api.KindOf(err) != api.KindCanceled {
		t.Errorf("%v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWarningsAreBounded(t *testing.T) {
	g := newGuest(t)
	for i := range 1200 {
		g.put(fmt.Sprintf("/workspace/%04d", i), tree.Node{Type: tree.Fifo}, "")
	}
	r, err := export.Write(t.Context(), g.source("."), filepath.Join(t.TempDir(), "out"), export.Options{})
	if err != nil || len(r.Warnings) != 1000 || r.Dropped != 200 || r.Entries != 0 {
		t.Errorf("%d, %d, %v", len(r.Warnings), r.Dropped, err)
	}
}

// BenchmarkWrite exports 10,000 files of 128 MB.
func BenchmarkWrite(b *testing.B) {
	g := newGuest(b)
	data := strings.Repeat("All work and no play makes Jack a dull boy.\n", 128<<20/10_000/44)
	for i := range 10_000 {
		g.file(fmt.Sprintf("/workspace/%d/%d/%d", i%10, i/10%20, i), data)
	}
	b.Run("folder", func(b *testing.B) {
		b.SetBytes(128 << 20)
		for b.Loop() {
			dir, err := os.MkdirTemp(b.TempDir(), "")
			if err != nil {
				b.Fatal(err)
			}
			if _, err := export.Write(b.Context(), g.source("."), dir+"/out", export.Options{}); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			os.RemoveAll(dir)
			b.StartTimer()
		}
	})
	b.Run("tar", func(b *testing.B) {
		b.SetBytes(128 << 20)
		for b.Loop() {
			if _, err := export.WriteTar(b.Context(), g.source("."), io.Discard, export.Options{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
