// Package gvisor runs machines as gVisor sandboxes.
//
// pyro carries gVisor in its own binary: the driver calls runsc as a library
// and runsc starts the same executable again as sandbox ("sentry") and gofer;
// see IsReexec. The API of that library is not stable, so this package is the
// only one that imports it.
//
// A machine's root file system is the environment's EROFS image, which all
// machines share, under gVisor's own overlay, whose data lies in an unlinked
// file on the host. The guest agent is the first process, from a read-only
// bind mount. There is no network but the guest's own loopback, until the driver
// plugs in a card whose frames go to a process of ours, the uplink (package
// uplink); see network.go.
//
// # On disk
//
//	DIR/
//	├── agent/HASH/pyro-agent   the guest agent, mounted at /run/pyro/bin
//	├── overlay/                where sandboxes make their unlinked overlay files
//	├── run/                    runsc's state files and control sockets
//	└── machines/ID/
//	    ├── machine.json        what a later process must know of the machine
//	    └── guest.MEM.CPU.../   the bundle: config.json, rootfs/
//
// machine.json is written before the sandbox is started, so that every trace
// of a machine has its folder; Remove deletes that folder last.
//
// # Isolation
//
// As root, sandbox and gofer run as nobody in user namespaces of their own; as
// a plain user the whole background process lives in one. The sandbox has
// empty mount, network, PID, IPC and UTS namespaces and gVisor's seccomp filter.
package gvisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	gvlog "gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/runsc/config"
	"gvisor.dev/gvisor/runsc/flag"
	"gvisor.dev/gvisor/runsc/specutils"

	"pyro/api"
	"pyro/internal/agent/embedded"
	"pyro/internal/runtime"
	"pyro/internal/runtime/hostprocess"
	"pyro/internal/runtime/machines"
	"pyro/internal/runtime/program"
)

// Options configure a driver.
type Options struct {
	// Dir is the driver's folder. Required; made if absent.
	Dir string
	// Executable is started as sandbox and gofer; it must call ReexecMain.
	// Default: the running executable.
	Executable string
	// OwnsStdio says that the process does not use os.Stdin, os.Stdout and
	// os.Stderr, which New then replaces; see giveUpStdio.
	OwnsStdio bool
	// Logger gets what the driver does. Default: nothing is logged.
	Logger *slog.Logger
	// DebugDir, if set, gets gVisor's own debug logs, which are huge.
	DebugDir string
}

// Driver makes gVisor machines. It implements runtime.Driver.
type Driver struct {
	dir      string
	runDir   string
	runFile  *os.File // keeps the descriptor that runscRoot names; often nil
	agentDir string
	rootless bool
	log      *slog.Logger
	conf     *config.Config
	cpus     *cpuPool
	machines machines.Dir

	spawning sync.RWMutex // held to read while runsc makes a sandbox, to write while what it shares is removed

	live machines.Table[*machine]
}

var _ runtime.Driver = (*Driver)(nil)

// maxID is the length of the longest id of a machine.
const maxID = 64

// processWide is what gVisor keeps in package variables, set by the first New.
var processWide struct {
	once    sync.Once
	program *program.Program // what specutils.ExePath names
	err     error
}

// New prepares the driver's folder.
func New(o Options) (*Driver, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	rootless := hostprocess.InUserNamespace()
	processWide.once.Do(func() {
		giveUpStdio(o.OwnsStdio)
		gvlog.SetTarget(gvlog.GoogleEmitter{Writer: &gvlog.Writer{Next: io.Discard}})
		options := program.Options{Path: o.Executable, Nobody: !rootless, Dir: filepath.Join(o.Dir, "bin")}
		if processWide.program, processWide.err = program.Open(options); processWide.err == nil {
			specutils.ExePath = processWide.program.Path
		}
	})
	if processWide.err != nil {
		return nil, storageError("sandboxes", processWide.err)
	}
	d := &Driver{
		dir:      o.Dir,
		runDir:   filepath.Join(o.Dir, "run"),
		rootless: rootless,
		log:      o.Logger,
		cpus:     newCPUPool(),
		machines: machines.Dir(filepath.Join(o.Dir, "machines")),
	}
	for _, dir := range []string{d.runDir, d.overlayDir(), string(d.machines)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, storageError("folder "+dir, err)
		}
	}
	if err := d.installAgent(); err != nil {
		return nil, err
	}
	d.sweepOverlays()
	var err error
	d.conf, err = d.config(o.DebugDir)
	return d, err
}

