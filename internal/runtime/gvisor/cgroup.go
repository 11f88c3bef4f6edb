package gvisor

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pyro/internal/runtime"
)

// The host's memory cgroup is a second wall behind the guard: it holds while
// the background process is dead, and against a guest that grows faster than
// the guard looks. It is set only as root and where the hierarchy is writable.
// The number of processes is never limited here: a sandbox that cannot make a
// thread dies.

// memoryHierarchy is one way to mount cgroups,
// https://docs.kernel.org/admin-guide/cgroup-v1/memory.html and cgroup-v2.html.
type memoryHierarchy struct {
	root, limitFile string
	killFile        string // has a line "oom_kill N"
	prepare         func(parent string) error
}

var memoryHierarchies = []memoryHierarchy{
	{root: "/sys/fs/cgroup/memory", limitFile: "memory.limit_in_bytes", killFile: "memory.oom_control"},
	{root: "/sys/fs/cgroup", limitFile: "memory.max", killFile: "memory.events", prepare: func(parent string) error {
		for _, dir := range []string{filepath.Dir(parent), parent} {
			if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+memory"), 0); err != nil {
				return err
			}
		}
		return nil
	}},
}

// sandboxOverhead is what sentry and gofer need beside the guest's memory.
const sandboxOverhead = 128 << 20

func hostMemoryCgroup(h memoryHierarchy, id string) string {
	return filepath.Join(h.root, "pyro", id)
}

// limitHostMemory puts the processes into a cgroup of their own. Failing is
// normal for plain users and in containers.
func limitHostMemory(s runtime.Spec, log *slog.Logger, pids ...int) {
	for _, h := range memoryHierarchies {
		if err := h.limit(s, pids); err != nil {
			log.Debug("no host memory limit", "id", s.ID, "hierarchy", h.root, "error", err)
			_ = unix.Rmdir(hostMemoryCgroup(h, s.ID))
			continue
		}
		return
	}
}

func (h memoryHierarchy) limit(s runtime.Spec, pids []int) error {
	dir := hostMemoryCgroup(h, s.ID)
	if _, err := os.Stat(filepath.Join(h.root, "cgroup.procs")); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if h.prepare != nil {
		if err := h.prepare(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	limit := s.MemoryBytes + s.MemoryBytes/4 + sandboxOverhead
	if err := os.WriteFile(filepath.Join(dir, h.limitFile), []byte(strconv.FormatInt(limit, 10)), 0); err != nil {
		return err
	}
	for _, pid := range pids {
		if pid == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return err
		}
	}
	return nil
}

// killedByHost says whether the kernel killed something of the machine because
// it was beyond the limit of its cgroup.
func killedByHost(id string) bool {
	for _, h := range memoryHierarchies {
		b, err := os.ReadFile(filepath.Join(hostMemoryCgroup(h, id), h.killFile))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if n, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
				return n != "0"
			}
		}
	}
	return false
}

// releaseHostMemory removes the cgroup of a machine whose processes have
// ended, and the parent when it was the last.
func releaseHostMemory(id string) error {
	if id == "" {
		return nil
	}
	for _, h := range memoryHierarchies {
		dir := hostMemoryCgroup(h, id)
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		err := unix.Rmdir(dir)
		for range 200 { // the kernel lets go of dead members a moment later
			if !errors.Is(err, unix.EBUSY) {
				break
			}
			time.Sleep(5 * time.Millisecond)
			err = unix.Rmdir(dir)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		_ = unix.Rmdir(filepath.Dir(dir))
	}
	return nil
}
