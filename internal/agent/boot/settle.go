package boot

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// settings of the guest's kernel.
var settings = map[string]string{
	// What was written is on the disk soon, where the host notices it.
	"vm/dirty_expire_centisecs":    "200",
	"vm/dirty_writeback_centisecs": "100",
}

// ownGroup is the agent's cgroup, and that of all it starts.
const ownGroup = "/sys/fs/cgroup/pyro"

// settle makes the guest what a sandbox is.
func (g *Guest) settle() error {
	for name, value := range settings {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte(g.Hostname)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	if err := SetClock(g.Now.UnixNano()); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 16, Max: 1 << 20}); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	return errors.Join(loopback(), group())
}

// clockSlack is how wrong the guest's clock may be without being set: less than
// that is what the way from the host takes.
const clockSlack = 500e6

// SetClock sets the guest's clock to the host's, in nanoseconds since 1970.
func SetClock(now int64) error {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return err
	}
	if d := ts.Nano() - now; d > -clockSlack && d < clockSlack {
		return nil
	}
	ts = unix.NsecToTimespec(now)
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	return nil
}

// loopback brings up the guest's own interface.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}

// group gives the agent a cgroup that can have limits, which the root cannot.
func group() error {
	if err := os.Mkdir(ownGroup, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+pids"), 0); err != nil {
		return fmt.Errorf("limit of processes: %w", err)
	}
	return os.WriteFile(ownGroup+"/cgroup.procs", []byte("0"), 0)
}
