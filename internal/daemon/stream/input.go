package stream

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/frame"
)

const (
	// stdinQueue is how many frames of stdin wait for a command that does not
	// read; then the caller waits too.
	stdinQueue = 4
	// signalQueue is how many signals wait for a command that is being started.
	signalQueue = 16
	// hangUpInterval is how often the connection is looked at while nobody
	// reads it because stdin waits.
	hangUpInterval = 200 * time.Millisecond
)

// input takes what the caller sends. The end of the connection ends ctx.
type input struct {
	conn    net.Conn
	ctx     context.Context
	cancel  context.CancelCauseFunc
	stdin   chan []byte // closed at the end of stdin
	signals chan syscall.Signal
	eof     bool // stdin is closed; only read uses it
}

func newInput(ctx context.Context, cancel context.CancelCauseFunc, conn net.Conn) *input {
	return &input{conn: conn, ctx: ctx, cancel: cancel, stdin: make(chan []byte, stdinQueue), signals: make(chan syscall.Signal, signalQueue)}
}

func (in *input) read(r *bufio.Reader) {
	frames := frame.NewReader(r)
	for {
		t, payload, err := frames.Next()
		if err == nil {
			err = in.take(t, payload)
		} else if err == io.EOF {
			err = api.Errorf(api.KindCanceled, "the caller went away")
		} else {
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
		if in.eof {
			return api.Errorf(api.KindUsage, "stdin goes on after its end")
		}
		return in.push(append([]byte(nil), payload...))
	case api.FrameStdinEOF:
		if !in.eof {
			in.eof = true
			close(in.stdin)
		}
		return nil
	case api.FrameSignal:
		return in.signal(payload)
	}
	return api.Errorf(api.KindUsage, "a frame of type %d is not for the background process", t)
}

// push hands on a piece of stdin. While the command does not take it, the
// connection is not read, so its end is looked for.
func (in *input) push(b []byte) error {
	select {
	case in.stdin <- b:
		return nil
	default:
	}
	tick := time.NewTicker(hangUpInterval)
	defer tick.Stop()
	for {
		select {
		case in.stdin <- b:
			return nil
		case <-in.ctx.Done():
			return context.Cause(in.ctx)
		case <-tick.C:
			if hungUp(in.conn) {
				return api.Errorf(api.KindCanceled, "the caller went away")
			}
		}
	}
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

// stdinReader reads the pieces of stdin.
type stdinReader struct {
	in   *input
	rest []byte
}

func (r *stdinReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		select {
		case b, ok := <-r.in.stdin:
			if !ok {
				return 0, io.EOF
			}
			r.rest = b
		case <-r.in.ctx.Done():
			return 0, io.ErrUnexpectedEOF
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// hungUp reports whether the other end has closed the connection, even if
// there is data that nobody has read yet.
func hungUp(conn net.Conn) bool {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	fds := []unix.PollFd{{Events: unix.POLLRDHUP}}
	if err := raw.Control(func(fd uintptr) {
		fds[0].Fd = int32(fd)
		unix.Poll(fds, 0)
	}); err != nil {
		return true
	}
	return fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}
