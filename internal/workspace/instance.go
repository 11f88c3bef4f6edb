package workspace

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"pyro/api"
	"pyro/internal/commandlog"
	"pyro/internal/runtime"
	"pyro/internal/sandbox"
	"pyro/internal/seed"
	"pyro/internal/store"
)

// instance is one workspace. See the package comment for the order of the locks.
type instance struct {
	id      string
	created time.Time
	dir     string
	ttl     *time.Timer // set by Manager.add; nil if it lives for ever
	secrets secrets     // set before Manager.add

	act, disk mutex
	naming    sync.Mutex // held while name and labels change
	rec       sync.Mutex // guards changes of row, which also need mu

	doomed chan struct{} // closed when doom is set

	users sync.WaitGroup // operations that use its folder; Add is called with mu held and no doom

	mu        sync.Mutex // guards the rest
	row       store.Workspace
	driver    runtime.Driver   // that the row names; changed with it
	snapshots []store.Snapshot // oldest first; changed with rec held too
	image     *sandbox.Image
	log       *commandlog.Log // of the commands since the last reset; nil until it is needed
	life      *life           // nil while there is no machine
	ending    *life           // of the machine that Stop saves, which nobody else uses any more
	tried     int             // generation of the newest machine, also of one that never became the workspace's
	coming    string          // a saved disk that the record will name in a moment; "" for none
	doom      *api.Error
	size      int64      // bytes on the host's disk as last measured
	sums      *seed.Sums // what a push need not read again; nil until it is needed
	running   int        // commands that run now
	saveErr   *api.Error // why the newest save failed, if it did
}

// life is the time of one machine.
type life struct {
	ctx     context.Context // ends, with the reason as cause, when the machine shall end
	cancel  context.CancelCauseFunc
	machine runtime.Machine
	driver  runtime.Driver // of the machine
	log     *commandlog.Log
	kick    chan struct{} // holds a token when something was done that may have changed the disk
	saved   chan struct{} // closed when the autosaver has ended
	image   *imagePath
	guest   guest
	ports   ports
	disk    string         // the saved disk that stands for what the machine began with, if boot had to make one
	uses    sync.WaitGroup // commands; see instance.use
}

// imagePath is where the image of /workspace that a machine runs on can be found.
type imagePath struct {
	mu   sync.Mutex
	path string // guarded by mu
}

func newLife(machine runtime.Machine, driver runtime.Driver, base string, log *commandlog.Log) *life {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &life{
		ctx: ctx, cancel: cancel, machine: machine, driver: driver, log: log, image: &imagePath{path: base},
		kick: make(chan struct{}, 1), saved: make(chan struct{}),
	}
}

// again is another life for the machine of one that has ended.
func (l *life) again() *life {
	next := newLife(l.machine, l.driver, "", l.log)
	next.image = l.image
	return next
}

// mode is the execution_mode of what runs in the life.
func (l *life) mode() api.ExecutionMode { return l.machine.Mode() }

func (l *life) base() string {
	l.image.mu.Lock()
	defer l.image.mu.Unlock()
	return l.image.path
}

func (l *life) setBase(path string) {
	l.image.mu.Lock()
	defer l.image.mu.Unlock()
	l.image.path = path
}

// orCause returns why the life ended if it has, else err: what fails in a
// machine that is being taken away fails because of that.
func (l *life) orCause(err error) error {
	if err == nil {
		return nil
	}
	if why := context.Cause(l.ctx); why != nil {
		return why
	}
	return err
}

// touched tells the autosaver that the disk may have changed.
func (l *life) touched() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// mutex is a lock that can be given up waiting for; see instance.lock.
type mutex chan struct{}

func (m mutex) lock() { m <- struct{}{} }

func (m mutex) unlock() { <-m }

// lock takes act or disk. It gives up when ctx ends or the workspace goes away:
// a deletion waits for all who use the folder.
func (in *instance) lock(ctx context.Context, m mutex) error {
	select {
	case m <- struct{}{}:
		return nil
	case <-in.doomed:
		return notFound(in.id)
	case <-ctx.Done():
		return api.Errorf(api.KindCanceled, "stopped waiting for %s: %w", in.what(), context.Cause(ctx))
	}
}

func newInstance(dir string, row store.Workspace, driver runtime.Driver, image *sandbox.Image) *instance {
	return &instance{
		id: row.ID, created: row.CreatedAt, dir: dir, driver: driver, row: row, image: image,
		act: make(mutex, 1), disk: make(mutex, 1), doomed: make(chan struct{}),
	}
}

func (in *instance) what() string { return "workspace " + in.id }

func (in *instance) setTTL(expire func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.row.ExpiresAt.IsZero() {
		in.ttl = time.AfterFunc(time.Until(in.row.ExpiresAt), expire)
	}
}

// enter begins an operation that uses the workspace's folder, until leave.
func (in *instance) enter() (leave func(), err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.doom != nil {
		return nil, notFound(in.id)
	}
	in.users.Add(1)
	return sync.OnceFunc(in.users.Done), nil
}

// end says that the workspace goes away, and why.
func (in *instance) end(why *api.Error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.doom == nil {
		in.doom = why
		close(in.doomed)
	}
	if in.life != nil {
		in.life.cancel(why)
	}
}

// whileKept returns a context that ends, with the reason as cause, when the workspace
// goes away: its deletion waits for who makes a machine, which may take minutes.
func (in *instance) whileKept(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-in.doomed:
			cancel(notFound(in.id))
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

func (in *instance) currentLife() *life {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.life
}

// takeLife ends the life, if there is one, with the reason for those who use it.
func (in *instance) takeLife(why error) *life {
	in.mu.Lock()
	defer in.mu.Unlock()
	l := in.life
	if l != nil {
		l.cancel(why)
		in.life = nil
	}
	return l
}

// holds says whether the machine of the life is the workspace's.
func (in *instance) holds(l *life) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.life == l || in.ending == l
}

