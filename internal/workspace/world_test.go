package workspace

import (
	"bytes"
	"context"
	"database/sql"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/runtime"
	"pyro/internal/sandbox"
	"pyro/internal/store"
)

// shelf is a small, true Environments with one environment.
type shelf struct {
	held atomic.Int32 // images that were not released
	gone atomic.Bool  // the image was removed
}

const environment = "debian:12"

func (s *shelf) PullKernel(context.Context, func(api.Progress)) error { return nil }

func (s *shelf) Known(_ context.Context, name string) error {
	if name != environment {
		return api.Errorf(api.KindNotFound, "environment %s does not exist", name)
	}
	return nil
}

func (s *shelf) Acquire(ctx context.Context, name string) (*sandbox.Image, error) {
	if err := s.Known(ctx, name); err != nil {
		return nil, err
	}
	if s.gone.Load() {
		return nil, api.Errorf(api.KindNotInstalled, "environment %s is not installed", name)
	}
	s.held.Add(1)
	return &sandbox.Image{Path: "/images/" + name, Digest: "sha256:" + name, Release: sync.OnceFunc(func() { s.held.Add(-1) })}, nil
}

func (s *shelf) AcquireDigest(ctx context.Context, digest string) (*sandbox.Image, error) {
	return s.Acquire(ctx, strings.TrimPrefix(digest, "sha256:"))
}

func (s *shelf) Pull(context.Context, string, func(api.Progress)) error {
	s.gone.Store(false)
	return nil
}

// world is a Manager with what it stands on: one background process.
type world struct {
	*Manager
	t      *testing.T
	dir    string
	host   *fakeHost
	driver *fakeDriver // that workspaces are created on
	other  *fakeDriver // that they can be moved to
	shelf  *shelf
	db     *store.Store
	point  atomic.Pointer[func(step string) error] // what happens at a step
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return firstWorld(t, memoryDir(t))
}

// newBubble is newWorld in a bubble.
func newBubble(t *testing.T) *world {
	t.Helper()
	dir := memoryDir(t)
	t.Cleanup(synctest.Wait) // for whoever wakes up at the end of the world
	return firstWorld(t, dir)
}

func firstWorld(t *testing.T, dir string) *world {
	t.Helper()
	host := newFakeHost()
	w := openWorld(t, dir, host)
	w.recover()
	t.Cleanup(func() { endWorld(host) })
	return w
}

// memoryDir makes a folder, in memory if there is a place for that: what survives
// the end of a process does so there too, and nobody waits for a disk.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "pyro-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// inBubble runs a test in which time passes only while everyone waits.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newBubble(t)) })
}

// endWorld lets all goroutines of all processes end.
func endWorld(host *fakeHost) {
	close(host.end)
	for _, id := range host.ids() {
		host.get(id).die(errGone)
	}
}

