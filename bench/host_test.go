package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// processesOf lists the processes whose arguments or environment name a folder,
// without this one. With children, what they have started counts too: the
// processes that gVisor runs guest code in name nothing.
func processesOf(dir string, children bool) []int {
	var found []int
	parents := map[int]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// Errors mean that the process has ended.
		args, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		state, parent := stat(pid)
		if state == "Z" || state == "" {
			continue
		}
		parents[pid] = parent
		if bytes.Contains(args, []byte(dir+"/")) || bytes.Contains(env, []byte(dir+"/")) {
			found = append(found, pid)
		}
	}
	if !children {
		return found
	}
	var all []int
	for pid := range parents {
		for p := pid; p > 1; p = parents[p] {
			if slices.Contains(found, p) {
				all = append(all, pid)
				break
			}
		}
	}
	return all
}

// stat reads state and parent of a process, proc_pid_stat(5) fields 3 and 4.
func stat(pid int) (state string, parent int) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(fields[1])
	return fields[0], parent
}

// killAll ends the processes of a folder and waits until they are gone.
func killAll(dir string) error {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := processesOf(dir, false)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("processes %v of %s do not end", left, dir)
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// unmountAll unmounts what is mounted below a folder, the latest first.
func unmountAll(dir string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	lines := slices.Collect(strings.Lines(string(b)))
	slices.Reverse(lines)
	for _, line := range lines {
		// Field 5 is the mount point, proc_pid_mountinfo(5).
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			if err := syscall.Unmount(f[4], syscall.MNT_DETACH); err != nil {
				return fmt.Errorf("unmount %s: %w", f[4], err)
			}
		}
	}
	return nil
}

// meminfo returns a field of /proc/meminfo in bytes.
func meminfo(field string) (float64, error) { return kilobytes("/proc/meminfo", field) }

// pss is the memory of processes, in bytes; what several of them share counts
// in parts, proc_pid_smaps(5).
func pss(pids []int) float64 {
	var sum float64
	for _, pid := range pids {
		v, err := kilobytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss")
		if err == nil { // else it has ended
			sum += v
		}
	}
	return sum
}

// cpuTime is how long processes have run on a CPU, in seconds: field 1 of
// /proc/PID/schedstat of every thread, in nanoseconds,
// https://docs.kernel.org/scheduler/sched-stats.html. Threads that have ended
// are not in it.
func cpuTime(pids []int) float64 {
	var sum float64
	for _, pid := range pids {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, file := range threads {
			b, _ := os.ReadFile(file)
			if f := strings.Fields(string(b)); len(f) > 0 {
				ns, _ := strconv.ParseFloat(f[0], 64)
				sum += ns / 1e9
			}
		}
	}
	return sum
}

func kilobytes(file, field string) (float64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name == field {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			return kb * 1024, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, field)
}
