package sandbox

import (
	"context"
	"io"
	"sync/atomic"
	"syscall"

	"pyro/api"
)

// Stdio connects a command with its caller. Every field is optional.
type Stdio struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Signals are passed on to the command's process group. One that asks to
	// end, and comes before the command has started, ends the call.
	Signals <-chan syscall.Signal
	// Event gets the phases, Pull the progress of an installation that comes first.
	Event func(api.ExecEvent)
	Pull  func(api.Progress)
}

// Tell passes on an event.
func (s Stdio) Tell(e api.ExecEvent) {
	if s.Event != nil {
		s.Event(e)
	}
}

// TellPull passes on the progress of an installation.
func (s Stdio) TellPull(p api.Progress) {
	if s.Pull != nil {
		s.Pull(p)
	}
}

// counter counts what passes to w, which may be nil.
type counter struct {
	w io.Writer
	n atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	if c.w == nil {
		return len(p), nil
	}
	return c.w.Write(p)
}

// UntilSignal returns a context that ends when a signal comes that asks to end.
// Calling done gives the signals back to whoever reads them next.
func UntilSignal(ctx context.Context, signals <-chan syscall.Signal) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-quit:
				return
			case sig, ok := <-signals:
				if !ok {
					return
				}
				if sig != syscall.SIGUSR1 && sig != syscall.SIGUSR2 {
					cancel(api.Errorf(api.KindCanceled, "ended by signal %d before the command started", int(sig)))
					return
				}
			}
		}
	}()
	return ctx, func() { close(quit); <-ended; cancel(nil) }
}
