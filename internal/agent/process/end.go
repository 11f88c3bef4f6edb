package process

import (
	"fmt"
	"slices"
	"syscall"
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

// killAll ends what list returns until that is nothing.
func killAll(name string, kill Kill, list func() ([]Info, error)) error {
	for range 100 {
		all, err := list()
		if err != nil {
			return err
		}
		found := false
		for _, p := range all {
			if kill(p.PID, syscall.SIGKILL) == nil {
				found = true
			}
		}
		if !found {
			return nil
		}
	}
	return fmt.Errorf("%s keeps forking", name)
}

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
