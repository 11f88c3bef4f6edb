package workspace

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pyro/api"
	"pyro/internal/agent"
	"pyro/internal/agent/unpack"
	"pyro/internal/erofs"
	"pyro/internal/runtime"
	"pyro/internal/tree"
)

// fakeHost holds machines as a host does: they outlive the drivers, which are
// those of one background process each. A machine is a small true one: it keeps
// files, runs a few commands, saves its disk and begins with a saved one.
type fakeHost struct {
	end chan struct{} // closed when the test is over

	mu       sync.Mutex
	machines map[string]*fakeMachine // every trace of one, dead or alive
}

func newFakeHost() *fakeHost {
	return &fakeHost{end: make(chan struct{}), machines: map[string]*fakeMachine{}}
}

func (h *fakeHost) get(id string) *fakeMachine {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.machines[id]
}

func (h *fakeHost) ids() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.machines))
}

// fakeDriver implements runtime.Driver and runtime.DiskReader. Those of different
// names know nothing of each other's machines and disks.
type fakeDriver struct {
	*fakeProcessState
	name    string
	mode    api.ExecutionMode
	made    api.ExecutionMode // that of its machines; "" is the same
	version string            // of the disks that it writes, and starts from
	kernel  bool              // its machines boot one
}

// fakeProcessState is what the drivers of one background process have in common.
type fakeProcessState struct {
	host *fakeHost
	gone atomic.Bool // it was killed: whoever calls a driver never goes on
	// fault, if set, comes before "create", "adopt", "list", "remove", "save",
	// "activity", "open" and "start" of a machine; "created" comes after a create.
	fault atomic.Pointer[func(op, id string) error]
}

var errGone = errors.New("the process is gone")

// step is the beginning of a call.
func (d *fakeProcessState) step(op, id string) error {
	if f := d.fault.Load(); f != nil {
		if err := (*f)(op, id); err != nil {
			return err
		}
	}
	return d.park()
}

// park keeps a caller whose process was killed.
func (d *fakeProcessState) park() error {
	if !d.gone.Load() {
		return nil
	}
	<-d.host.end
	return errGone
}

func (d *fakeProcessState) setFault(f func(op, id string) error) {
	if f == nil {
		d.fault.Store(nil)
		return
	}
	d.fault.Store(&f)
}

func (d *fakeDriver) Name() string { return d.name }

func (d *fakeDriver) Features() runtime.Features {
	return runtime.Features{Mode: d.mode, Isolated: true, Limits: true, Kernel: d.kernel}
}

func (d *fakeDriver) Probe(context.Context) error { return nil }

func (d *fakeDriver) Create(ctx context.Context, s runtime.Spec) (runtime.Machine, error) {
	if err := d.step("create", s.ID); err != nil {
		return nil, err
	}
	m := &fakeMachine{spec: s, driver: d.name, mode: cmp.Or(d.made, d.mode), done: make(chan struct{}), disk: make(mutex, 1), layers: map[string]layer{runtime.RootMount: {}, runtime.WorkspaceMount: {}}}
	var err error
	if m.base, err = readBase(s.Workspace); err != nil {
		return nil, err
	}
	if s.Disk != "" {
		disk, err := d.open(s.Disk)
		if err != nil {
			return nil, err
		}
		if !disk.Starts() {
			return nil, api.Errorf(api.KindVerification, "disk %s is of version %s", s.Disk, disk.Version)
		}
		m.layers = disk.Layers
	}
	if s.Layer != "" {
		if m.layers[runtime.RootMount], err = readLayer(s.Layer); err != nil {
			return nil, err
		}
	}
	d.host.mu.Lock()
	if d.host.machines[s.ID] != nil {
		d.host.mu.Unlock()
		return nil, api.Errorf(api.KindConflict, "sandbox %s exists already", s.ID)
	}
	d.host.machines[s.ID] = m
	d.host.mu.Unlock()
	if err := d.step("created", s.ID); err != nil {
		return nil, errors.Join(err, d.Remove(context.WithoutCancel(ctx), s.ID))
	}
	return &fakeHandle{fakeMachine: m, driver: d}, nil
}