// sweepOverlays removes overlay files whose maker was killed before it could
// unlink them, which takes it microseconds.
func (d *Driver) sweepOverlays() {
	files, _ := filepath.Glob(filepath.Join(d.overlayDir(), "runsc-filestore-*"))
	for _, f := range files {
		if st, err := os.Stat(f); err == nil && time.Since(st.ModTime()) > time.Minute {
			_ = os.Remove(f)
		}
	}
}

// nullNamespaceTime is how long the network namespace that runsc keeps for its
// gofers outlives the last machine. Making one costs milliseconds; a mount that
// stays would keep a user from removing the folder.
const nullNamespaceTime = 3 * time.Second

// dropNullNamespace unmounts that namespace if there is no machine.
func (d *Driver) dropNullNamespace() {
	d.spawning.Lock()
	defer d.spawning.Unlock()
	if entries, err := os.ReadDir(string(d.machines)); len(entries) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	path := filepath.Join(d.runDir, specutils.NullNetNSFilename)
	for unix.Unmount(path, unix.MNT_DETACH) == nil {
		// runsc may have mounted it several times over itself, when several
		// sandboxes were the first at the same time
	}
	_ = os.Remove(path)
}

// Close lets go of all machines without ending them. If none is left it also
// removes the network namespace that runsc keeps mounted in its folder.
func (d *Driver) Close() error {
	for _, m := range d.live.All() {
		m.Close()
	}
	d.dropNullNamespace()
	return nil
}

// Name implements runtime.Driver.
func (d *Driver) Name() string { return "gvisor" }

// Features implements runtime.Driver.
func (d *Driver) Features() runtime.Features {
	return runtime.Features{Mode: api.GuestGVisor, Isolated: true, Limits: true, Network: true}
}

func (d *Driver) overlayDir() string          { return filepath.Join(d.dir, "overlay") }
func (d *Driver) machineDir(id string) string { return d.machines.Of(id) }

// bundle is the folder that runsc reads; its name is the machine's shape.
func (d *Driver) bundle(r record) string {
	return filepath.Join(d.machineDir(r.Spec.ID), shape{memory: r.Spec.MemoryBytes, cpus: r.CPUs}.String())
}

// config makes runsc's configuration. It is parsed from flags because the
// library fills in its defaults only there.
func (d *Driver) config(debugDir string) (*config.Config, error) {
	root, err := d.runscRoot()
	if err != nil {
		return nil, err
	}
	args := []string{
		"--root=" + root,
		"--platform=systrap",
		"--network=none",
		"--ignore-cgroups", // the driver limits memory itself: runsc would move this process into the cgroup
		"--overlay2=root:dir=" + d.overlayDir(),
		"--directfs=false", // the sandbox runs as nobody and opens nothing itself
		"--host-settings=ignore",
		"--allow-suid",
		"--in-sandbox-cgroup=v2",
		"--allow-rootfs-tar-annotation",
		"--log=/dev/null",
	}
	if d.rootless {
		// Each gofer gets a namespace of its own: runsc cannot leave a shared one that it
		// has joined without root, and would give up a thread for every sandbox.
		args = append(args, "--rootless", "--gofer-network-namespace=new")
	}
	if debugDir != "" {
		args = append(args, "--debug", "--debug-log="+debugDir+"/")
	}
	flags := flag.NewFlagSet("pyro", flag.ContinueOnError)
	config.RegisterFlags(flags)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	return config.NewFromFlags(flags)
}

