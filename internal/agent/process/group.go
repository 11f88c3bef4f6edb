package process

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Groups makes groups. The zero value makes those that look into /proc.
type Groups struct {
	// parent is the folder of the agent's own cgroup. It stays open because the
	// hierarchy is taken out of sight before anything else runs.
	parent *os.File
}

// OpenGroups makes groups as cgroups below the folder dir of a mounted
// hierarchy of version 2, https://docs.kernel.org/admin-guide/cgroup-v2.html.
// What limits dir limits them together.
func OpenGroups(dir string) (*Groups, error) {
	parent, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	// Older kernels lack the file that kills a group in one step.
	probe := &Groups{parent}
	g, err := probe.New("probe")
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, g.name, "cgroup.kill"))
		err = errors.Join(err, g.remove())
	}
	if err != nil {
		parent.Close()
		return nil, err
	}
	return probe, nil
}

// Group is a process and all that came from it.
type Group struct {
	groups *Groups
	name   string
	leader atomic.Int64 // pid of the first process; 0 before it is started
}

// New returns an empty group. No two that exist at a time may have the same name.
func (g *Groups) New(name string) (*Group, error) {
	if g.parent != nil {
		err := unix.Mkdirat(int(descriptor(g.parent)), name, 0o755)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("make cgroup %q: %w", name, err)
		}
	}
	return &Group{groups: g, name: name}, nil
}

// open returns the folder that a new process is put into, or nil without cgroups.
func (g *Group) open() (*os.File, error) {
	if g.groups.parent == nil {
		return nil, nil
	}
	return g.file(".", unix.O_RDONLY|unix.O_DIRECTORY)
}

func (g *Group) file(name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(descriptor(g.groups.parent)), g.name+"/"+name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cgroup %q: %s: %w", g.name, name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Members lists the live processes of the group.
func (g *Group) Members() ([]int, error) {
	if g.groups.parent == nil {
		all, err := g.descendants()
		pids := make([]int, len(all))
		for i, p := range all {
			pids[i] = p.PID
		}
		return pids, err
	}
	f, err := g.file("cgroup.procs", unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var pids []int
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// 0 stands for a process that this one cannot see.
		if pid, err := strconv.Atoi(lines.Text()); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, lines.Err()
}

func (g *Group) descendants() ([]Info, error) {
	leader := int(g.leader.Load())
	if leader == 0 {
		return nil, nil
	}
	return descendants(leader)
}

// End ends all processes of the group and removes it: SIGTERM, then SIGKILL for
// what is left after the grace or when hurry is closed. It may be called again.
//
// A process that comes later gets SIGTERM only when its parent has gone: it may
// have been forked at the very moment at which that one was ended. A process
// whose parent lives is left alone, as it may be how that one ends in good order.
func (g *Group) End(grace time.Duration, hurry <-chan struct{}) error {
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	members, err := g.Members()
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	told := make(map[int]bool)
	for _, pid := range members {
		terminate(pid, told)
	}
	for wait := time.Millisecond; err == nil && len(members) > 0; wait = min(2*wait, 50*time.Millisecond) {
		select {
		case <-time.After(wait):
			members, err = g.Members()
			for _, pid := range members {
				if told[pid] {
					continue
				}
				if p, err := read(pid); err == nil && !slices.Contains(members, p.Parent) {
					terminate(pid, told)
				}
			}
			continue
		case <-deadline.C:
		case <-hurry:
		}
		break
	}
	return errors.Join(g.kill(), g.remove())
}

func terminate(pid int, told map[int]bool) {
	told[pid] = true
	_ = syscall.Kill(pid, syscall.SIGTERM)
	_ = syscall.Kill(pid, syscall.SIGCONT) // a stopped one would not notice
}

// kill sends SIGKILL to all at once, so that none escapes by forking.
func (g *Group) kill() error {
	if g.groups.parent == nil {
		return killAll("group "+g.name, syscall.Kill, g.descendants)
	}
	f, err := g.file("cgroup.kill", unix.O_WRONLY)
	if errors.Is(err, unix.ENOENT) {
		return nil // it was ended before
	} else if err != nil {
		return err
	}
	_, err = f.WriteString("1")
	return errors.Join(err, f.Close())
}

// removeTime bounds the wait for killed processes to be gone.
const removeTime = 10 * time.Second

// remove takes the cgroup away, for which its processes must have ended.
func (g *Group) remove() error {
	if g.groups.parent == nil {
		return nil
	}
	deadline := time.Now().Add(removeTime)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := unix.Unlinkat(int(descriptor(g.groups.parent)), g.name, unix.AT_REMOVEDIR)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return fmt.Errorf("remove cgroup %q: %w", g.name, err)
		}
		time.Sleep(wait)
	}
}
