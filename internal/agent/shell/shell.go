// Package shell keeps the guest's terminal sessions.
//
// # Terms
//
// A shell is a program, usually bash, in a session of its own with a pseudo
// terminal. The agent holds the other end of the terminal, so a shell lives as
// long as the guest does, whoever comes and goes on the host. Its output goes
// into a spool and is read by cursor; input, size and signals go to the terminal.
//
// A shell is running until its first program has ended and what that wrote was
// taken over; then it has exited, and stays, with its output, until it is closed.
// Closing ends what is left of the session, as hanging up a line would.
// A program that leaves for a session of its own (setsid, nohup under a service
// manager) is not of the session any more, and goes on, as with any terminal.
//
// # On disk
//
//	/run/pyro/agent/shell-N.out   the newest 8 MiB of output, see package spool
package shell

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"pyro/internal/agent/process"
	"pyro/internal/agent/spool"
	"pyro/internal/agent/wire"
)

// spoolBytes is how much output of a shell is kept.
const spoolBytes = 8 << 20

// The wait for output that is on its way when a shell has ended: processes in
// the background may hold the terminal open and write for ever.
const (
	drainStep = 10 * time.Millisecond
	drainTime = time.Second
)

// shell is one session.
type shell struct {
	id       string
	process  *process.Process
	terminal *terminal
	pump     *spool.Pump
	output   *spool.Spool
	pumped   chan struct{} // closed when the terminal gives no more output
	exited   chan struct{} // closed when info.State is exited

	input sync.Mutex // orders input; taken before mu

	mu   sync.Mutex // guards what follows
	info wire.ShellInfo
	gone bool // the whole session has ended, so its number may be another's now
}

// start runs the shell that p describes.
func (s *Set) start(p wire.ShellOpenParams, path string) (*shell, error) {
	terminal, replica, err := openTerminal(p.Cols, p.Rows)
	if err != nil {
		return nil, err
	}
	defer replica.Close()
	child, err := s.processes.Start(process.Command{
		Argv: p.Argv, Dir: p.Cwd, Env: process.Environ(process.DefaultEnv, []string{"TERM=xterm-256color"}, p.Env),
		Stdin: replica, Stdout: replica, Stderr: replica, Terminal: true,
	})
	if err != nil {
		terminal.Close()
		return nil, err
	}
	sh := &shell{
		id: p.ID, process: child, terminal: terminal, pump: s.pump, output: spool.New(path, spoolBytes),
		pumped: make(chan struct{}), exited: make(chan struct{}),
		info: wire.ShellInfo{
			ID: p.ID, Argv: process.Brief(p.Argv), Cwd: p.Cwd, Cols: p.Cols, Rows: p.Rows,
			State: wire.ShellRunning, PID: child.PID, StartedAt: time.Now().UnixMilli(),
		},
	}
	go func() {
		s.pump.Run(terminal.File, sh.keep)
		close(sh.pumped)
	}()
	go sh.watch()
	return sh, nil
}

// keep takes output over.
func (s *shell) keep(b []byte) { _, _ = s.output.Write(b) }

// catchUp takes over what the terminal holds now, so that a reader misses
// nothing that was written before it asked.
func (s *shell) catchUp() { s.pump.CatchUp(s.terminal.File, s.keep) }

// watch notices the end of the shell.
func (s *shell) watch() {
	<-s.process.Done()
	ended := time.Now()
	s.drain()
	left, err := process.Session(s.process.PID)
	s.mu.Lock()
	s.gone = err == nil && len(left) == 0
	code := s.process.ExitCode()
	s.info.State, s.info.ExitCode, s.info.EndedAt = wire.ShellExited, &code, ended.UnixMilli()
	s.mu.Unlock()
	close(s.exited)
}

// drain waits until what the shell wrote before its end is in the spool.
func (s *shell) drain() {
	deadline := time.After(drainTime)
	for quiet := 0; quiet < 2; {
		select {
		case <-s.pumped:
			return
		case <-deadline:
			return
		case <-time.After(drainStep):
		}
		s.catchUp()
		if s.terminal.unread() == 0 {
			quiet++
		} else {
			quiet = 0
		}
	}
}

func (s *shell) hasExited() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// describe returns what is known of the shell now.
func (s *shell) describe() wire.ShellInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	info := s.info
	info.CursorBegin, info.CursorEnd = s.output.Bounds()
	return info
}

// fullTime is how long input waits for room in the terminal.
const fullTime = 3 * time.Second

// write gives input to the terminal.
func (s *shell) write(data []byte) (wire.ShellWriteResult, error) {
	s.input.Lock()
	defer s.input.Unlock()
	s.catchUp()
	before := s.describe()
	if before.State == wire.ShellExited {
		return wire.ShellWriteResult{}, &wire.Error{Kind: wire.KindConflict, Message: fmt.Sprintf("shell %q has exited", s.id)}
	}
	if err := s.terminal.SetWriteDeadline(time.Now().Add(fullTime)); err != nil {
		return wire.ShellWriteResult{}, err
	}
	n, err := s.terminal.Write(data)
	result := wire.ShellWriteResult{Written: n, State: before.State, CursorEnd: before.CursorEnd}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		result.Full, err = true, nil
	}
	return result, err
}

func (s *shell) resize(cols, rows int) error {
	s.input.Lock()
	defer s.input.Unlock()
	if err := s.terminal.resize(cols, rows); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info.Cols, s.info.Rows = cols, rows
	return nil
}

// closeTime is how long the session has to end after it was hung up.
const closeTime = 2 * time.Second

// close ends the session and gives up all that belongs to it.
func (s *shell) close() error {
	err := s.endSession()
	<-s.exited
	s.terminal.Close()
	<-s.pumped
	s.output.Remove()
	return err
}

// endSession hangs up, and kills what does not mind.
func (s *shell) endSession() error {
	s.mu.Lock()
	gone, pid := s.gone, s.process.PID
	s.mu.Unlock()
	if gone {
		return nil
	}
	err := errors.Join(process.SignalSession(pid, syscall.SIGHUP), process.SignalSession(pid, syscall.SIGCONT))
	for deadline, pause := time.Now().Add(closeTime), time.Millisecond; time.Now().Before(deadline); pause = min(2*pause, 50*time.Millisecond) {
		if left, listErr := process.Session(pid); listErr != nil || len(left) == 0 {
			break
		}
		time.Sleep(pause)
	}
	return errors.Join(err, process.KillSession(pid, syscall.Kill))
}
