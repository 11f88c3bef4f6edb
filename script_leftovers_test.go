package pyro_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// remains are the files of a state folder that stay when nothing runs: the log,
// the lock file, the database, the guest agent and the tiny image of doctor. SQLite removes its two side
// files itself when the last connection ends; after a kill they stay until the
// next start.
var remains = []string{"daemon.log", "daemon.log.1", "daemon.lock", "pyro.db", "pyro.db-wal", "pyro.db-shm", "gvisor/agent/*/pyro-agent", "gvisor/probe.erofs", "secrets.key", "qemu/boot/*/initrd", "qemu/probe.erofs", "qemu/verdict.json"}

// leftovers lists what a script has left on the host below dir. What is about
// to end has that long to do so.
func leftovers(dir string, patience time.Duration) []string {
	end := time.Now().Add(patience)
	for {
		left := slices.Concat(processNames(dir), mounts(dir), sockets(dir), files(dir))
		if len(left) == 0 || time.Now().After(end) {
			return left
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// process is a process of the host that has to do with a folder.
type process struct {
	pid  int
	args string
}

func (p process) String() string { return fmt.Sprintf("process %d: %s", p.pid, p.args) }

// processes lists the processes whose arguments or environment name something
// below dir.
func processes(dir string) []process {
	var found []process
	needle := []byte(dir + "/")
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// Errors mean that the process has ended or is somebody else's.
		args, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if (bytes.Contains(args, needle) || bytes.Contains(env, needle)) && alive(pid) {
			found = append(found, process{pid, string(bytes.ReplaceAll(bytes.TrimRight(args, "\x00"), []byte{0}, []byte(" ")))})
		}
	}
	return found
}

func processNames(dir string) []string {
	var names []string
	for _, p := range processes(dir) {
		names = append(names, p.String())
	}
	return names
}

// mounts lists the mount points of this process's namespace below dir.
func mounts(dir string) []string { return linesWith("mount", "/proc/self/mountinfo", dir) }

// sockets lists the unix sockets that are bound below dir.
func sockets(dir string) []string { return linesWith("socket", "/proc/net/unix", dir) }

func linesWith(what, file, dir string) []string {
	f, err := os.Open(file)
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", what, err)}
	}
	defer f.Close()
	var found []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.Contains(lines.Text(), dir+"/") {
			found = append(found, what+": "+lines.Text())
		}
	}
	return found
}

// files lists the files below dir that have no business there after the end.
// Empty folders do no harm.
func files(dir string) []string {
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		name, inState := strings.CutPrefix(rel, "s/")
		stays := func(pattern string) bool { ok, _ := filepath.Match(pattern, name); return ok }
		if !inState || !slices.ContainsFunc(remains, stays) {
			found = append(found, "file: "+rel)
		}
		return nil
	})
	if err != nil {
		found = append(found, err.Error())
	}
	return found
}

// removeLeftovers frees the host of what a failed script left, so that one
// failure is one failure.
func removeLeftovers(tb testing.TB, dir string) {
	for _, p := range processes(dir) {
		syscall.Kill(p.pid, syscall.SIGKILL)
	}
	for _, line := range mounts(dir) {
		if fields := strings.Fields(line); len(fields) > 5 {
			syscall.Unmount(fields[5], syscall.MNT_DETACH)
		}
	}
	if tb.Failed() && os.Getenv("PYRO_TEST_KEEP") != "" {
		tb.Logf("kept: %s", dir)
		return
	}
	if err := os.RemoveAll(dir); err != nil {
		tb.Errorf("the script's folder cannot be removed: %v", err)
	}
}

// checkShared reports what all scripts together have left: unfinished files in
// the shared cache, and control groups that hold no process.
func checkShared(t *testing.T, h *harness, before []string) {
	for _, path := range glob(t, filepath.Join(h.cache, "tmp", "*")) {
		t.Errorf("left behind in the cache: %s", path)
	}
	for _, path := range cgroups(t) {
		procs, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err == nil && len(procs) == 0 && !slices.Contains(before, path) {
			t.Errorf("left behind: control group %s", path)
		}
	}
}

// cgroups lists the control groups of sandboxes, those of other pyros too.
func cgroups(t *testing.T) []string {
	t.Helper()
	return append(glob(t, "/sys/fs/cgroup/pyro/*/"), glob(t, "/sys/fs/cgroup/*/pyro/*/")...)
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// tail returns the last n bytes of a file, or why it cannot be read.
func tail(path string, n int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > n {
		f.Seek(-n, io.SeekEnd)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
