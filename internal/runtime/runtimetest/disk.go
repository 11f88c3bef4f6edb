package runtimetest

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/erofs"
	"pyro/internal/runtime"
	"pyro/internal/tree"
)

var diskTests = map[string]func(*testing.T, *world){
	"Save":          testSaveDisk,
	"SaveTwice":     testSaveDiskChain,
	"SaveWhileBusy": testSaveDiskWhileBusy,
	"Truncated":     testTruncatedDisk,
	"Layer":         testStartWithLayer,
	"Workspace":     testWorkspaceImage,
	"Holes":         testHoles,
}

// hardCases makes a file of every kind that is easily lost, in a guest with
// nothing but perl and coreutils.
const hardCases = `set -e
mkdir -p /workspace/a/b "/workspace/odd dir" /opt/empty
echo one >/workspace/a/one; ln /workspace/a/one /workspace/a/b/hard; ln -s ../one /workspace/a/b/soft; ln -s /nowhere /workspace/dangling
mkfifo /workspace/fifo
printf x >"/workspace/odd dir/new
line"; printf x >"$(printf '/workspace/bad\377utf8')"; printf x >/workspace/-dash
chmod 4755 /workspace/a/one; chmod 1777 /opt/empty; chown 1234:99 /workspace/a; chown -h 7:8 /workspace/dangling
dd if=/dev/zero of=/workspace/sparse bs=1 count=1 seek=100M 2>/dev/null
head -c 300000 /dev/urandom >/workspace/random
touch -d '2001-02-03 04:05:06' /workspace/a/one
rm /etc/debian_version /etc/issue; rm -r /etc/apt; mkdir /etc/apt; echo new >/etc/apt/file; echo more >>/etc/passwd
mv /usr/share/doc /usr/share/moved 2>/dev/null || cp -a /etc/skel /usr/share/moved
echo t >/tmp/t`

// fingerprint prints a line for every file of the guest's disk. Times are
// rounded to seconds, as a saved disk has them.
const fingerprint = `cd / && find / /workspace -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run/pyro \) -prune -o -printf '%y %m %U %G %n %s %T@ %l %p\0' |
perl -0ne 'chomp; s/^d (\S+ \S+ \S+) \S+ \S+ /d $1 /; s/(\d{9,}\.\d+)/sprintf "%.0f", $1/e; $l{$_} = 1; END { print map { s/\n/\\n/g; "$_\n" } sort keys %l }'
find /workspace /etc /tmp /opt -xdev -type f -print0 | sort -z | xargs -0 sha256sum`