func (d *fakeDriver) Adopt(_ context.Context, s runtime.Spec) (runtime.Machine, error) {
	if err := d.step("adopt", s.ID); err != nil {
		return nil, err
	}
	m := d.host.get(s.ID)
	if m == nil || m.driver != d.name || m.Err() != nil {
		return nil, api.Errorf(api.KindNotFound, "sandbox %s is not there", s.ID)
	}
	return &fakeHandle{fakeMachine: m, driver: d}, nil
}

func (d *fakeDriver) List(context.Context) ([]string, error) {
	if err := d.step("list", ""); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(d.host.ids(), func(id string) bool { m := d.host.get(id); return m == nil || m.driver != d.name }), nil
}

func (d *fakeDriver) Remove(_ context.Context, id string) error {
	if err := d.step("remove", id); err != nil {
		return err
	}
	d.host.mu.Lock()
	m := d.host.machines[id]
	if m != nil && m.driver != d.name {
		m = nil
	}
	if m != nil {
		delete(d.host.machines, id)
	}
	d.host.mu.Unlock()
	if m != nil {
		m.die(api.Errorf(api.KindSandboxDied, "sandbox %s was removed", id))
	}
	return nil
}

// layer is what was written over an image: contents by absolute path, nil for
// what is deleted.
type layer map[string]*string

func readBase(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, api.Errorf(api.KindUnavailable, "image %s: %w", path, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	image, err := erofs.Open(f, st.Size())
	if err != nil {
		return nil, err
	}
	t, err := tree.New(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer t.Close()
	if err := image.Load(t); err != nil {
		return nil, err
	}
	base := map[string]string{}
	err = t.Walk(func(p string, n *tree.Node) error {
		if n.Type != tree.Regular {
			return nil
		}
		b, err := io.ReadAll(t.Open(n))
		base[api.WorkspacePath+p] = string(b)
		return err
	})
	return base, err
}

func readLayer(path string) (layer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l := layer{}
	return l, eachFile(tar.NewReader(f), "/", func(p, content string) { l[p] = &content })
}

func eachFile(r *tar.Reader, root string, visit func(path, content string)) error {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeReg {
			visit(path.Join(root, h.Name), string(b))
		}
	}
}

// fakeMachine is what a sandbox process would be.
type fakeMachine struct {
	spec   runtime.Spec
	driver string
	mode   api.ExecutionMode
	base   map[string]string // of /workspace
	done   chan struct{}

	disk mutex // held while the machine stands still

	mu       sync.Mutex
	layers   map[string]layer // by mount
	activity int64
	err      error
	saves    []time.Time
}

func (m *fakeMachine) ID() string              { return m.spec.ID }
func (m *fakeMachine) Mode() api.ExecutionMode { return m.mode }

func (m *fakeMachine) Done() <-chan struct{} { return m.done }

func (m *fakeMachine) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// die ends the machine as a crash does.
func (m *fakeMachine) die(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = why
		close(m.done)
	}
}

// saved returns when the disk was saved.
func (m *fakeMachine) saved() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.saves)
}

// work is the guest doing something by itself.
func (m *fakeMachine) work() { m.mu.Lock(); defer m.mu.Unlock(); m.activity += 100 }

func mountOf(path string) string {
	if strings.HasPrefix(path, api.WorkspacePath+"/") {
		return runtime.WorkspaceMount
	}
	return runtime.RootMount
}

func (m *fakeMachine) read(path string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if content, ok := m.layers[mountOf(path)][path]; ok {
		if content == nil {
			return "", false
		}
		return *content, true
	}
	content, ok := m.base[path]
	return content, ok
}

// write puts files in place, all at once; nil deletes.
func (m *fakeMachine) write(files layer) error {
	m.disk.lock()
	defer m.disk.unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.activity += 100
	for path, content := range files {
		m.layers[mountOf(path)][path] = content
	}
	return nil
}

// fakeHandle is a process's hold on a machine.
type fakeHandle struct {
	*fakeMachine
	driver *fakeDriver
	closed atomic.Bool
}

func (m *fakeHandle) usable() error {
	if m.closed.Load() {
		return fmt.Errorf("machine %s is used after Close: %w", m.ID(), net.ErrClosed)
	}
	return m.Err()
}

func (m *fakeHandle) Dial(context.Context) (net.Conn, error) {
	return nil, api.Errorf(api.KindUnsupported, "no agent")
}

