package vm

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pyro/api"
	"pyro/internal/runtime"
	"pyro/internal/runtime/host"
	"pyro/internal/sandbox"
	"pyro/internal/store"
)

// shelf is a small, true Environments: names that are installed or can be.
type shelf struct {
	mu        sync.Mutex
	installed map[string]bool // name: in the cache?
	held      int             // images that were not released
	pullErr   error
	pulling   chan struct{} // if not nil, Pull waits for it or ctx
}

func (s *shelf) PullKernel(context.Context, func(api.Progress)) error { return nil }

func (s *shelf) Known(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.installed[name]; !ok {
		return api.Errorf(api.KindNotFound, "environment %s does not exist", name)
	}
	return nil
}

func (s *shelf) Acquire(ctx context.Context, name string) (*sandbox.Image, error) {
	if err := s.Known(ctx, name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.installed[name] {
		return nil, api.Errorf(api.KindNotInstalled, "environment %s is not installed", name)
	}
	s.held++
	var once sync.Once
	return &sandbox.Image{Path: "/images/" + name, Digest: "sha256:" + name, Env: []string{"FROM_IMAGE=" + name}, Release: func() {
		once.Do(func() { s.mu.Lock(); s.held--; s.mu.Unlock() })
	}}, nil
}

func (s *shelf) AcquireDigest(ctx context.Context, digest string) (*sandbox.Image, error) {
	return s.Acquire(ctx, strings.TrimPrefix(digest, "sha256:"))
}

func (s *shelf) Pull(ctx context.Context, name string, progress func(api.Progress)) error {
	progress(api.Progress{Phase: "install", Environment: name})
	if s.pulling != nil {
		select {
		case <-s.pulling:
		case <-ctx.Done():
			return api.Errorf(api.KindCanceled, "pull: %w", context.Cause(ctx))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pullErr == nil {
		s.installed[name] = true
	}
	return s.pullErr
}

// driver plays an isolating driver on top of the real host driver.
type driver struct {
	*host.Driver
	probeErr  error
	createErr error
	probes    atomic.Int32
	removeErr atomic.Pointer[api.Error]
	creating  chan struct{} // if not nil, Create waits for it or ctx
	hit       *api.Error    // what every machine answers to LimitHit

	mu       sync.Mutex
	machines map[string]*machine
}

type machine struct {
	runtime.Machine
	hit  *api.Error
	done chan struct{}
	err  *api.Error
}

func (d *driver) Name() string { return "gvisor" }

func (d *driver) Features() runtime.Features {
	return runtime.Features{Mode: api.GuestGVisor, Isolated: true, Limits: true}
}

func (d *driver) Probe(context.Context) error { d.probes.Add(1); return d.probeErr }

func (d *driver) Create(ctx context.Context, spec runtime.Spec) (runtime.Machine, error) {
	if d.creating != nil {
		select {
		case <-d.creating:
		case <-ctx.Done():
			return nil, api.Errorf(api.KindCanceled, "create: %w", context.Cause(ctx))
		}
	}
	if d.createErr != nil {
		return nil, d.createErr
	}
	m, err := d.Driver.Create(ctx, spec)
	return d.wrap(m, err)
}

func (d *driver) Adopt(ctx context.Context, spec runtime.Spec) (runtime.Machine, error) {
	m, err := d.Driver.Adopt(ctx, spec)
	return d.wrap(m, err)
}

func (d *driver) wrap(m runtime.Machine, err error) (runtime.Machine, error) {
	if err != nil {
		return nil, err
	}
	w := &machine{Machine: m, hit: d.hit, done: make(chan struct{})}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.machines[m.ID()] = w
	return w, nil
}

func (d *driver) Remove(ctx context.Context, id string) error {
	if e := d.removeErr.Load(); e != nil {
		return e
	}
	return d.Driver.Remove(ctx, id)
}

func (m *machine) Mode() api.ExecutionMode             { return api.GuestVsock }
func (m *machine) LimitHit(context.Context) *api.Error { return m.hit }
func (m *machine) Done() <-chan struct{}               { return m.done }

func (m *machine) Err() error {
	select {
	case <-m.done:
		return m.err
	default:
		return nil
	}
}

// die ends the machine as a crash would.
func (d *driver) die(t *testing.T, id string, why *api.Error) {
	t.Helper()
	d.mu.Lock()
	m := d.machines[id]
	d.mu.Unlock()
	m.err = why
	close(m.done) // first, since the files of the machine go only after its end
	if err := d.Driver.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
}

// world is a Manager with what it stands on.
type world struct {
	*Manager
	dir        string
	shelf      *shelf
	driver     *driver
	hostCompat *host.Driver
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return openWorld(t, t.TempDir())
}

// openWorld opens a folder again, as a later process would.
func openWorld(t *testing.T, dir string) *world {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(dir, "pyro.db"))
	if err != nil {
		t.Fatal(err)
	}
	newHost := func(name string) *host.Driver {
		d, err := host.New(host.Options{Dir: filepath.Join(dir, name)})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	w := &world{
		dir: dir, shelf: &shelf{installed: map[string]bool{"debian:12": true, "later": false}},
		driver:     &driver{Driver: newHost("gvisor"), machines: map[string]*machine{}},
		hostCompat: newHost("host"),
	}
	w.Manager = New(Options{
		Store: db, Environments: w.shelf, Isolated: []runtime.Driver{w.driver}, HostCompat: w.hostCompat,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	t.Cleanup(func() {
		w.driver.removeErr.Store(nil)
		for _, in := range w.all() {
			w.remove(context.Background(), in, api.Errorf(api.KindCanceled, "end of test"))
		}
		db.Close()
	})
	return w
}

func resources() api.SandboxOptions {
	return api.SandboxOptions{VCPUCount: 1, MemMiB: 128, DiskMiB: 64, PIDLimit: 32, TTLSeconds: 600, Runtime: api.RuntimeAuto}
}

func request(argv ...string) api.RunRequest {
	return api.RunRequest{Environment: "debian:12", SandboxOptions: resources(), TimeoutSeconds: 60, Command: argv}
}

// started returns the id of a started VM.
func (w *world) started(t *testing.T) string {
	t.Helper()
	vm, err := w.Create(t.Context(), api.CreateVMRequest{Environment: "debian:12", SandboxOptions: resources()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Start(t.Context(), vm.VMID); err != nil {
		t.Fatal(err)
	}
	return vm.VMID
}

// assertEmpty wants nothing left anywhere.
func (w *world) assertEmpty(t *testing.T) {
	t.Helper()
	if list, _ := w.List(t.Context()); len(list.VMs) != 0 {
		t.Errorf("VMs are left: %+v", list.VMs)
	}
	if rows, err := w.store.VMs(t.Context()); err != nil || len(rows) != 0 {
		t.Errorf("rows are left: %+v, %v", rows, err)
	}
	for _, d := range []runtime.Driver{w.driver, w.hostCompat} {
		if ids, err := d.List(t.Context()); err != nil || len(ids) != 0 {
			t.Errorf("machines are left: %v, %v", ids, err)
		}
	}
	w.shelf.mu.Lock()
	defer w.shelf.mu.Unlock()
	if w.shelf.held != 0 {
		t.Errorf("%d images are still held", w.shelf.held)
	}
}

// signalOnReady is a Stdout that tells when the command has written something.
type signalOnReady struct {
	once  sync.Once
	ready chan struct{}
}

func newReady() *signalOnReady { return &signalOnReady{ready: make(chan struct{})} }

func (s *signalOnReady) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.ready) })
	return len(p), nil
}

var _ io.Writer = (*signalOnReady)(nil)

func wantKind(t *testing.T, err error, kinds ...api.Kind) {
	t.Helper()
	if !slices.Contains(kinds, api.KindOf(err)) {
		t.Errorf("error is %v (kind %q), want kind %q", err, api.KindOf(err), kinds)
	}
}
