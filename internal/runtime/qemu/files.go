package qemu

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"pyro/internal/agent/boot"
	"pyro/internal/ext4"
	"pyro/internal/runtime"
)

// portName is the serial port's, in the guest.
const portName = boot.PortName

// firstFile is the descriptor that a child finds its first extra file under.
const firstFile = 3

// files are what QEMU is handed open.
type files struct {
	names []string
	open  []*os.File
	disks []diskFile // in the order of their devices
}

type diskFile struct {
	name     string // serial number in the guest
	writable bool
}

func (f *files) add(name string, file *os.File) {
	f.names = append(f.names, name)
	f.open = append(f.open, file)
}

func (f *files) number(name string) int {
	for i, n := range f.names {
		if n == name {
			return firstFile + i
		}
	}
	return -1
}

// path is how QEMU opens what it takes no descriptor for.
func (f *files) path(name string) string { return fmt.Sprintf("/proc/self/fd/%d", f.number(name)) }

func (f *files) Close() {
	for _, file := range f.open {
		file.Close()
	}
}

func (f *files) read(name, path string) error {
	file, err := os.Open(path)
	if err == nil {
		f.add(name, file)
	}
	return err
}

func (f *files) disk(name, path string) error {
	f.disks = append(f.disks, diskFile{name: name})
	return f.read(name, path)
}

// scratch makes an empty disk.
func (f *files) scratch(name, path string, size int64) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	f.disks = append(f.disks, diskFile{name: name, writable: true})
	f.add(name, file)
	return ext4.Format(file, size)
}

// socket makes a listening socket in a folder.
func (f *files) socket(name, dir, file string) error {
	short, release, err := shortPath(dir)
	if err != nil {
		return err
	}
	defer release()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(short, file), Net: "unix"})
	if err != nil {
		return err
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	s, err := l.File()
	if err == nil {
		f.add(name, s)
	}
	return err
}

// maxSocketPath is what fits into sun_path of unix(7).
const maxSocketPath = 107

// shortPath names a folder so that a socket in it can be named.
func shortPath(dir string) (short string, release func(), err error) {
	if len(dir)+len("/agent.sock") <= maxSocketPath {
		return dir, func() {}, nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d", f.Fd()), func() { f.Close() }, nil
}

const (
	agentSocket = "agent.sock"
	qmpSocket   = "qmp.sock"
	upperFile   = "upper.img"
	workFile    = "work.img"
)

// openFiles opens or makes all that a machine needs.
func (d *Driver) openFiles(s runtime.Spec, k Kernel, initrd string) (*files, error) {
	f, dir := &files{}, d.machineDir(s.ID)
	steps := []func() error{
		func() error { return f.read("kernel", k.Image) },
		func() error { return f.read("initrd", initrd) },
		func() error { return f.socket("qmp", dir, qmpSocket) },
		func() error { return f.socket("agent", dir, agentSocket) },
		func() error { return f.disk(boot.DiskRoot, s.Image) },
		func() error { return f.scratch(boot.DiskUpper, filepath.Join(dir, upperFile), s.DiskBytes) },
	}
	if s.Workspace != "" {
		steps = append(steps,
			func() error { return f.disk(boot.DiskSeed, s.Workspace) },
			func() error { return f.scratch(boot.DiskWork, filepath.Join(dir, workFile), s.DiskBytes) })
	}
	for name, path := range layersOf(s) {
		steps = append(steps, func() error { return f.disk(name, path) })
	}
	for _, step := range steps {
		if err := step(); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// layersOf gives the tars that a machine begins with, by their disks' names.
func layersOf(s runtime.Spec) map[string]string {
	found := map[string]string{}
	if s.Layer != "" {
		found[boot.DiskLayer] = s.Layer
	}
	if s.Disk != "" {
		found[boot.DiskLayer] = filepath.Join(s.Disk, layerFile(runtime.RootMount))
		if s.Workspace != "" {
			found[boot.DiskWorkspaceLayer] = filepath.Join(s.Disk, layerFile(runtime.WorkspaceMount))
		}
	}
	return found
}
