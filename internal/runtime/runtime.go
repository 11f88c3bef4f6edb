// Package runtime is the contract between pyro and what isolates: a [Driver]
// makes [Machine]s, a machine runs commands.
//
// # Terms
//
// A machine is one sandbox: a root file system made of a read-only image under
// a writable layer, a guest agent as its first process, limits, and no network
// but its own loopback, unless it is asked for. It has an id chosen by the caller
// and a folder of its own on the host.
//
// # Promises that every driver keeps
//
// The suite in runtimetest checks them against real machines.
//
//   - Machines are processes of their own. They outlive the process that made
//     them, kill -9 included, and are found again by Adopt.
//   - Create gives a machine whose agent has answered, or an error and nothing
//     left behind. Remove may be called for any id at any time, any number of
//     times; afterwards no process, mount, namespace or file of it exists.
//   - A command gets the environment, folder and files it was given and
//     nothing else of the host: no file, process, variable or descriptor.
//   - Limits are true inside (nproc, free, df) and enforced. Reaching one never
//     harms the host or another machine; Machine.LimitHit names it.
//   - With Spec.Network the guest reaches what the policy lets through, and
//     nothing else. A network that breaks, because what carries it was killed,
//     comes back by itself while a process holds the machine, and at the latest
//     with the next Adopt; without such a process it goes on.
//   - Methods are safe for concurrent use.
//
// Errors are *api.Error. Differences between drivers are data (Features), not
// type switches.
package runtime

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"pyro/api"
	"pyro/internal/network/policy"
	"pyro/internal/tree"
)

// Driver makes machines of one kind.
type Driver interface {
	// Name is "gvisor", "vm" or "host-compat".
	Name() string
	// Features says what sets this driver apart.
	Features() Features
	// Create makes and starts a machine and waits until its agent answers.
	Create(ctx context.Context, spec Spec) (Machine, error)
	// Adopt attaches to a live machine that an earlier process made. The error
	// is of kind not_found if no live machine has this id.
	Adopt(ctx context.Context, spec Spec) (Machine, error)
	// List returns the ids of all machines that left any trace in this
	// driver's folder, live or dead, complete or not.
	List(ctx context.Context) ([]string, error)
	// Remove frees everything of the machine. An unknown id is not an error.
	Remove(ctx context.Context, id string) error
	// Probe runs a tiny machine and reports what does not work as an error of
	// kind unavailable with a hint. The deadline is ctx's.
	Probe(ctx context.Context) error
}

// Features are a driver's differences as data.
type Features struct {
	// Mode is what answers name as execution_mode of what has no machine: what one
	// that is made now would most likely have. Machine.Mode says it of one that is.
	Mode api.ExecutionMode
	// Isolated is false only for host-compat.
	Isolated bool
	// Limits says that memory, CPU, disk and pids limits hold.
	Limits bool
	// Network says that Spec.Network may be set. Its machines are Networked then,
	// and the driver a NetworkProber.
	Network bool
	// ImageDevices says that machines have the device nodes that are in the image
	// Spec.Workspace. Those in saved layers they have in any case.
	ImageDevices bool
	// Kernel says that machines boot a kernel, which has to be installed.
	Kernel bool
}