func (m *fakeHandle) Usage(context.Context) (runtime.Usage, error) { return runtime.Usage{}, nil }
func (m *fakeHandle) LimitHit(context.Context) *api.Error          { return nil }
func (m *fakeHandle) Close() error                                 { m.closed.Store(true); return nil }

func (m *fakeHandle) Activity() (int64, error) {
	if err := m.driver.step("activity", m.ID()); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.activity, m.err
}

// savedDisk is the file that a disk is saved in. It implements runtime.Disk.
type savedDisk struct {
	Driver  string
	Version string
	Layers  map[string]layer
	current string // version of the driver
}

const savedFile = "layers.json"

func (m *fakeHandle) SaveDisk(_ context.Context, dir string, mounts ...string) error {
	m.disk.lock()
	defer m.disk.unlock()
	if err := m.driver.step("save", m.ID()); err != nil {
		return err
	}
	if err := m.usable(); err != nil {
		return err
	}
	if len(mounts) == 0 {
		mounts = []string{runtime.RootMount, runtime.WorkspaceMount}
	}
	d := savedDisk{Driver: m.driver.name, Version: m.driver.version, Layers: map[string]layer{}}
	m.mu.Lock()
	for _, mount := range mounts {
		d.Layers[mount] = maps.Clone(m.layers[mount])
	}
	m.saves = append(m.saves, time.Now())
	m.mu.Unlock()
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, savedFile), b, 0o600)
}

func (d *fakeDriver) OpenDisk(dir string) (runtime.Disk, error) {
	if err := d.step("open", dir); err != nil {
		return nil, err
	}
	return d.open(dir)
}

func (d *fakeDriver) open(dir string) (*savedDisk, error) {
	b, err := os.ReadFile(filepath.Join(dir, savedFile))
	if err != nil {
		return nil, api.Errorf(api.KindVerification, "disk %s: %w", dir, err)
	}
	disk := &savedDisk{current: d.version}
	if err := json.Unmarshal(b, disk); err != nil {
		return nil, api.Errorf(api.KindVerification, "disk %s: %w", dir, err)
	}
	if disk.Driver != d.name {
		return nil, api.Errorf(api.KindVerification, "disk %s is of %s, not of %s", dir, disk.Driver, d.name)
	}
	return disk, nil
}

func (d *savedDisk) Starts() bool { return d.Version == d.current }
func (d *savedDisk) Close() error { return nil }

func (d *savedDisk) Apply(_ context.Context, mount string, t *tree.Tree) error {
	for path, content := range d.Layers[mount] {
		path = strings.TrimPrefix(path, strings.TrimSuffix(mount, "/"))
		if content == nil {
			if err := t.Remove(path); err != nil {
				return err
			}
		} else if err := t.PutFile(path, 0o644, time.Unix(1, 0), []byte(*content)); err != nil {
			return err
		}
	}
	return nil
}

func (d *savedDisk) WriteLayer(_ context.Context, mount string, w io.Writer) error {
	tw := tar.NewWriter(w)
	for path, content := range d.Layers[mount] {
		if content == nil {
			continue // the root of this fake has nothing to delete
		}
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "." + path, Mode: 0o644, Size: int64(len(*content))}); err != nil {
			return err
		}
		if _, err := io.WriteString(tw, *content); err != nil {
			return err
		}
	}
	return tw.Close()
}

// Start runs one of these, at paths relative to the command's folder:
//
//	write PATH CONTENT | append PATH CONTENT | rm PATH | read PATH | exit CODE | sleep DURATION | PYRO-AGENT unpack ...
func (m *fakeHandle) Start(ctx context.Context, cmd runtime.Command) (runtime.Process, error) {
	if err := m.driver.step("start", m.ID()); err != nil {
		return nil, err
	}
	if err := m.usable(); err != nil {
		return nil, err
	}
	run, ok := map[string]func(context.Context, *fakeMachine, runtime.Command) int{
		"write": runWrite, "append": runWrite, "rm": runWrite, "read": runRead, "env": runEnv, "exit": runExit, "sleep": runSleep, agent.Path: runUnpack,
	}[cmd.Argv[0]]
	if !ok {
		return nil, api.Errorf(api.KindExec, "%s: %w", cmd.Argv[0], syscall.ENOENT)
	}
	ctx, kill := context.WithCancel(context.WithoutCancel(ctx))
	p := &fakeProcess{driver: m.driver, machine: m.fakeMachine, kill: kill, exit: make(chan int, 1)}
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		select {
		case <-m.done:
			kill()
		case <-ctx.Done():
		}
	}()
	go func() {
		code := run(ctx, m.fakeMachine, cmd)
		kill()
		<-stop
		p.exit <- code
	}()
	return p, nil
}

