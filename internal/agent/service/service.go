// Package service watches over the guest's long-running processes.
//
// # Terms
//
// A service is a command with a name. It is starting until its probe says that
// it is ready, then running until its process ends or it is stopped:
//
//	starting ──ready──▶ running ──exit code 0──▶ exited
//	   │  ▲                │ ├─────stop─────────▶ stopped
//	   │  └──on-failure────┘ └─any other end────▶ failed
//	   └─ended, or not ready in time────────────▶ failed
//
// A service that was told to restart on failure is starting again after 0.1 s,
// then 0.2 s, and so on up to 30 s; 10 s of running begin anew. A service that
// was never ready is not restarted: its start has failed.
//
// # Promises
//
//   - When a service is failed, exited or stopped, nothing of it runs: what it
//     started is ended with it, by SIGTERM and after some seconds SIGKILL, even
//     what went into the background or into a session of its own. So a program
//     that leaves its work to a child and ends is not a service; such programs
//     have a flag to stay in the foreground.
//   - Output never holds a service up, whoever reads it.
//   - What a service wrote before a reader asked, that reader gets: its first
//     output is there when its start has returned.
//   - An ended service stays known, with its log, until another of its name starts.
//
// # On disk
//
//	/run/pyro/agent/service-N.log   the newest output, see package spool
package service

import (
	"os"
	"sync"
	"time"

	"pyro/internal/agent/spool"
	"pyro/internal/agent/wire"
)

// The times of restarts.
const (
	firstDelay = 100 * time.Millisecond
	maxDelay   = 30 * time.Second
	steadyTime = 10 * time.Second // after so long the delay begins anew
)

// service is one service from its start until it is replaced.
type service struct {
	set    *Set
	spec   wire.ServiceStartParams // complete: defaults set, Env whole
	number int
	log    *spool.Log

	settled chan struct{} // closed when the first start has succeeded or failed
	done    chan struct{} // closed when nothing of it runs any more
	stop    chan struct{} // closed by the first stop
	hurry   chan struct{} // closed by a stop without grace

	mu      sync.Mutex // guards what follows
	info    wire.ServiceInfo
	pipes   []*os.File    // stdout and stderr of the newest run
	grace   time.Duration // of the first stop
	stopped bool
	hurried bool
}

// change edits what is known of the service.
func (s *service) change(edit func(*wire.ServiceInfo)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	edit(&s.info)
}

// describe returns what is known of the service now.
func (s *service) describe() wire.ServiceInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info
}

// keeper returns what puts the output of a pipe into the log.
func (s *service) keeper(pipe int) func([]byte) {
	stream := [...]spool.Stream{spool.Stdout, spool.Stderr}[pipe]
	return func(b []byte) { s.log.Append(stream, time.Now().UnixMilli(), b) }
}

// catchUp takes over what the service has written until now.
func (s *service) catchUp() {
	s.mu.Lock()
	pipes := s.pipes
	s.mu.Unlock()
	for i, f := range pipes {
		s.set.pump.CatchUp(f, s.keeper(i))
	}
}

// supervise is the life of the service.
func (s *service) supervise() {
	defer close(s.done)
	delay := firstDelay
	for first := true; ; first = false {
		began := time.Now()
		out := s.runOnce()
		ran := time.Since(began)
		again := !first || out.ready
		again = again && out.failed() && !out.stopped && s.spec.Restart == wire.RestartOnFailure
		s.record(out, again)
		if first && !out.ready {
			close(s.settled)
		}
		if !again {
			return
		}
		if ran >= steadyTime {
			delay = firstDelay
		}
		select {
		case <-time.After(delay):
		case <-s.stop:
			s.change(func(info *wire.ServiceInfo) { info.State = wire.ServiceStopped })
			return
		}
		delay = min(2*delay, maxDelay)
		s.change(func(info *wire.ServiceInfo) { info.Restarts++ })
	}
}

// record notes how a run ended, and whether there will be another.
func (s *service) record(out outcome, again bool) {
	s.change(func(info *wire.ServiceInfo) {
		info.PID, info.EndedAt = 0, time.Now().UnixMilli()
		if out.code != nil {
			info.ExitCode = out.code
		}
		if out.err != nil {
			info.LastError, info.LastErrorKind = out.err.Error(), out.kind
		}
		switch {
		case out.stopped:
			info.State = wire.ServiceStopped
		case again:
			info.State = wire.ServiceStarting
		case out.failed():
			info.State = wire.ServiceFailed
		default:
			info.State = wire.ServiceExited
		}
	})
}

// becomeReady notes that the service answers.
func (s *service) becomeReady() {
	s.change(func(info *wire.ServiceInfo) {
		info.State, info.ReadyAt = wire.ServiceRunning, time.Now().UnixMilli()
		if info.Restarts == 0 {
			close(s.settled)
		}
	})
}

// askToStop begins to end the service. A later call can only make it faster.
func (s *service) askToStop(grace time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.stopped, s.grace = true, grace
		close(s.stop)
	}
	if grace <= 0 && !s.hurried {
		s.hurried = true
		close(s.hurry)
	}
}

func (s *service) graceOfStop() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grace
}

// active says whether anything of the service runs or will.
func (s *service) active() bool {
	state := s.describe().State
	return state == wire.ServiceStarting || state == wire.ServiceRunning
}
