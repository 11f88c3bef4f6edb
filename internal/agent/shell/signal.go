package shell

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/process"
	"pyro/internal/agent/wire"
)

// receiver says who gets a signal.
type receiver int

const (
	foreground receiver = iota // the terminal's foreground process group
	session                    // every process of the shell's session
)

var signals = map[string]struct {
	number syscall.Signal
	to     receiver
}{
	"INT":   {syscall.SIGINT, foreground},
	"QUIT":  {syscall.SIGQUIT, foreground},
	"TSTP":  {syscall.SIGTSTP, foreground},
	"WINCH": {syscall.SIGWINCH, foreground},
	"USR1":  {syscall.SIGUSR1, foreground},
	"USR2":  {syscall.SIGUSR2, foreground},
	"TERM":  {syscall.SIGTERM, session},
	"HUP":   {syscall.SIGHUP, session},
	"KILL":  {syscall.SIGKILL, session},
	"CONT":  {syscall.SIGCONT, session},
}

// signal sends the signal of that name.
func (s *shell) signal(name string) error {
	sig, known := signals[name]
	if !known {
		return &wire.Error{Kind: wire.KindUsage, Message: fmt.Sprintf("signal %q is not one of INT, QUIT, TSTP, WINCH, USR1, USR2, TERM, HUP, KILL, CONT", name)}
	}
	if s.hasExited() {
		return &wire.Error{Kind: wire.KindConflict, Message: fmt.Sprintf("shell %q has exited", s.id)}
	}
	if sig.number == syscall.SIGKILL {
		return process.KillSession(s.process.PID, syscall.Kill) // looks again for what was just forked
	}
	if sig.to == session {
		return process.SignalSession(s.process.PID, sig.number)
	}
	pgid, err := s.terminal.foreground()
	if err == nil {
		err = syscall.Kill(-pgid, sig.number)
		if errors.Is(err, syscall.ESRCH) {
			return nil // it has just ended
		}
		return err
	}
	return s.signalBlindly(sig.number)
}

// signalBlindly is for kernels that do not tell the foreground process group:
// the terminal itself knows it.
func (s *shell) signalBlindly(sig syscall.Signal) error {
	s.input.Lock()
	defer s.input.Unlock()
	switch sig {
	case syscall.SIGINT:
		return s.terminal.strike(unix.VINTR, 'C'-'@')
	case syscall.SIGQUIT:
		return s.terminal.strike(unix.VQUIT, '\\'-'@')
	case syscall.SIGTSTP:
		return s.terminal.strike(unix.VSUSP, 'Z'-'@')
	case syscall.SIGWINCH:
		s.mu.Lock()
		cols, rows := s.info.Cols, s.info.Rows
		s.mu.Unlock()
		other := rows + 1
		if rows > 1 {
			other = rows - 1
		}
		return errors.Join(s.terminal.resize(cols, other), s.terminal.resize(cols, rows))
	}
	members, err := process.Session(s.process.PID)
	if err != nil {
		return err
	}
	return syscall.Kill(-likelyForeground(s.process.PID, members), sig)
}

// likelyForeground guesses the foreground process group of a session: that of
// the newest process which is not stopped.
func likelyForeground(leader int, members []process.Info) int {
	newest := process.Info{PID: leader, Group: leader, Started: -1}
	for _, p := range members {
		if !p.Stopped && (p.Started > newest.Started || p.Started == newest.Started && p.PID > newest.PID) {
			newest = p
		}
	}
	return newest.Group
}
