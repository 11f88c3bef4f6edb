package agent

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"pyro/internal/agent/wire"
)

// process is what proc(5) says of one process.
type process struct {
	pid     int
	name    string
	zombie  bool // has ended, but its parent has not noticed yet
	session int
	rss     int64 // bytes
}

// processes lists all processes but the agent.
func processes() ([]process, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, err := readProcess(pid); err == nil {
			all = append(all, p)
		}
	}
	return all, nil
}

func readProcess(pid int) (process, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	return parseStat(pid, b)
}

// parseStat reads /proc/PID/stat. The name is in parentheses and may itself
// hold any byte, so the fields are counted from the last closing one.
func parseStat(pid int, b []byte) (process, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return process{}, fmt.Errorf("stat of process %d is not understood", pid)
	}
	const session, rss = 3, 21 // counted from field 3, the state
	fields := strings.Fields(string(b[end+1:]))
	if len(fields) <= rss {
		return process{}, fmt.Errorf("stat of process %d is too short", pid)
	}
	p := process{pid: pid, name: string(b[open+1 : end]), zombie: fields[0] == "Z"}
	var err error
	if p.session, err = strconv.Atoi(fields[session]); err != nil {
		return process{}, err
	}
	pages, err := strconv.ParseInt(fields[rss], 10, 64)
	p.rss = pages * int64(os.Getpagesize())
	return p, err
}

// killer is syscall.Kill, or less than that in a test.
type killer func(pid int, sig syscall.Signal) error

// killLargest frees memory by ending the process that holds the most, if that
// is at least minRSS bytes.
func killLargest(minRSS int64, kill killer) (wire.KillLargestResult, error) {
	all, err := processes()
	if err != nil {
		return wire.KillLargestResult{}, err
	}
	var largest process
	for _, p := range all {
		if p.rss > largest.rss {
			largest = p
		}
	}
	if largest.pid == 0 || largest.rss < minRSS {
		return wire.KillLargestResult{}, nil
	}
	err = kill(largest.pid, syscall.SIGKILL)
	return wire.KillLargestResult{PID: largest.pid, Name: largest.name, RSSBytes: largest.rss}, err
}

// killSession ends every process of the session that pid started. It looks
// again until none is left, because a dying session can still fork.
func killSession(pid int, kill killer) error {
	for range 100 {
		all, err := processes()
		if err != nil {
			return err
		}
		found := false
		for _, p := range all {
			if p.session == pid && !p.zombie && kill(p.pid, syscall.SIGKILL) == nil {
				found = true
			}
		}
		if !found {
			return nil
		}
	}
	return fmt.Errorf("session %d keeps forking", pid)
}