// Spec describes a machine. Every field is required unless it says otherwise.
type Spec struct {
	// ID names the machine: 1 to 64 of [a-z0-9-]. No id is a prefix of another
	// if all have the same length; callers see to that.
	ID string
	// Image is the path of the environment's EROFS image. Drivers that run no
	// image (host-compat) ignore it.
	Image string
	// Workspace is the path of an EROFS image that /workspace begins with. It
	// stays as it is: what is changed in /workspace goes into a writable layer
	// of its own, of DiskBytes as well. Optional: without it /workspace is an
	// empty folder of the root file system.
	Workspace string `json:",omitempty"`
	// Hostname is the guest's. Optional: the default is the ID.
	Hostname string `json:",omitempty"`
	// Env is added to the environment of every command (KEY=VALUE).
	Env []string
	// VCPUs is the number of CPUs the guest sees and may use.
	VCPUs int
	// MemoryBytes, DiskBytes and PIDs are the limits of the whole machine.
	MemoryBytes int64
	DiskBytes   int64
	PIDs        int
	// Kernel is the path of a kernel for drivers whose machines have one of their
	// own; the others refuse it. Optional: the default is the driver's.
	Kernel string `json:",omitempty"`
	// Disk is a folder that DiskSaver.SaveDisk wrote, Layer a file that
	// LayerExporter.ExportLayer wrote: the machine starts with those writable
	// layers over the same images; a Layer has none of /workspace if that is an
	// image of its own. Both are optional; at most one is set.
	Disk  string `json:",omitempty"`
	Layer string `json:",omitempty"`
	// Network gives the machine a network. Optional: without it there is none.
	Network *Network `json:",omitempty"`
}

// Network is the outbound network of a machine.
type Network struct {
	// Policy says what the guest may reach. Required.
	Policy *policy.Policy
	// Refusals is the folder of the log of what was refused, see package refusals.
	// The log is made if absent and stays when the machine goes. Optional.
	Refusals string `json:",omitempty"`
	// AptSources is what /etc/apt/sources.list shall hold in a guest whose apt has
	// no sources. Optional.
	AptSources string `json:",omitempty"`
}

// Machine is a live sandbox.
type Machine interface {
	ID() string
	// Mode is what answers name as execution_mode of what runs in the machine. It
	// stays the same as long as the machine lives, also for later processes.
	Mode() api.ExecutionMode
	// Start starts a command. It fails with kind exec_failed if the command
	// cannot be executed; use [ExecExitCode] for the exit code of that error.
	Start(ctx context.Context, cmd Command) (Process, error)
	// Dial connects to the guest agent; the protocol is internal/agent/wire. The
	// connection has a CloseWrite method.
	// host-compat has no agent and answers kind unsupported.
	Dial(ctx context.Context) (net.Conn, error)
	// Usage measures the machine now.
	Usage(ctx context.Context) (Usage, error)
	// LimitHit returns a limit that was reached since it was last asked, or nil.
	// It asks the guest, so that a limit reached by a command that has just
	// ended is seen. A full disk counts as reached as long as it is full.
	LimitHit(ctx context.Context) *api.Error
	// Done is closed when the machine has ended, for whatever reason; Err
	// then says why (kind sandbox_died or a limit's kind), and is nil before.
	Done() <-chan struct{}
	Err() error
	// Close lets go of the machine without ending it.
	Close() error
}

// Command is what to run in a machine.
type Command struct {
	// Argv is the command line; Argv[0] is looked up in the guest's PATH.
	Argv []string
	// Env is added to the machine's environment. Optional.
	Env []string
	// Dir is the working directory; "" means /workspace.
	Dir string
	// Stdin is read until its end; nil is an empty input. A Stdin that blocks
	// forever does not hold up Wait.
	Stdin io.Reader
	// Stdout and Stderr get the output as it comes; nil discards it. A slow
	// writer slows the command down; nothing is dropped and nothing piles up.
	Stdout, Stderr io.Writer
}

// Process is a started command.
type Process interface {
	// Wait returns when the command's first process has ended and all it had
	// written until then was delivered. Processes it left in the background
	// do not hold it up. It may be called once.
	Wait() (Exit, error)
	// Signal sends a signal to the command's process group. A command that has
	// ended is not an error.
	Signal(sig syscall.Signal) error
	// Kill ends the command and everything it started that is still in its
	// process group or session.
	Kill() error
}

// Exit is how a command ended.
type Exit struct {
	// Code is the exit code, or 128+n if signal n ended the process.
	Code int
	// Signal is n, or 0.
	Signal int
}