// openWorld is the start of a background process in a folder.
func openWorld(t *testing.T, dir string, host *fakeHost) *world {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(dir, "pyro.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w := &world{t: t, dir: dir, host: host, shelf: &shelf{}, db: db}
	process := &fakeProcessState{host: host}
	w.driver = &fakeDriver{fakeProcessState: process, name: "fake", mode: api.GuestGVisor, version: "1"}
	w.other = &fakeDriver{fakeProcessState: process, name: "other", mode: api.GuestSerial, version: "1"}
	w.Manager = New(Options{
		Store: db, Environments: w.shelf, Isolated: []runtime.Driver{w.driver, w.other}, Dir: filepath.Join(dir, "workspaces"),
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	w.failpoint = func(step string) error {
		if f := w.point.Load(); f != nil {
			if err := (*f)(strings.TrimPrefix(step, "workspace-")); err != nil {
				return err
			}
		}
		return w.driver.park()
	}
	return w
}

func (w *world) recover() {
	w.t.Helper()
	if err := w.Recover(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// crash is SIGKILL for the background process and the start of another one: of
// the old, whatever it does next never happens. Only in a bubble, where nothing
// is under way once everybody waits.
func (w *world) crash() *world {
	w.t.Helper()
	return w.crashed(func(*world) {})
}

// crashed is crash with a preparation of the new process.
func (w *world) crashed(prepare func(*world)) *world {
	w.t.Helper()
	w.kill()
	next := openWorld(w.t, w.dir, w.host)
	prepare(next)
	next.recover()
	return next
}

// kill is SIGKILL for the background process.
func (w *world) kill() {
	w.driver.gone.Store(true)
	synctest.Wait()
	w.db.Close()
}

// crashAt lets the process die at the nth time that a step is reached: the call
// under way then never returns.
func (w *world) crashAt(step string, nth int) {
	var reached atomic.Int32
	w.at(func(at string) error {
		if at == step && int(reached.Add(1)) == nth {
			w.driver.gone.Store(true)
		}
		return nil
	})
}

// at sets what happens at every step.
func (w *world) at(f func(step string) error) { w.point.Store(&f) }

// failAt lets every pass of a step fail as on a full disk.
func (w *world) failAt(step string) {
	w.at(func(at string) error {
		if at == step {
			return unix.ENOSPC
		}
		return nil
	})
}

// sql runs a statement in the store's database past the store: a trigger, for
// example, that makes it fail.
func (w *world) sql(statement string) {
	w.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.dir, "pyro.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(w.t.Context(), statement); err != nil {
		w.t.Fatal(err)
	}
}

// refuse makes the store fail to do something ("UPDATE ON workspaces") until the
// returned function is called.
func (w *world) refuse(what string) (accept func()) {
	w.t.Helper()
	w.sql("CREATE TRIGGER refusal BEFORE " + what + " BEGIN SELECT RAISE(ABORT, 'injected'); END")
	return func() { w.t.Helper(); w.sql("DROP TRIGGER refusal") }
}

func request() api.CreateWorkspaceRequest {
	return api.CreateWorkspaceRequest{Environment: environment, VCPUCount: 1, MemMiB: 128, DiskMiB: 64, PIDLimit: 32, Runtime: api.RuntimeAuto}
}

// create returns the id of a workspace seeded with the files ("name", "content"...).
func (w *world) create(files ...string) string {
	w.t.Helper()
	req := request()
	if len(files) > 0 {
		req.SeedPath = w.folder("seed", files...)
	}
	made, err := w.Create(w.t.Context(), req, func(api.Progress) {})
	if err != nil {
		w.t.Fatal(err)
	}
	return made.WorkspaceID
}

// folder makes a folder of files on the host.
func (w *world) folder(name string, files ...string) string {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), name)
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	return dir
}

// tryExec runs a command of the fake machine.
func (w *world) tryExec(id string, argv ...string) (api.ExecResult, string, error) {
	var out bytes.Buffer
	res, err := w.Exec(w.t.Context(), api.ExecWorkspaceRequest{WorkspaceID: id, Command: argv, Cwd: api.WorkspacePath, TimeoutSeconds: 3600}, sandbox.Stdio{Stdout: &out})
	return res, out.String(), err
}

// exec is tryExec for a command that succeeds. It returns its output.
func (w *world) exec(id string, argv ...string) string {
	w.t.Helper()
	res, out, err := w.tryExec(id, argv...)
	if err != nil || res.ExitCode != 0 {
		w.t.Fatalf("%v: %v, exit code %d, limit %v", argv, err, res.ExitCode, res.Limit)
	}
	return out
}

// assertFile wants a file with that content, "" for none.
func (w *world) assertFile(id, name, want string) {
	w.t.Helper()
	res, got, err := w.tryExec(id, "read", name)
	if err != nil || got != want || (res.ExitCode == 0) != (want != "") {
		w.t.Errorf("%s is %q (%v, exit code %d), want %q", name, got, err, res.ExitCode, want)
	}
}

func (w *world) status(id string) api.Workspace {
	w.t.Helper()
	s, err := w.Status(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) machine(id string) *fakeMachine {
	w.t.Helper()
	in, err := w.lookup(id)
	if err != nil {
		w.t.Fatal(err)
	}
	m := w.host.get(in.record().Machine)
	if m == nil {
		w.t.Fatalf("workspace %s has no machine, its record says %q", id, in.record().Machine)
	}
	return m
}

func (w *world) snapshot(id, name string) {
	w.t.Helper()
	if _, err := w.CreateSnapshot(w.t.Context(), api.SnapshotRequest{WorkspaceID: id, SnapshotName: name}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) reset(id, snapshot string) {
	w.t.Helper()
	if _, err := w.Reset(w.t.Context(), api.ResetRequest{WorkspaceID: id, Snapshot: snapshot}); err != nil {
		w.t.Fatal(err)
	}
}

// move is reset to another runtime.
func (w *world) move(id, snapshot string, driver *fakeDriver) {
	w.t.Helper()
	got, err := w.tryMove(id, snapshot, driver)
	if err != nil {
		w.t.Fatal(err)
	}
	if got.ExecutionMode != driver.mode {
		w.t.Errorf("moved to %s, the answer names %s", driver.name, got.ExecutionMode)
	}
}

func (w *world) tryMove(id, snapshot string, driver *fakeDriver) (api.ResetResult, error) {
	return w.Reset(w.t.Context(), api.ResetRequest{WorkspaceID: id, Snapshot: snapshot, Runtime: api.Runtime(driver.name)})
}

func (w *world) tryPush(id, source string) (api.PushResult, error) {
	return w.Push(w.t.Context(), api.PushRequest{WorkspaceID: id, SourcePath: source, Dest: api.WorkspacePath})
}

func (w *world) delete(id string) {
	w.t.Helper()
	if _, err := w.Delete(w.t.Context(), id); err != nil {
		w.t.Fatal(err)
	}
}

// patch is the diff of the present against the baseline.
func (w *world) patch(id string) string {
	w.t.Helper()
	d, err := w.Diff(w.t.Context(), api.DiffRequest{WorkspaceID: id, From: api.Baseline})
	if err != nil {
		w.t.Fatal(err)
	}
	return d.Patch
}

// assertTidy wants nothing to be there that no record names. In a bubble it
// first waits for what goes on in the background.
func (w *world) assertTidy() {
	w.t.Helper()
	synctest.Wait()
	w.assertTidyNow()
}

func (w *world) assertTidyNow() {
	w.t.Helper()
	rows, err := w.db.Workspaces(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	var machines, folders []string
	for _, r := range rows {
		folders = append(folders, r.ID)
		if r.Machine != "" {
			machines = append(machines, r.Machine)
		}
		w.assertTidyFolder(r)
	}
	for _, r := range rows {
		if m := w.host.get(r.Machine); m != nil && m.driver != r.Driver {
			w.t.Errorf("machine %s is of %s, its record says %s", r.Machine, m.driver, r.Driver)
		}
	}
	if got := w.host.ids(); !slices.Equal(got, sorted(machines)) {
		w.t.Errorf("there are the machines %q, records name %q", got, machines)
	}
	if got := names(w.dir, "workspaces"); !slices.Equal(got, sorted(folders)) {
		w.t.Errorf("there are the folders %q, records name %q", got, folders)
	}
	if held := int(w.shelf.held.Load()); held != len(rows) && !w.shelf.gone.Load() {
		w.t.Errorf("%d images are held for %d workspaces", held, len(rows))
	}
}

func (w *world) assertTidyFolder(r store.Workspace) {
	w.t.Helper()
	snapshots, err := w.db.Snapshots(context.Background(), r.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	var disks []string
	if r.Disk != "" {
		disks = append(disks, r.Disk)
	}
	for _, s := range snapshots {
		disks = append(disks, s.Disk)
	}
	in := newInstance(filepath.Join(w.Manager.dir, r.ID), r, w.driver, nil)
	if got := names(in.disks()); !slices.Equal(got, sorted(disks)) {
		w.t.Errorf("%s has the disks %q, records name %q", r.ID, got, disks)
	}
	if left := names(in.tmp()); len(left) > 0 {
		w.t.Errorf("%s has %q in tmp/", r.ID, left)
	}
	for _, dir := range names(in.logsDir()) {
		if dir != filepath.Base(in.logDir(r.ResetCount)) {
			w.t.Errorf("%s has the command log %s after %d resets", r.ID, dir, r.ResetCount)
		}
	}
	for _, name := range names(in.dir) {
		if !slices.Contains([]string{seedFile, seedInfoFile, "disks", "commands", "tmp", "sums"}, name) {
			w.t.Errorf("%s has %s", r.ID, name)
		}
	}
}

func sorted(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

func names(elem ...string) []string {
	entries, _ := os.ReadDir(filepath.Join(elem...)) // absent is empty
	var found []string
	for _, e := range entries {
		found = append(found, e.Name())
	}
	return found
}

// assertDense wants a command log whose sequences are 1, 2, 3...
func (w *world) assertDense(id string) []api.Command {
	w.t.Helper()
	log, err := w.Logs(w.t.Context(), api.LogsWorkspaceRequest{WorkspaceID: id, MaxBytes: 100})
	if err != nil {
		w.t.Fatal(err)
	}
	for i, c := range log.Commands {
		if c.Sequence != i+1 {
			w.t.Fatalf("command %d of the log has sequence %d", i+1, c.Sequence)
		}
	}
	if n := w.status(id).CommandCount; log.Count != len(log.Commands) || n != len(log.Commands) {
		w.t.Errorf("%d commands are in the log, it counts %d, the status %d", len(log.Commands), log.Count, n)
	}
	return log.Commands
}

func wantKind(t *testing.T, err error, kinds ...api.Kind) {
	t.Helper()
	if !slices.Contains(kinds, api.KindOf(err)) {
		t.Errorf("error is %v (kind %q), want kind %q", err, api.KindOf(err), kinds)
	}
}

// wantHint wants an error of the kind that says what to do.
func wantHint(t *testing.T, err error, kind api.Kind) {
	t.Helper()
	wantKind(t, err, kind)
	if e := api.AsError(err); e != nil && e.Hint == "" {
		t.Errorf("no hint in: %v", err)
	}
}

// settle lets the autosaver and what else waits go on for a while.
func settle() { time.Sleep(5 * time.Second) }

func (w *world) mustLookup(id string) *instance {
	w.t.Helper()
	in, err := w.lookup(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return in
}

// specFor is what another machine would be made of.
func (in *instance) specFor(machine string) runtime.Spec {
	s := in.spec(in.runtime(), 1)
	s.ID, s.Workspace = machine, in.seedPath()
	return s
}

// synctestSleep lets that time pass, and then everyone come to rest.
func synctestSleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// damage changes a byte in the middle of a file.
func damage(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
