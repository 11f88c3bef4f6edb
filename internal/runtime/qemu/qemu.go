// Package qemu runs machines as microVMs under QEMU: with KVM where that boots a
// guest, by emulation where it does not.
//
// A machine is one QEMU process of the machine type "microvm", with a kernel of
// its own, the environment's EROFS image as a read-only disk that all machines
// share, and an empty disk under the same overlay that gVisor's machines have.
// The guest agent is in the initramfs and becomes the guest's init, see package
// boot; everything between host and guest goes over one virtual serial port, see
// package mux, or over vsock where the host has it, see package vsock: the machine then
// has both devices, the host gives the agent a key over the port, and both leave
// the port once they have met over vsock. machine.json says which it is, for the
// machine's life. Only a machine with a network has a network card, see cardArguments.
//
// # On disk
//
//	DIR/
//	├── bin/                copies of this program, where nobody cannot execute it
//	├── boot/HASH/initrd    agent and kernel modules, as the kernel unpacks them
//	├── verdict.json        whether KVM boots a guest, found out once in a boot of the host
//	└── machines/ID/
//	    ├── machine.json    what a later process must know of the machine
//	    ├── agent.sock      the serial port
//	    ├── qmp.sock        QEMU's monitor
//	    ├── upper.img       the writable layer of /, sparse
//	    └── work.img        the writable layer of /workspace, if it has one
//
// machine.json is written before QEMU is started, so that every trace of a
// machine has its folder; Remove deletes that folder last.
//
// # Isolation
//
// The wall is the virtual machine. QEMU itself gets no device that it does not
// need, its own seccomp filter, which lets it neither start programs nor gain
// rights, and namespaces for processes, network, mounts, IPC and names in which
// it is alone. As root it runs as nobody. It opens nothing by name but its own
// program files and /dev/kvm: disks, sockets and the kernel are handed to it
// open.
package qemu

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"pyro/api"
	"pyro/internal/runtime"
	"pyro/internal/runtime/machines"
	"pyro/internal/runtime/program"
)

// Kernel is what a machine boots.
type Kernel struct {
	// Image is the path of a kernel as a boot loader takes it (bzImage), with
	// initramfs, ACPI, virtio over MMIO, EROFS, overlayfs and ext4.
	Image string
	// Modules is the path of an initramfs with the modules that it needs, in the
	// folder modules. Optional.
	Modules string
	// ID tells different kernels apart.
	ID string
	// Release ends the use of the files. Required.
	Release func()
}

// Options configure a driver.
type Options struct {
	// Dir is the driver's folder. Required; made if absent.
	Dir string
	// Kernel gives the kernel of machines whose Spec names none. It is called at
	// every start. The error is of kind not_installed if there is none. Required.
	Kernel func(ctx context.Context) (Kernel, error)
	// Program is QEMU. Default: the first that is found of the names that
	// distributions give it.
	Program string
	// Executable is started as uplink; it must call uplink.ReexecMain. Default: the
	// running executable.
	Executable string
	// NoKVM emulates, whatever the host can do.
	NoKVM bool
	// Logger gets what the driver does. Default: nothing is logged.
	Logger *slog.Logger
}

// Driver makes microVMs. It implements runtime.Driver.
type Driver struct {
	o       Options
	log     *slog.Logger
	sockets sockets
	version version // of QEMU

	machines machines.Dir
	live     machines.Table[*machine]

	judging sync.Mutex // held while KVM is tried out

	opening sync.Mutex       // guards uplinks
	uplinks *program.Program // what is started as such; nil until the first
}

var (
	_ runtime.Driver   = (*Driver)(nil)
	_ runtime.Requirer = (*Driver)(nil)
)

// New prepares the driver's folder. That QEMU is missing shows at the first use.
func New(o Options) (*Driver, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Driver{o: o, log: o.Logger, sockets: vhost{}, machines: machines.Dir(filepath.Join(o.Dir, "machines"))}
	for _, dir := range []string{string(d.machines), d.bootDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, storageError("folder "+dir, err)
		}
	}
	return d, nil
}

// Close lets go of all machines without ending them.
func (d *Driver) Close() error {
	for _, m := range d.live.All() {
		m.Close()
	}
	return nil
}

// Name implements runtime.Driver.
func (d *Driver) Name() string { return "vm" }

// Features implements runtime.Driver.
func (d *Driver) Features() runtime.Features {
	mode := api.GuestSerial
	if d.sockets.check() == nil {
		mode = api.GuestVsock
	}
	return runtime.Features{Mode: mode, Isolated: true, Limits: true, Network: true, ImageDevices: true, Kernel: true}
}

func (d *Driver) machineDir(id string) string { return d.machines.Of(id) }
func (d *Driver) bootDir() string             { return filepath.Join(d.o.Dir, "boot") }

// List implements runtime.Driver.
func (d *Driver) List(context.Context) ([]string, error) { return d.machines.List() }

func storageError(what string, err error) *api.Error { return machines.StorageError(what, err) }
