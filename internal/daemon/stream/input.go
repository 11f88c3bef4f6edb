package stream

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"syscall"

	"pyro/api"
	"pyro/internal/frame"
)

// signalQueue is how many signals wait for a command that is being started.
const signalQueue = 16

// input takes what the caller sends, as it comes, and never waits. The end of
// the connection ends the call.
type input struct {
	cancel  context.CancelCauseFunc // of the call
	stdin   *stdin
	signals chan syscall.Signal
}

func newInput(cancel context.CancelCauseFunc, stdin *stdin) *input {
	return &input{cancel: cancel, stdin: stdin, signals: make(chan syscall.Signal, signalQueue)}
}

func (in *input) read(r *bufio.Reader) {
	frames := frame.NewReader(r)
	for {
		t, payload, err := frames.Next()
		switch err {
		case nil:
			err = in.take(t, payload)
		case io.EOF:
			err = api.Errorf(api.KindCanceled, "the caller went away")
		default:
			err = api.Errorf(api.KindCanceled, "the caller went away: %w", err)
		}
		if err != nil {
			in.cancel(err)
			return
		}
	}
}

func (in *input) take(t frame.Type, payload []byte) error {
	switch t {
	case api.FrameStdin:
		return in.stdin.put(payload)
	case api.FrameStdinEOF:
		in.stdin.end()
		return nil
	case api.FrameSignal:
		return in.signal(payload)
	}
	return api.Errorf(api.KindUsage, "a frame of type %d is not for the background process", t)
}

// signals by their names in api.SignalEvent.
var signals = map[string]syscall.Signal{
	"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT,
	"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "KILL": syscall.SIGKILL,
}

func (in *input) signal(payload []byte) error {
	var e api.SignalEvent
	if err := json.Unmarshal(payload, &e); err != nil {
		return api.Errorf(api.KindUsage, "signal frame: %w", err)
	}
	sig, ok := signals[e.Signal]
	if !ok {
		return api.Errorf(api.KindUsage, "signal %q is not known", e.Signal)
	}
	select {
	case in.signals <- sig:
	default: // as with a process: a signal that is pending already is not queued without end
	}
	return nil
}
