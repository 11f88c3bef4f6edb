package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/process"
	"pyro/internal/agent/wire"
)

// run is one life of a service: from one start of its command until nothing of
// it runs any more.
type run struct {
	*service
	group   *process.Group
	process *process.Process
	outputs []*os.File
	pumps   sync.WaitGroup
}

// outcome is how a run ended.
type outcome struct {
	ready   bool // it was, at some time
	stopped bool // because it was asked to
	err     error
	kind    wire.Kind // of err
	code    *int      // nil if no process was started
}

// failed says whether the service should be started again on failure.
func (o outcome) failed() bool { return o.err != nil }

// runOnce starts the command and stays until the run is over.
func (s *service) runOnce() outcome {
	group, err := s.set.groups.New(fmt.Sprintf("service-%d", s.number))
	if err != nil {
		return outcome{err: err, kind: wire.KindInternal}
	}
	r := &run{service: s, group: group}
	out := r.live()
	endErr := r.end(out)
	if r.process != nil {
		code := r.process.ExitCode()
		out.code = &code
	}
	if endErr != nil && out.err == nil {
		out.err, out.kind = fmt.Errorf("not all of it could be ended: %w", endErr), wire.KindInternal
	}
	return out
}

// live starts the process and returns when it has ended or should be.
func (r *run) live() outcome {
	if err := r.start(); err != nil {
		kind := wire.KindInternal
		if e, ok := errors.AsType[*wire.Error](err); ok {
			kind = e.Kind
		}
		return outcome{err: err, kind: kind}
	}
	if out := r.awaitReady(); !out.ready {
		return out
	}
	r.becomeReady()
	select {
	case <-r.stop:
		return outcome{ready: true, stopped: true}
	case <-r.process.Done():
	}
	out := outcome{ready: true}
	if code := r.process.ExitCode(); code != 0 {
		out.err = errors.New(ending(code))
	}
	return out
}

// ending describes an exit code.
func ending(code int) string {
	if code > 128 {
		if name := unix.SignalName(unix.Signal(code - 128)); name != "" {
			return "ended by " + name
		}
	}
	return fmt.Sprintf("exit code %d", code)
}

// start makes the pipes and the process.
func (r *run) start() error {
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	for range 2 {
		ours, other, err := outputPipe()
		if err != nil {
			return err
		}
		r.outputs, theirs = append(r.outputs, ours), append(theirs, other)
	}
	p, err := r.set.processes.Start(process.Command{
		Argv: r.spec.Argv, Dir: r.spec.Cwd, Env: r.spec.Env, Stdout: theirs[0], Stderr: theirs[1], Group: r.group,
	})
	if err != nil {
		return err
	}
	r.process = p
	for i, f := range r.outputs {
		r.pumps.Go(func() { r.set.pump.Run(f, r.keeper(i)) })
	}
	r.mu.Lock()
	r.pipes = r.outputs
	r.mu.Unlock()
	r.change(func(info *wire.ServiceInfo) {
		info.State, info.PID, info.StartedAt = wire.ServiceStarting, p.PID, time.Now().UnixMilli()
		info.ReadyAt, info.EndedAt, info.ExitCode = 0, 0, nil
	})
	return nil
}

// outputPipe makes a pipe whose reading end does not block; the writing end
// does, as a program expects.
func outputPipe() (ours, theirs *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	_ = unix.SetNonblock(fds[0], true)
	return os.NewFile(uintptr(fds[0]), "output"), os.NewFile(uintptr(fds[1]), "output"), nil
}

// awaitReady probes until the service is ready, has ended, is stopped or its
// time is over. No probe runs any more when it returns.
func (r *run) awaitReady() outcome {
	if r.spec.Probe == nil {
		return outcome{ready: true}
	}
	limit := time.Duration(r.spec.TimeoutMS) * time.Millisecond
	deadline := time.Now().Add(limit)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	probed := make(chan error, 1)
	var probes sync.WaitGroup
	try := func() { probes.Go(func() { probed <- r.probe(ctx) }) }
	defer probes.Wait()
	defer cancel()

	again := time.NewTimer(limit)
	again.Stop() // until a probe has failed
	last := errors.New("no answer")
	interval := time.Duration(r.spec.IntervalMS) * time.Millisecond
	pause := firstPause
	try()
	for {
		select {
		case <-r.stop:
			return outcome{stopped: true}
		case <-r.process.Done():
			return r.endedEarly()
		case <-ctx.Done():
			err := fmt.Errorf("not ready within %s: probe %s: %w", limit, describeProbe(r.spec.Probe), last)
			return outcome{err: err, kind: wire.KindTimeout}
		case err := <-probed:
			select {
			case <-r.process.Done(): // someone else answered
				return r.endedEarly()
			default:
			}
			if err == nil {
				return outcome{ready: true}
			}
			if time.Now().Before(deadline) { // not just because of it
				last = err
			}
			again.Reset(min(pause, interval))
			pause *= 2
		case <-again.C:
			try()
		}
	}
}

// firstPause lies between the first two probes; each one after that is twice as
// long, up to the interval. Most services are ready long before that is over.
const firstPause = minInterval * time.Millisecond

func (r *run) endedEarly() outcome {
	return outcome{err: fmt.Errorf("ended before it was ready: %s", ending(r.process.ExitCode()))}
}

// endGrace is the time between SIGTERM and SIGKILL for what is left of a service
// that nobody asked to stop.
const endGrace = 5 * time.Second

// end ends what is left of the run: its processes, then its output.
func (r *run) end(out outcome) error {
	grace := endGrace
	if out.stopped {
		grace = r.graceOfStop()
	}
	err := r.group.End(grace, r.hurry)
	if r.process != nil {
		<-r.process.Done()
	}
	r.catchUp()
	for _, f := range r.outputs { // which something outside of the group may hold
		f.Close()
	}
	r.pumps.Wait()
	return err
}