// Usage is a measurement of a machine.
type Usage struct {
	MemoryBytes int64 // memory of the guest's processes and in-memory files
	DiskBytes   int64 // bytes used in the writable layer
	PIDs        int   // processes and threads
	Measured    time.Time
}

// Networked is the power of machines with a Spec.Network.
type Networked interface {
	// NetworkUp says whether what carries the network runs at the moment.
	NetworkUp() bool
}

// NetworkProber is the power of drivers that can give a network.
type NetworkProber interface {
	// ProbeNetwork runs a tiny machine with a network and has it talk to the other
	// end, like Driver.Probe.
	ProbeNetwork(ctx context.Context) error
}

// Chooser is the power of drivers that are worth choosing on some hosts only.
type Chooser interface {
	// Suits returns nil if machines of this driver are as fast here as they are
	// meant to be, and otherwise why not. It may try, for at most seconds, and
	// remembers the outcome.
	Suits(ctx context.Context) error
	// Notice is what users of a machine should be told, or "".
	Notice(ctx context.Context) string
}

// Requirer is the power of drivers whose machines need programs of the host.
type Requirer interface {
	// Require says which of them is missing, as an error of kind unavailable or
	// unsupported with a hint. It looks, and runs nothing.
	Require() error
}

// LayerExporter is the power of drivers whose writable layer can be read.
type LayerExporter interface {
	// ExportLayer writes the machine's writable layer to w as a tar stream:
	// added and changed files, deleted ones as character devices 0:0 (later
	// ones may be hard links to the first), replaced folders with the PAX
	// record SCHILY.xattr.trusted.overlay.opaque=y. Holes of files are zeros.
	ExportLayer(ctx context.Context, w io.Writer) error
}

// DiskSaver is the power of drivers that save a machine's disk while it runs.
type DiskSaver interface {
	// SaveDisk writes the machine's writable layers into the empty folder dir,
	// for Spec.Disk of any number of later machines; with mounts (RootMount,
	// WorkspaceMount) only those, for DiskReader. The guest pauses meanwhile. It
	// is faster than ExportLayer and loses less, but only drivers that answer
	// true to DiskReader.Starts begin from it. The folder is whole only if
	// SaveDisk returned nil.
	SaveDisk(ctx context.Context, dir string, mounts ...string) error
	// Activity is a number that grows when anything in the machine has run since
	// it was last asked for. Asking costs microseconds and wakes nothing.
	Activity() (int64, error)
}

// The writable layers of a machine.
const (
	RootMount      = "/"
	WorkspaceMount = "/workspace" // a layer of its own only with Spec.Workspace
)

// DiskReader is the power of drivers whose saved disks can be read on the host,
// whatever version of the driver wrote them.
type DiskReader interface {
	// OpenDisk opens what SaveDisk wrote. The content is untrusted: damage is an
	// error of kind verification.
	OpenDisk(dir string) (Disk, error)
}

// Disk is a saved disk.
type Disk interface {
	// Starts says whether this version of the driver takes it as Spec.Disk.
	Starts() bool
	// Apply lays the layer of a mount over what t holds. The bytes of files
	// stay where they are: t reads them from the disk, until Close.
	Apply(ctx context.Context, mount string, t *tree.Tree) error
	// WriteLayer writes the layer of a mount as a tar in the form of
	// LayerExporter.ExportLayer.
	WriteLayer(ctx context.Context, mount string, w io.Writer) error
	Close() error
}

// ExecExitCode returns the exit code that stands for an error of Start: 127 if
// the command does not exist, 126 if it cannot be executed, 125 otherwise.
func ExecExitCode(err error) int {
	e := api.AsError(err)
	if e == nil || e.Kind != api.KindExec {
		return api.ExitFailure
	}
	if errors.Is(e.Err, syscall.ENOENT) {
		return api.ExitNotFound
	}
	return api.ExitNotExecutable
}