// machineConfig is the configuration of one machine: with an image of its own
// for /workspace there is an overlay over that too, with the same limit.
func (d *Driver) machineConfig(s runtime.Spec) (*config.Config, error) {
	if s.Workspace == "" {
		return d.conf, nil
	}
	conf := *d.conf
	err := conf.Overlay2.Set(fmt.Sprintf("all:dir=%s,size=%d", d.overlayDir(), s.DiskBytes))
	return &conf, err
}

// maxSocketPath is what fits into sun_path of unix(7).
const maxSocketPath = 107

// controlSocket is the name that runsc gives a sandbox's socket.
func controlSocket(id string) string { return "runsc-" + id + ".sock" }

// runscRoot is how this process names the run folder. Where a socket's path
// would be too long for the kernel, runsc would put it into a public folder
// instead; a descriptor of the folder makes a short name.
func (d *Driver) runscRoot() (string, error) {
	longest := filepath.Join(d.runDir, controlSocket(strings.Repeat("x", maxID)))
	if len(longest) <= maxSocketPath {
		return d.runDir, nil
	}
	fd, err := unix.Open(d.runDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", storageError("folder "+d.runDir, err)
	}
	d.runFile = os.NewFile(uintptr(fd), d.runDir)
	return fmt.Sprintf("/proc/self/fd/%d", fd), nil
}

// installAgent writes the embedded agent to a folder named after its content,
// so that running machines keep theirs when pyro is upgraded.
func (d *Driver) installAgent() error {
	agent, err := embedded.Agent()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(agent)
	d.agentDir = filepath.Join(d.dir, "agent", hex.EncodeToString(sum[:8]))
	path := filepath.Join(d.agentDir, agentFile)
	if st, err := os.Stat(path); err == nil && st.Size() == int64(len(agent)) {
		return nil
	}
	if err := os.MkdirAll(d.agentDir, 0o755); err != nil {
		return storageError("folder "+d.agentDir, err)
	}
	tmp, err := os.CreateTemp(d.agentDir, "new-")
	if err != nil {
		return storageError("guest agent", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(agent)
	if err := errors.Join(err, tmp.Chmod(0o755), tmp.Sync(), tmp.Close()); err != nil {
		return storageError("guest agent "+tmp.Name(), err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return storageError("guest agent "+path, err)
	}
	return nil
}

// List implements runtime.Driver.
func (d *Driver) List(context.Context) ([]string, error) { return d.machines.List() }

// Probe implements runtime.Driver. It needs no image: a machine whose only
// file is the agent boots and answers a ping.
func (d *Driver) Probe(ctx context.Context) error {
	return d.probe(ctx, nil, func(m *machine) error {
		_, err := m.Usage(ctx)
		return err
	})
}

// probe tries out a tiny machine.
func (d *Driver) probe(ctx context.Context, network *runtime.Network, try func(*machine) error) error {
	image, err := machines.EmptyImage(d.dir)
	if err != nil {
		return err
	}
	id := fmt.Sprintf("probe-%012x", time.Now().UnixNano()&0xffffffffffff)
	spec := runtime.Spec{ID: id, Image: image, VCPUs: 1, MemoryBytes: 256 << 20, DiskBytes: 64 << 20, PIDs: 64, Network: network}
	m, err := d.Create(ctx, spec)
	if err == nil {
		err = try(m.(*machine))
		m.Close()
	}
	if removeErr := d.Remove(context.WithoutCancel(ctx), id); err == nil {
		err = removeErr
	}
	if err != nil {
		e := api.AsError(err)
		return &api.Error{Kind: api.KindUnavailable, Message: e.Message, Hint: e.Hint, Err: err}
	}
	return nil
}

func storageError(what string, err error) *api.Error { return machines.StorageError(what, err) }
