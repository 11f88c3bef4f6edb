package boot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mountKernel mounts what the kernel shows of itself.
func mountKernel() error {
	for _, m := range []struct{ fs, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.fs, m.at, m.fs, unix.MS_NOSUID|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	return nil
}

// wants says whether a module is of use to this machine. Without a device those of
// vsock would be no more than memory, and something to attack.
func (c Config) wants(module string) bool { return c.Vsock || !strings.Contains(module, "vsock") }

// loadModules loads the wanted modules in the order of their names. One that fails
// is told on the console; whether it was needed shows in what comes after.
func loadModules(wanted func(file string) bool) {
	files, _ := filepath.Glob(ModulesDir + "/*.ko") // the pattern is well-formed
	slices.Sort(files)
	for _, file := range files {
		if !wanted(filepath.Base(file)) {
			continue
		}
		if err := loadModule(file); err != nil && !errors.Is(err, unix.EEXIST) {
			fmt.Fprintf(os.Stderr, "pyro-agent: module %s: %v\n", filepath.Base(file), err)
		}
	}
	_ = os.RemoveAll(ModulesDir) // it is memory
}

func loadModule(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// deviceTime bounds the wait for a device. It is long because an emulated guest
// on a busy host is slow; the host has a deadline of its own.
const deviceTime = time.Minute

// await calls find until it finds something.
func await(what string, find func() string) (string, error) {
	for end := time.Now().Add(deviceTime); ; time.Sleep(time.Millisecond) {
		if found := find(); found != "" {
			return found, nil
		}
		if time.Now().After(end) {
			return "", fmt.Errorf("the machine has no %s", what)
		}
	}
}

// disk waits for the disk with a serial number and returns its device.
func disk(serial string) (string, error) {
	return await("disk "+serial, func() string { return named("/sys/block/*/serial", serial) })
}

// openPort waits for the serial port and opens it.
func openPort() (*os.File, error) {
	path, err := await("serial port", func() string { return named("/sys/class/virtio-ports/*/name", PortName) })
	if err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR, 0)
}

// named returns the device whose attribute has the value, or "".
func named(pattern, value string) string {
	files, _ := filepath.Glob(pattern)
	for _, file := range files {
		b, _ := os.ReadFile(file) // one that is just coming up is looked at again
		device := "/dev/" + filepath.Base(filepath.Dir(file))
		if strings.TrimSpace(string(b)) != value {
			continue
		}
		if _, err := os.Stat(device); err == nil {
			return device
		}
	}
	return ""
}
