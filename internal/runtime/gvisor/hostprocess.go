package gvisor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pyro/internal/network/uplink"
)

// hostProcess names a process on the host so that it is never mistaken for a
// later one with the same pid.
type hostProcess struct {
	PID   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"` // clock ticks since boot, proc_pid_stat(5) field 22
}

// identify returns the hostProcess of a live pid.
func identify(pid int) (hostProcess, error) {
	start, err := startTime(pid)
	return hostProcess{PID: pid, Start: start}, err
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

// open returns a pidfd of the process, or an error if it has ended.
func (p hostProcess) open() (int, error) {
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

// lives says whether the process runs; one that never was does.
func (p hostProcess) lives() bool {
	if p.PID == 0 {
		return true
	}
	start, err := startTime(p.PID)
	return err == nil && start == p.Start
}

// kill ends the process and waits until it is gone, at most for timeout. If
// it is a child of ours, its zombie is collected.
func (p hostProcess) kill(timeout time.Duration) error {
	fd, err := p.open()
	if err == nil {
		defer unix.Close(fd)
		if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill process %d: %w", p.PID, err)
		}
		if !waitPidfd(fd, timeout) {
			return fmt.Errorf("process %d does not end", p.PID)
		}
	}
	p.collect()
	return nil
}

// collect reaps the process if it is a dead child of ours.
func (p hostProcess) collect() {
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

// findProcesses looks through the whole host for sandboxes and gofers whose
// bundle lies in the given machine's folder, and for uplinks of the machine. It
// is for machines whose record is incomplete because their maker was killed.
func findProcesses(dir string) []hostProcess {
	var found []hostProcess
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range processes {
		cmdline, err := os.ReadFile(filepath.Join(proc, "cmdline"))
		if err != nil || !ofMachine(cmdline, dir) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(proc))
		if p, err := identify(pid); err == nil {
			found = append(found, p)
		}
	}
	return found
}

// ofMachine judges by a command line, whose arguments end with a zero byte.
func ofMachine(cmdline []byte, dir string) bool {
	if bytes.HasPrefix(cmdline, []byte(uplink.Name+"\x00")) {
		return bytes.Contains(cmdline, []byte("="+dir+"\x00"))
	}
	// "--bundle=DIR/..." or "--bundle", "DIR/..."
	return bytes.HasPrefix(cmdline, []byte("runsc-")) &&
		(bytes.Contains(cmdline, []byte("="+dir+"/")) || bytes.Contains(cmdline, []byte("\x00"+dir+"/")))
}
