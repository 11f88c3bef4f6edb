package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"pyro/api"
	"pyro/internal/frame"
	"pyro/internal/vm"
)

// execFunc runs the command of a call.
type execFunc func(context.Context, vm.Stdio) (api.ExecResult, error)

// exec answers a call of ModeExec in the form that the caller asked for.
func (c *call) exec(run execFunc) {
	switch upgrade := c.r.Header.Get("Upgrade"); {
	case upgrade == "":
		c.execBounded(run)
	case strings.EqualFold(upgrade, api.UpgradeProtocol):
		c.execStream(run)
	default:
		c.fail(api.Errorf(api.KindUsage, "protocol %q is not known", upgrade).WithHint("use Upgrade: %s", api.UpgradeProtocol))
	}
}

// execBounded keeps the head and the tail of the output for one JSON answer.
func (c *call) execBounded(run execFunc) {
	stdout, stderr := newBounded(api.MaxOutput), newBounded(api.MaxOutput)
	res, err := run(c.ctx, vm.Stdio{Stdout: stdout, Stderr: stderr})
	if err == nil {
		res.Stdout, res.StdoutTruncated = stdout.text()
		res.Stderr, res.StderrTruncated = stderr.text()
	}
	c.answer(res, err)
}

// execStream turns the connection into a stream of frames.
func (c *call) execStream(run execFunc) {
	conn, buf, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		c.fail(api.Errorf(api.KindInternal, "connection cannot be upgraded: %w", err))
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %s\r\n\r\n",
		api.UpgradeProtocol, headerVersion, api.Version)

	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	in := &input{conn: conn, ctx: ctx, cancel: cancel, stdin: make(chan []byte, stdinQueue), signals: make(chan syscall.Signal, signalQueue)}
	go in.read(buf.Reader)
	out := frame.NewWriter(conn)
	res, err := run(ctx, vm.Stdio{
		Stdin: &stdinReader{in: in}, Stdout: out.Stream(api.FrameStdout), Stderr: out.Stream(api.FrameStderr), Signals: in.signals,
		Event: func(e api.ExecEvent) { out.WriteJSON(api.FrameEvent, e) },
		Pull:  func(p api.Progress) { out.WriteJSON(api.FramePull, p) },
	})
	// Errors of these writes mean that the caller is gone.
	if err != nil {
		c.kind = api.KindOf(err)
		out.WriteJSON(api.FrameError, api.AsError(err))
		return
	}
	out.WriteJSON(api.FrameResult, res)
}

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
