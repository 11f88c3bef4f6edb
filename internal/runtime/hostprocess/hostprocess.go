// Package hostprocess names processes of the host so that they are found again,
// watched and ended, by a later process too, and never mistaken for others.
package hostprocess

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process names a process on the host so that it is never mistaken for a
// later one with the same pid.
type Process struct {
	PID   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"` // clock ticks since boot, proc_pid_stat(5) field 22
}

// Identify returns the Process of a live pid.
func Identify(pid int) (Process, error) {
	start, err := startTime(pid)
	return Process{PID: pid, Start: start}, err
}

func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	const start = 19 // counted from field 3, the state
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) <= start {
		return 0, fmt.Errorf("stat of process %d is too short", pid)
	}
	if fields[0] == "Z" {
		return 0, unix.ESRCH
	}
	return strconv.ParseUint(fields[start], 10, 64)
}

// Open returns a pidfd of the process, or an error if it has ended.
func (p Process) Open() (int, error) {
	if p.PID == 0 {
		return -1, unix.ESRCH
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return -1, err
	}
	// Only now is it certain whom the pid names.
	if start, err := startTime(p.PID); err != nil || start != p.Start {
		unix.Close(fd)
		return -1, unix.ESRCH
	}
	return fd, nil
}

// Lives says whether the process runs; one that never was does.
func (p Process) Lives() bool {
	if p.PID == 0 {
		return true
	}
	start, err := startTime(p.PID)
	return err == nil && start == p.Start
}

// Kill ends the process and waits until it is gone, at most for timeout. If
// it is a child of ours, its zombie is collected.
func (p Process) Kill(timeout time.Duration) error {
	fd, err := p.Open()
	if err == nil {
		defer unix.Close(fd)
		if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill process %d: %w", p.PID, err)
		}
		if !waitPidfd(fd, timeout) {
			return fmt.Errorf("process %d does not end", p.PID)
		}
	}
	p.Collect()
	return nil
}

// Collect reaps the process if it is a dead child of ours.
func (p Process) Collect() {
	if p.PID > 0 {
		_, _ = unix.Wait4(p.PID, nil, unix.WNOHANG, nil)
	}
}

// waitPidfd waits until the process has ended; false if it has not in time.
func waitPidfd(fd int, timeout time.Duration) bool {
	deadline := time.Now().Add(timeout)
	for {
		left := time.Until(deadline)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, max(0, int(left.Milliseconds())))
		if n == 1 {
			return true
		}
		if err != nil && !errors.Is(err, unix.EINTR) || left <= 0 {
			return false
		}
	}
}
