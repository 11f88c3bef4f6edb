package process

import (
	"fmt"
	"slices"
	"syscall"
	"time"
)

// Session returns the live processes of the session that pid started.
func Session(pid int) ([]Info, error) {
	all, err := List()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(p Info) bool { return p.Session != pid || p.Zombie }), nil
}

// SignalSession sends a signal to every process of the session that pid started.
func SignalSession(pid int, sig syscall.Signal) error {
	members, err := Session(pid)
	for _, p := range members {
		_ = syscall.Kill(p.PID, sig)
	}
	return err
}

// Kill is syscall.Kill, or less than that in a test.
type Kill func(pid int, sig syscall.Signal) error

// KillSession ends every process of the session that pid started. It looks
// again until none is left, because a dying session can still fork.
func KillSession(pid int, kill Kill) error {
	return killAll(fmt.Sprintf("session %d", pid), kill, func() ([]Info, error) { return Session(pid) })
}

const (
	// killRounds is how often killAll takes up processes that it has not seen before.
	killRounds = 100
	// dyingTime is how long it waits for those that it has killed: each of them ends
	// only when it gets a CPU, for which it waits its turn on a busy host.
	dyingTime    = 20 * time.Second
	longestPause = 50 * time.Millisecond
)

// killAll ends what list returns until that is nothing.
func killAll(name string, kill Kill, list func() ([]Info, error)) error {
	known := make(map[identity]bool)
	deadline, pause := time.Now().Add(dyingTime), time.Millisecond
	for rounds := 0; rounds < killRounds; {
		all, err := list()
		if err != nil {
			return err
		}
		left, fresh := false, false
		for _, p := range all {
			if kill(p.PID, syscall.SIGKILL) == nil {
				left, fresh = true, fresh || !known[p.identity()]
				known[p.identity()] = true
			}
		}
		switch {
		case !left:
			return nil
		case fresh:
			rounds++
		case time.Now().After(deadline):
			return fmt.Errorf("processes of %s do not end, although they were killed", name)
		default:
			time.Sleep(pause)
			pause = min(2*pause, longestPause)
		}
	}
	return fmt.Errorf("%s keeps forking", name)
}

// identity tells a process from a later one with the same id.
type identity struct {
	pid     int
	started int64
}

func (p Info) identity() identity { return identity{p.PID, p.Started} }

// descendants returns the live processes of the session that pid started and
// all that come from them, as far as each one's parent still lives.
func descendants(pid int) ([]Info, error) {
	all, err := List()
	if err != nil {
		return nil, err
	}
	members := make(map[int]bool)
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if !members[p.PID] && (p.Session == pid || members[p.Parent]) {
				members[p.PID], grown = true, true
			}
		}
	}
	return slices.DeleteFunc(all, func(p Info) bool { return !members[p.PID] || p.Zombie }), nil
}