type fakeProcess struct {
	driver  *fakeDriver
	machine *fakeMachine
	kill    func()
	exit    chan int
}

func (p *fakeProcess) Wait() (runtime.Exit, error) {
	code := <-p.exit
	if err := p.driver.park(); err != nil {
		return runtime.Exit{}, err
	}
	if code > api.ExitSignalBase {
		if err := p.machine.Err(); err != nil {
			return runtime.Exit{}, err
		}
		return runtime.Exit{Code: code, Signal: code - api.ExitSignalBase}, nil
	}
	return runtime.Exit{Code: code}, nil
}

func (p *fakeProcess) Signal(syscall.Signal) error { p.kill(); return nil }
func (p *fakeProcess) Kill() error                 { p.kill(); return nil }

const killed = api.ExitSignalBase + int(syscall.SIGKILL)

func at(cmd runtime.Command, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(cmd.Dir, name)
}

func runWrite(_ context.Context, m *fakeMachine, cmd runtime.Command) int {
	name := at(cmd, cmd.Argv[1])
	var content *string
	switch cmd.Argv[0] {
	case "append":
		old, _ := m.read(name)
		whole := old + cmd.Argv[2]
		content = &whole
	case "write":
		content = &cmd.Argv[2]
	}
	if m.write(layer{name: content}) != nil {
		return killed
	}
	return 0
}

func runRead(_ context.Context, m *fakeMachine, cmd runtime.Command) int {
	content, ok := m.read(at(cmd, cmd.Argv[1]))
	if !ok {
		return 1
	}
	if cmd.Stdout != nil {
		io.WriteString(cmd.Stdout, content)
	}
	return 0
}

// runEnv writes what the command was given beyond the machine's environment.
func runEnv(_ context.Context, _ *fakeMachine, cmd runtime.Command) int {
	io.WriteString(cmd.Stdout, strings.Join(cmd.Env, "\n"))
	return 0
}

func runExit(_ context.Context, _ *fakeMachine, cmd runtime.Command) int {
	var code int
	fmt.Sscan(cmd.Argv[1], &code)
	return code
}

func runSleep(ctx context.Context, _ *fakeMachine, cmd runtime.Command) int {
	long, err := time.ParseDuration(cmd.Argv[1])
	if err != nil {
		return 2
	}
	select {
	case <-time.After(long):
		return 0
	case <-ctx.Done():
		return killed
	}
}

// runUnpack is the agent's unpacking: nothing, or all of it.
func runUnpack(_ context.Context, m *fakeMachine, cmd runtime.Command) int {
	all, err := io.ReadAll(cmd.Stdin)
	files := layer{}
	answer := unpack.Answer{}
	if err == nil && !bytes.HasSuffix(all, []byte(unpack.CommitWord)) {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = eachFile(tar.NewReader(bytes.NewReader(all)), path.Join(cmd.Argv[3], cmd.Argv[5]), func(p, content string) {
			files[p] = &content
			answer.Files++
		})
	}
	if err == nil {
		err = m.write(files)
	}
	doc := unpack.Document{Answer: &answer}
	code := 0
	if err != nil {
		doc, code = unpack.Document{Error: &unpack.Error{Kind: unpack.Canceled, Message: err.Error()}}, 1
	}
	json.NewEncoder(cmd.Stdout).Encode(doc)
	return code
}

var (
	_ runtime.Driver     = (*fakeDriver)(nil)
	_ runtime.DiskReader = (*fakeDriver)(nil)
	_ runtime.Machine    = (*fakeHandle)(nil)
	_ runtime.DiskSaver  = (*fakeHandle)(nil)
	_ runtime.Disk       = (*savedDisk)(nil)
)
