package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Info is what proc(5) says of one process.
type Info struct {
	PID     int
	Name    string
	Zombie  bool // has ended, but its parent has not noticed yet
	Stopped bool
	Parent  int
	Group   int // process group
	Session int
	Started int64 // clock ticks since the guest started
	RSS     int64 // bytes
}

// List returns all processes but the agent.
func List() ([]Info, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []Info
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, err := read(pid); err == nil {
			all = append(all, p)
		}
	}
	return all, nil
}

func read(pid int) (Info, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Info{}, err
	}
	return parseStat(pid, b)
}

// parseStat reads /proc/PID/stat. The name is in parentheses and may itself
// hold any byte, so the fields are counted from the last closing one.
func parseStat(pid int, b []byte) (Info, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return Info{}, fmt.Errorf("stat of process %d is not understood", pid)
	}
	const parent, group, session, started, rss = 1, 2, 3, 19, 21 // counted from field 3, the state
	fields := strings.Fields(string(b[end+1:]))
	if len(fields) <= rss {
		return Info{}, fmt.Errorf("stat of process %d is too short", pid)
	}
	var numbers [rss + 1]int64
	for _, i := range []int{parent, group, session, started, rss} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return Info{}, err
		}
		numbers[i] = n
	}
	return Info{
		PID: pid, Name: string(b[open+1 : end]), Zombie: fields[0] == "Z", Stopped: fields[0] == "T",
		Parent: int(numbers[parent]), Group: int(numbers[group]), Session: int(numbers[session]),
		Started: numbers[started], RSS: numbers[rss] * int64(os.Getpagesize()),
	}, nil
}
