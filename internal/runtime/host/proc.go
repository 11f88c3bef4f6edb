package host

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// proc is a process as /proc/PID/stat describes it; see proc_pid_stat(5).
type proc struct {
	pid, ppid, session int
	state              byte
	start              string // start time in clock ticks: with pid, the identity of a process
	kernel             bool   // a thread of the kernel
}

// verdict says whether a process belongs to a machine.
type verdict int

const (
	stranger verdict = iota
	mine
	// unclear is a process that runs and has no arguments and no environment,
	// as for a moment within execve(2). One that sleeps is not within execve.
	unclear
)

// owner judges processes.
type owner func(proc) verdict

// kernelThread is PF_KTHREAD of the flags in /proc/PID/stat.
const kernelThread = 0x00200000

// maxUnclear is how often unclear processes are looked at again before they
// count as strangers.
const maxUnclear = 12

func readProc(pid int) (proc, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return proc{}, false
	}
	// The name in parentheses may hold anything, so count from the last one.
	end := bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[end+1:]))
	if end < 0 || len(f) < 20 {
		return proc{}, false
	}
	ppid, _ := strconv.Atoi(f[1])
	session, _ := strconv.Atoi(f[3])
	flags, _ := strconv.ParseUint(f[6], 10, 64)
	return proc{pid: pid, ppid: ppid, session: session, state: f[0][0], start: f[19], kernel: flags&kernelThread != 0}, true
}

// marked judges the process by the mark of the machine in path.
func (p proc) marked(path string) verdict {
	if p.kernel {
		return stranger
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid))
	if err != nil {
		return stranger // gone, or another user's
	}
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		if string(entry) == Marker+"="+path {
			return mine
		}
	}
	if len(env) == 0 && (p.state == 'R' || p.state == 'D') {
		if args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid)); err == nil && len(args) == 0 {
			return unclear
		}
	}
	return stranger
}

func (p proc) usage() (rss int64, threads int) {
	var size, resident int64
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.pid)); err == nil {
		_, _ = fmt.Sscan(string(b), &size, &resident) // empty while the process ends
	}
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.pid))
	return resident * int64(os.Getpagesize()), len(tasks)
}

// signal sends sig unless the process is another one by now.
func (p proc) signal(sig unix.Signal) {
	h, err := os.FindProcess(p.pid) // holds a pidfd: from here on the number cannot be reused
	if err != nil {
		return
	}
	defer h.Release()
	if now, ok := readProc(p.pid); ok && now.start == p.start {
		_ = h.Signal(sig) // it may end by itself just now; callers look again
	}
}

// tree returns the live processes of the owner, with their descendants, and
// whether there are others that are unclear.
func tree(own owner) (found []proc, doubt bool) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, false
	}
	var all []proc
	in := map[int]bool{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		p, ok := readProc(pid)
		if !ok || p.state == 'Z' || p.state == 'X' {
			continue
		}
		all = append(all, p)
		switch own(p) {
		case mine:
			in[pid] = true
		case unclear:
			doubt = true
		}
	}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if !in[p.pid] && in[p.ppid] {
				in[p.pid], grown = true, true
			}
		}
	}
	for _, p := range all {
		if in[p.pid] {
			found = append(found, p)
		}
	}
	return found, doubt
}

// endTree kills all processes of the tree and waits until they are gone: one whose
// parent has ended before it is no longer found in the tree.
func endTree(ctx context.Context, own owner) error {
	doubts := 0
	killed := map[int]proc{}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		found, doubt := stopTree(own)
		for _, p := range found {
			p.signal(unix.SIGKILL)
			killed[p.pid] = p
		}
		for pid, p := range killed {
			if now, ok := readProc(pid); !ok || now.start != p.start || now.state == 'Z' {
				delete(killed, pid)
			}
		}
		if len(found) == 0 && len(killed) == 0 {
			if !doubt || doubts == maxUnclear {
				return nil
			}
			doubts++
		}
		select {
		case <-ctx.Done():
			return api.Errorf(api.KindInternal, "processes do not end, %d are left: %w", len(found), context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// stopTree stops the processes of the tree until no new ones appear, so that
// one that forks faster than it can be killed does not win.
func stopTree(own owner) (found []proc, doubt bool) {
	stopped := map[string]bool{}
	for grown := true; grown; {
		grown = false
		found, doubt = tree(own)
		for _, p := range found {
			if id := fmt.Sprint(p.pid, " ", p.start); !stopped[id] {
				p.signal(unix.SIGSTOP)
				stopped[id], grown = true, true
			}
		}
	}
	return found, doubt
}