// use begins a command in the machine, which a stop waits for, until leave.
func (in *instance) use(l *life) (leave func(), err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.life != l {
		return nil, l.orCause(api.Errorf(api.KindCanceled, "%s has another sandbox now", in.what()))
	}
	in.running++
	l.uses.Add(1)
	return func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.running--
		l.uses.Done()
	}, nil
}

func (in *instance) record() store.Workspace {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.row
}

// runtime is the driver that the next machine is of.
func (in *instance) runtime() runtime.Driver {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.driver
}

// update changes the record: save writes what change made of it to the store,
// and only then it counts. The caller does not hold mu.
func (in *instance) update(change func(*store.Workspace), save func(store.Workspace) error) error {
	in.rec.Lock()
	defer in.rec.Unlock()
	row := in.record()
	change(&row)
	if err := save(row); err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.row = row
	return nil
}

// set is update with an ordinary write, durable or not.
func (m *Manager) set(ctx context.Context, in *instance, durable bool, change func(*store.Workspace)) error {
	ctx = context.WithoutCancel(ctx)
	return in.update(change, func(row store.Workspace) error { return m.store.UpdateWorkspace(ctx, row, durable) })
}

// used notes that somebody did something with the workspace now.
func (in *instance) used() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.row.LastActivityAt = now() // reaches the store with the next change of the record
}

// commandLog returns where output of commands goes until the next reset.
func (in *instance) commandLog() *commandlog.Log {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.log == nil {
		in.log = openLog(in.logDir(in.row.ResetCount))
	}
	return in.log
}

func openLog(dir string) *commandlog.Log { return commandlog.Open(dir, commandlog.Budget{}) }

// logDir has the output of the commands that ran after so many resets.
func (in *instance) logDir(resets int) string { return in.logPath(strconv.Itoa(resets)) }

func (in *instance) logsDir() string { return filepath.Join(in.dir, "commands") }

func (in *instance) logPath(name string) string { return filepath.Join(in.logsDir(), name) }

// now is the time as the store keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// nextGeneration returns the number of the next machine. None is given twice:
// the removal of one that never became the workspace's may be going on.
func (in *instance) nextGeneration() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.tried = max(in.tried, in.row.Generation) + 1
	return in.tried
}

// machineID names the machine of a generation.
func machineID(id string, generation int) string {
	return fmt.Sprintf("%s-%04x", id, generation&0xffff)
}

// spec is what a driver is asked for, but for what the machine begins with.
func (in *instance) spec(driver runtime.Driver, generation int) runtime.Spec {
	in.mu.Lock()
	defer in.mu.Unlock()
	s := runtime.Spec{
		ID: machineID(in.id, generation), Hostname: in.id, VCPUs: in.row.VCPUCount, PIDs: in.row.PIDLimit,
		MemoryBytes: int64(in.row.MemMiB) << 20, DiskBytes: int64(in.row.DiskMiB) << 20,
	}
	if driver.Features().Kernel {
		s.Kernel = in.row.Kernel // kept for when it boots one again
	}
	if in.image != nil {
		s.Image, s.Env = in.image.Path, in.image.Env
	}
	if p := sandbox.StoredPolicy(in.row.NetworkPolicy); p != nil {
		s.Network = &runtime.Network{Policy: p, Refusals: in.dir}
		if in.image != nil {
			s.Network.AptSources = in.image.AptSources
		}
	}
	return s
}

// public is the workspace as callers see it.
func (in *instance) public() api.Workspace {
	in.mu.Lock()
	defer in.mu.Unlock()
	r := in.row
	w := api.Workspace{
		WorkspaceID: r.ID, Name: r.Name, Labels: labels(r), Environment: r.Environment, State: api.WorkspaceStopped, WorkspacePath: api.WorkspacePath,
		VCPUCount: r.VCPUCount, MemMiB: r.MemMiB, DiskMiB: r.DiskMiB, PIDLimit: r.PIDLimit,
		Network: r.Network, NetworkPolicy: in.policyBase(), TTLSeconds: r.TTLSeconds, ExpiresAt: r.ExpiresAt, CommandCount: r.Commands,
		WorkspaceSeed: api.WorkspaceSeed{
			Mode: api.SeedMode(r.SeedMode), SeedPath: r.SeedPath, Destination: api.WorkspacePath,
			EntryCount: r.SeedEntries, BytesWritten: r.SeedBytes,
		},
		SnapshotCount: len(in.snapshots), ResetCount: r.ResetCount, LastResetAt: r.LastResetAt,
		LastActivityAt: r.LastActivityAt, CreatedAt: r.CreatedAt, SavedAt: r.SavedAt, DiskBytes: in.size, Recovery: recovery(r), SaveError: in.secrets.hideIn(in.saveErr),
		Secrets: append([]api.SecretInfo{}, in.secrets.infos...),
	}
	var machine runtime.Machine
	if l := cmp.Or(in.life, in.ending); l != nil {
		w.State, machine = api.WorkspaceStarted, l.machine
	}
	w.ExecutionMode = sandbox.Mode(in.driver, machine)
	return w
}

func recovery(r store.Workspace) *api.Recovery {
	if r.Recovery == "" {
		return nil
	}
	var rec api.Recovery
	if json.Unmarshal([]byte(r.Recovery), &rec) != nil {
		return nil
	}
	return &rec
}

// setRecovery writes the field of a record.
func setRecovery(r *store.Workspace, rec api.Recovery) {
	b, err := json.Marshal(rec)
	if err == nil { // it has nothing that cannot be marshaled
		r.Recovery = string(b)
	}
}
