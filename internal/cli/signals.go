package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// watched are the signals that people and supervisors end programs with.
var watched = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}

// signals returns the channel of the process's signals and a function that
// gives it back. A signal that the caller ignores, as nohup(1) does, stays ignored.
func (a *app) signals() (<-chan os.Signal, func()) {
	if a.Signals != nil {
		return a.Signals, func() {}
	}
	c := make(chan os.Signal, 8)
	for _, s := range watched {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
	return c, func() { signal.Stop(c) }
}

// interruptible runs f with a context that a signal ends.
func (a *app) interruptible(f func(context.Context) error) error {
	signals, giveBack := a.signals()
	defer giveBack()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		select {
		case <-ctx.Done():
		case s := <-signals:
			cancel(interrupted{s.(syscall.Signal)})
		}
	}()
	return causeOf(ctx, f(ctx))
}

// causeOf replaces the error of a call that a signal ended by the signal.
func causeOf(ctx context.Context, err error) error {
	if i, ok := errors.AsType[interrupted](context.Cause(ctx)); ok && err != nil {
		return i
	}
	return err
}

const (
	impatience     = 2 * time.Second // within which
	impatientTimes = 3               // so many SIGINTs end pyro itself
)

// forwarder decides whom a signal is for while a command is run.
type forwarder struct {
	running chan struct{}    // closed once the command runs
	out     chan<- os.Signal // to the command
	times   []time.Time      // of the last SIGINTs
}

// forward handles signals until ctx ends. It ends the call by cancel.
func (f *forwarder) forward(ctx context.Context, signals <-chan os.Signal, cancel context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			if !f.isRunning() || f.impatient(s, time.Now()) {
				cancel(interrupted{s.(syscall.Signal)})
				return
			}
			select {
			case f.out <- s:
			default: // the command is being told already
			}
		}
	}
}

func (f *forwarder) isRunning() bool {
	select {
	case <-f.running:
		return true
	default:
		return false
	}
}

// impatient reports whether s is the last of several SIGINTs in a short time.
func (f *forwarder) impatient(s os.Signal, now time.Time) bool {
	if s != syscall.SIGINT {
		return false
	}
	f.times = append(f.times, now)
	if len(f.times) > impatientTimes {
		f.times = f.times[1:]
	}
	return len(f.times) == impatientTimes && now.Sub(f.times[0]) <= impatience
}
