package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"syscall"

	"pyro/api"
	"pyro/internal/frame"
)

// Stdio connects a command with its caller. Every field is optional.
type Stdio struct {
	// Stdin is read until its end. Without it the command has an empty input.
	// A read that blocks does not hold up Exec; it may still be under way
	// when Exec has returned.
	Stdin io.Reader
	// Stdout and Stderr get the output as it comes; nil discards it. A slow
	// writer slows the command down. An error of a writer ends the command and
	// is returned by Exec, as an OutputError.
	Stdout, Stderr io.Writer
	// Signals are passed on to the command's process group; those that have no
	// name in api.SignalEvent are left out.
	Signals <-chan os.Signal
	// OnEvent gets the phases, OnPull the progress of an installation that
	// comes first. The stream waits while they run.
	OnEvent func(api.ExecEvent)
	OnPull  func(api.Progress)
}

// OutputError says that Stdout or Stderr of an Exec took no more output.
type OutputError struct{ Err error }

func (e *OutputError) Error() string { return "output: " + e.Err.Error() }
func (e *OutputError) Unwrap() error { return e.Err }

// Exec runs a command and connects it with stdio. The result's Stdout and
// Stderr are empty because the output went to stdio.
func Exec[Req any](ctx context.Context, c *Client, op api.Call[Req, api.ExecResult], req Req, stdio Stdio) (api.ExecResult, error) {
	return c.Exec(ctx, op.Operation, req, stdio)
}

// Exec is the package's Exec for an operation known only at run time.
func (c *Client) Exec(ctx context.Context, op *api.Operation, req any, stdio Stdio) (api.ExecResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conn, err := c.connect(ctx, need{start: true})
	if err != nil {
		return api.ExecResult{}, err
	}
	defer conn.Close()
	if _, err := conn.post(op, req, api.UpgradeProtocol); err != nil {
		return api.ExecResult{}, err
	}
	out := frame.NewWriter(conn)
	in := &stdin{ctx: ctx, out: out, room: api.StdinWindow, more: make(chan struct{}, 1)}
	go in.send(stdio.Stdin, cancel)
	go sendSignals(ctx, out, stdio.Signals)
	return receive(conn, stdio, in)
}

// receive handles frames until the last one.
func receive(conn *conn, stdio Stdio, in *stdin) (api.ExecResult, error) {
	frames := frame.NewReader(conn.read)
	for {
		t, payload, err := frames.Next()
		if err != nil {
			return api.ExecResult{}, conn.broken(err)
		}
		switch t {
		case api.FrameStdout:
			err = write(stdio.Stdout, payload)
		case api.FrameStderr:
			err = write(stdio.Stderr, payload)
		case api.FrameEvent:
			err = tell(payload, stdio.OnEvent)
		case api.FramePull:
			err = tell(payload, stdio.OnPull)
		case api.FrameStdinTaken:
			err = in.taken(payload)
		case api.FrameError:
			return api.ExecResult{}, frameError(conn, payload)
		case api.FrameResult:
			var res api.ExecResult
			if err := json.Unmarshal(payload, &res); err != nil {
				return api.ExecResult{}, conn.broken(err)
			}
			return res, nil
		}
		if _, ok := errors.AsType[*OutputError](err); ok {
			return api.ExecResult{}, err
		}
		if err != nil {
			return api.ExecResult{}, conn.broken(err)
		}
	}
}

func frameError(conn *conn, payload []byte) error {
	var e api.Error
	if err := json.Unmarshal(payload, &e); err != nil {
		return conn.broken(err)
	}
	return &e
}

func write(w io.Writer, p []byte) error {
	if w == nil {
		return nil
	}
	if _, err := w.Write(p); err != nil {
		return &OutputError{err}
	}
	return nil
}

func tell[T any](payload []byte, f func(T)) error {
	var v T
	if err := json.Unmarshal(payload, &v); err != nil {
		return err
	}
	if f != nil {
		f(v)
	}
	return nil
}

var signalNames = map[os.Signal]string{
	syscall.SIGINT: "INT", syscall.SIGTERM: "TERM", syscall.SIGHUP: "HUP", syscall.SIGQUIT: "QUIT",
	syscall.SIGUSR1: "USR1", syscall.SIGUSR2: "USR2", syscall.SIGKILL: "KILL",
}

func sendSignals(ctx context.Context, out *frame.Writer, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case s, ok := <-signals:
			if !ok {
				return
			}
			if name := signalNames[s]; name != "" {
				_ = out.WriteJSON(api.FrameSignal, api.SignalEvent{Signal: name}) // an error of the connection is reported by receive
			}
		}
	}
}
