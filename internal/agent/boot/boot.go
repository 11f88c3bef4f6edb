// Package boot turns the first program of an initramfs into the init of a guest.
//
// The kernel starts the agent in its first root file system, which holds the agent and the modules of the kernel's package. The agent loads the
// modules, mounts the machine's disks, which it knows by their serial numbers,
// and moves into the root file system that they make:
//
//	root     the environment's EROFS image, under an overlay on
//	upper    an empty ext4 file system: the writable layer of /
//	seed     the EROFS image that /workspace begins with, under an overlay on
//	work     an empty ext4 file system: the writable layer of /workspace
//	layer    a tar with what the layer of / begins with
//	worklay  the same for /workspace
//
// seed and work are there together or not at all. What the guest is told beside
// that stands on the kernel's command line, see [Config].
package boot

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Serial numbers of the disks, at most 20 bytes long.
const (
	DiskRoot           = "root"
	DiskUpper          = "upper"
	DiskSeed           = "seed"
	DiskWork           = "work"
	DiskLayer          = "layer"
	DiskWorkspaceLayer = "worklay"
)

// PortName is that of the serial port on which the agent serves the host.
const PortName = "pyro"

// Where the initramfs has things.
const (
	ModulesDir = "/modules"
	AgentDir   = "/run/pyro/bin" // as in the guest, where it is mounted
)

// Config is what the host tells the guest. PIDs, Disks and Now are required.
type Config struct {
	PIDs     int
	Disks    []string  // serial numbers of those that there are
	Now      time.Time // the host's clock
	Hostname string
	Vsock    bool // the machine has a vsock device
}

const prefix = "pyro."

// CommandLine is the configuration as a part of the kernel's command line.
func (c Config) CommandLine() string {
	line := fmt.Sprintf("%spids=%d %sdisks=%s %snow=%d %shost=%s", prefix, c.PIDs, prefix, strings.Join(c.Disks, ","),
		prefix, c.Now.UnixNano(), prefix, c.Hostname)
	if c.Vsock {
		line += " " + prefix + "vsock=true"
	}
	return line
}

// parse reads what CommandLine wrote.
func parse(line string) (Config, error) {
	var c Config
	for word := range strings.FieldsSeq(line) {
		key, value, _ := strings.Cut(strings.TrimPrefix(word, prefix), "=")
		if !strings.HasPrefix(word, prefix) {
			continue
		}
		var err error
		switch key {
		case "pids":
			c.PIDs, err = strconv.Atoi(value)
		case "disks":
			c.Disks = strings.Split(value, ",")
		case "now":
			var ns int64
			ns, err = strconv.ParseInt(value, 10, 64)
			c.Now = time.Unix(0, ns)
		case "host":
			c.Hostname = value
		case "vsock":
			c.Vsock, err = strconv.ParseBool(value)
		}
		if err != nil {
			return c, fmt.Errorf("%q on the kernel's command line: %w", word, err)
		}
	}
	return c, nil
}

// Guest is what the agent goes on with.
type Guest struct {
	Config
	Port   *os.File         // to the host
	Layers map[string]Layer // by mount: "/", "/workspace"
}

// Layer is a writable layer.
type Layer struct {
	Disk  *os.File // its file system
	Upper string   // its folder
}

// Run does all that. An error means that the guest cannot be used.
func Run() (*Guest, error) {
	if err := mountKernel(); err != nil {
		return nil, err
	}
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, err
	}
	g := &Guest{Layers: map[string]Layer{}}
	if g.Config, err = parse(string(line)); err != nil {
		return nil, err
	}
	loadModules(g.wants)
	if err := g.assemble(); err != nil {
		return nil, err
	}
	// The port's device is out of sight once the guest has its own /dev.
	if g.Port, err = openPort(); err != nil {
		return nil, err
	}
	if err := furnish(); err != nil {
		return nil, err
	}
	if err := enter(); err != nil {
		return nil, err
	}
	return g, g.settle()
}

// Panic ends a guest that cannot be used. The host sees the text.
func Panic(err error) {
	fmt.Fprintln(os.Stderr, "pyro-agent:", err)
	time.Sleep(50 * time.Millisecond) // for the serial console
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}
