package agent

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/wire"
)

// cgroupRoot is where the sandbox mounts its own cgroup v2 hierarchy for the
// agent, https://docs.kernel.org/admin-guide/cgroup-v2.html.
const cgroupRoot = "/sys/fs/cgroup"

// pidCgroup is the guest's cgroup of all commands and the agent itself.
type pidCgroup struct {
	limit           int
	current, events *os.File
}

// limitPIDs allows limit processes and threads beside the agent's own, and
// then takes the hierarchy out of sight, so that a command cannot lift the limit.
func limitPIDs(limit int) (*pidCgroup, error) {
	dir, err := ownCgroup()
	if err != nil {
		return nil, err
	}
	c := &pidCgroup{limit: limit}
	if c.current, err = os.Open(filepath.Join(dir, "pids.current")); err != nil {
		return nil, err
	}
	if c.events, err = os.Open(filepath.Join(dir, "pids.events")); err != nil {
		return nil, err
	}
	allowed := limit + ownThreads() + spareThreads
	if err := os.WriteFile(filepath.Join(dir, "pids.max"), []byte(strconv.Itoa(allowed)), 0); err != nil {
		return nil, err
	}
	if err := unix.Unmount(cgroupRoot, unix.MNT_DETACH); err != nil {
		return nil, fmt.Errorf("unmount %s: %w", cgroupRoot, err)
	}
	return c, nil
}

// ownThreads counts the agent's threads, which are in the same cgroup.
func ownThreads() int {
	tasks, _ := os.ReadDir("/proc/self/task")
	return len(tasks)
}

// ownCgroup finds the agent's cgroup, the line "0::/PATH" of cgroups(7).
func ownCgroup() (string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return filepath.Join(cgroupRoot, path), nil
		}
	}
	return "", fmt.Errorf("no cgroup v2 in %q", b)
}

// count returns the processes and threads of the cgroup, the agent's included.
func (c *pidCgroup) count() (int, error) {
	text, err := readAgain(c.current)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(text))
}

// hits returns how often a fork failed, the line "max N" of pids.events.
func (c *pidCgroup) hits() (int64, error) {
	text, err := readAgain(c.events)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if n, ok := strings.CutPrefix(line, "max "); ok {
			return strconv.ParseInt(strings.TrimSpace(n), 10, 64)
		}
	}
	return 0, fmt.Errorf("no line \"max\" in %q", text)
}

// readAgain reads a small control file that is kept open.
func readAgain(f *os.File) (string, error) {
	buf := make([]byte, 256)
	n, err := f.ReadAt(buf, 0)
	if n == 0 && err != nil {
		return "", err
	}
	return string(bytes.TrimRight(buf[:n], "\x00")), nil
}

// stats measures the guest.
func (g *guest) stats() (wire.StatsResult, error) {
	var s wire.StatsResult
	if g.pids != nil {
		n, err := g.pids.count()
		if err != nil {
			return s, err
		}
		s.PIDs = max(0, n-ownThreads())
		if s.PIDLimitHits, err = g.pids.hits(); err != nil {
			return s, err
		}
	}
	if g.ownKernel {
		if err := memory(&s); err != nil {
			return s, err
		}
	}
	return s, disks(&s)
}

// disks measures the root file system, and that of /workspace if it is another:
// the same one counts once.
func disks(s *wire.StatsResult) error {
	var root, workspace unix.Stat_t
	if err := unix.Stat("/", &root); err != nil {
		return err
	}
	paths := []string{"/"}
	if unix.Stat("/workspace", &workspace) == nil && workspace.Dev != root.Dev {
		paths = append(paths, "/workspace")
	}
	s.DiskFree = math.MaxInt64
	for _, path := range paths {
		var fs unix.Statfs_t
		if err := unix.Statfs(path, &fs); err != nil {
			return err
		}
		s.DiskBytes += int64(fs.Blocks-fs.Bfree) * fs.Bsize
		s.DiskFree = min(s.DiskFree, int64(fs.Bavail)*fs.Bsize)
	}
	return nil
}