func save(t *testing.T, m runtime.Machine) string {
	t.Helper()
	saver, ok := m.(runtime.DiskSaver)
	if !ok {
		t.Skip("machines of this driver cannot save their disk")
	}
	dir := t.TempDir()
	if err := saver.SaveDisk(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sameAs starts a machine from what was saved and compares its disk.
func (w *world) sameAs(t *testing.T, want string, change func(*runtime.Spec)) runtime.Machine {
	t.Helper()
	spec := w.spec()
	change(&spec)
	m := w.create(t, spec)
	got := sh(t, m, fingerprint)
	if got.Code != 0 {
		t.Fatalf("fingerprint: %+v", got.Exit)
	}
	if diff := cmp.Diff(want, got.stdout); diff != "" {
		t.Errorf("disk of the new machine (-saved +new):\n%s", diff)
	}
	return m
}

// disposable skips the test unless the machine's disk is its own. It comes
// before anything that changes files outside /workspace: where nothing is
// isolated they would be the host's.
func (w *world) disposable(t *testing.T) runtime.Machine {
	t.Helper()
	if !w.driver.Features().Isolated {
		t.Skipf("machines of %s have no disk of their own", w.driver.Name())
	}
	return w.machine(t)
}

func prepare(t *testing.T, w *world) (runtime.Machine, string) {
	t.Helper()
	m := w.disposable(t)
	if got := sh(t, m, "test -d /run/pyro/bin"); got.Code != 0 {
		t.Fatal("this is not the inside of a sandbox")
	}
	if got := sh(t, m, hardCases); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	return m, sh(t, m, fingerprint).stdout
}

func testSaveDisk(t *testing.T, w *world) {
	m, want := prepare(t, w)
	dir := save(t, m)
	if diff := cmp.Diff(want, sh(t, m, fingerprint).stdout); diff != "" {
		t.Errorf("saving changed the machine (-before +after):\n%s", diff)
	}
	for range 2 { // any number of times, beside the original
		w.sameAs(t, want, func(s *runtime.Spec) { s.Disk = dir })
	}
}

func testSaveDiskChain(t *testing.T, w *world) {
	m, first := prepare(t, w)
	firstDir := save(t, m)
	m = w.sameAs(t, first, func(s *runtime.Spec) { s.Disk = firstDir })
	if got := sh(t, m, "rm /workspace/a/one; echo two >/workspace/two; rm -r /etc/apt"); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	second := sh(t, m, fingerprint).stdout
	secondDir := save(t, m)
	w.sameAs(t, second, func(s *runtime.Spec) { s.Disk = secondDir })
	w.sameAs(t, first, func(s *runtime.Spec) { s.Disk = firstDir })
}

func testSaveDiskWhileBusy(t *testing.T, w *world) {
	m := w.disposable(t)
	p := start(t, m, runtime.Command{Argv: []string{"sh", "-c", "i=0; while :; do i=$((i+1)); echo $i >/workspace/n; done"}})
	eventually(t, "the command writes", func() bool { return sh(t, m, "test -s /workspace/n").Code == 0 })
	dir := save(t, m)
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	if _, err := p.Wait(); err != nil {
		t.Error(err)
	}
	spec := w.spec()
	spec.Disk = dir
	if got := sh(t, w.create(t, spec), "test -e /workspace/n"); got.Code != 0 {
		t.Errorf("%+v", got)
	}
}

// testTruncatedDisk checks that a damaged snapshot is refused and leaves nothing.
func testTruncatedDisk(t *testing.T, w *world) {
	m, _ := prepare(t, w)
	dir := save(t, m)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal("nothing was saved", err)
	}
	for _, file := range files {
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, whole[:len(whole)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		spec := w.spec()
		spec.Disk = dir
		if m, err := w.driver.Create(t.Context(), spec); err == nil {
			t.Errorf("a machine started although %s is cut", filepath.Base(file))
			m.Close()
			_ = w.driver.Remove(context.Background(), spec.ID)
		} else if kind := api.KindOf(err); kind == api.KindInternal {
			t.Errorf("%s is cut: error of kind %s: %v", filepath.Base(file), kind, err)
		}
		if left := processesOf(t, spec.ID); len(left) > 0 {
			t.Errorf("%s is cut: left behind: %v", filepath.Base(file), left)
		}
		if err := os.WriteFile(file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// testStartWithLayer checks the durable form, which keeps everything but holes.
func testStartWithLayer(t *testing.T, w *world) {
	m, want := prepare(t, w)
	exporter, ok := m.(runtime.LayerExporter)
	if !ok {
		t.Skipf("machines of %s have no layer to export", w.driver.Name())
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "layer.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := exporter.ExportLayer(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	w.sameAs(t, want, func(s *runtime.Spec) { s.Layer = f.Name() })
}

// workspaceImage writes an image for Spec.Workspace with a few files.
func workspaceImage(t *testing.T) string {
	t.Helper()
	files, err := tree.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	when := time.Unix(1_000_000_000, 123_456_789)
	for _, name := range []string{"/keep", "/gone", "/dir/sub/deep", "/dir/other"} {
		if err := files.PutFile(name, 0o644, when, []byte("from the image: "+name+"\n")); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "workspace.erofs")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := erofs.Write(out, files, erofs.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// testWorkspaceImage checks /workspace on an image of its own: changes stay in
// a layer of their own, which is saved and restored with the root's.
func testWorkspaceImage(t *testing.T, w *world) {
	w.disposable(t)
	spec := w.spec()
	spec.Workspace = workspaceImage(t)
	m := w.create(t, spec)
	const contents = "cd /workspace && find . -mindepth 1 -printf '%y %m %n %T@ %p\n' | sort && cat keep gone dir/sub/deep dir/other"
	pristine := sh(t, m, contents).stdout
	const change = `set -e; cd /workspace; cat keep dir/sub/deep; test "$(stat -c %y keep | cut -c21-29)" = 123456789
rm gone; mv dir moved; mkdir dir; echo new >dir/new; echo more >>keep; test ! -e dir/sub`
	if got := sh(t, m, change); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	if got := sh(t, m, hardCases); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	want := sh(t, m, fingerprint).stdout
	dir := save(t, m)
	again := w.sameAs(t, want, func(s *runtime.Spec) { s.Workspace, s.Disk = spec.Workspace, dir })
	if got := sh(t, again, "echo further >/workspace/keep"); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	w.sameAs(t, want, func(s *runtime.Spec) { s.Workspace, s.Disk = spec.Workspace, dir })
	if got := sh(t, w.create(t, func() runtime.Spec { s := w.spec(); s.Workspace = spec.Workspace; return s }()), contents); got.stdout != pristine {
		t.Errorf("a machine with the image alone has %q, want %q", got.stdout, pristine)
	}
}
