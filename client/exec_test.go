package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/client"
	"pyro/client/clienttest"
)

type execs = map[string]func(context.Context, []byte, clienttest.Stream)

// cat plays `cat` with some stderr: it sends stdin back until its end.
func cat(_ context.Context, body []byte, s clienttest.Stream) {
	s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "execute", VMID: "vm-1"})
	s.Write(api.FrameStderr, []byte("ready\n"))
	for {
		t, payload, err := s.Next()
		switch {
		case err != nil:
			return
		case t == api.FrameStdin:
			s.Write(api.FrameStdout, payload)
		case t == api.FrameSignal:
			var sig api.SignalEvent
			json.Unmarshal(payload, &sig)
			s.Write(api.FrameStdout, []byte("signal "+sig.Signal))
			s.WriteJSON(api.FrameResult, api.ExecResult{ExitCode: 130})
			return
		case t == api.FrameStdinEOF:
			s.WriteJSON(api.FrameResult, api.ExecResult{ExitCode: 3, VMID: "vm-1"})
			return
		}
	}
}

var runReq = api.RunRequest{Environment: "e", Command: []string{"cat"}}

func TestExecCarriesBothWays(t *testing.T) {
	c := serve(t, &clienttest.Server{Exec: execs{"run_in_vm": cat}})
	input := strings.Repeat("0123456789abcdef", 200_000) // 3.2 MB, many frames
	var stdout, stderr bytes.Buffer
	var phases []string
	res, err := client.Exec(t.Context(), c, api.RunInVM, runReq, client.Stdio{
		Stdin: strings.NewReader(input), Stdout: &stdout, Stderr: &stderr,
		OnEvent: func(ev api.ExecEvent) { phases = append(phases, ev.Phase) },
	})
	if err != nil || res.ExitCode != 3 {
		t.Fatalf("got %+v, %v", res, err)
	}
	if stdout.String() != input {
		t.Errorf("stdout has %d bytes and differs from the %d of stdin", stdout.Len(), len(input))
	}
	if diff := cmp.Diff([]any{"ready\n", []string{"execute"}}, []any{stderr.String(), phases}); diff != "" {
		t.Error(diff)
	}
}

func TestExecWithoutStdinSendsItsEnd(t *testing.T) {
	c := serve(t, &clienttest.Server{Exec: execs{"run_in_vm": cat}})
	if res, err := client.Exec(t.Context(), c, api.RunInVM, runReq, client.Stdio{}); err != nil || res.ExitCode != 3 {
		t.Errorf("got %+v, %v", res, err)
	}
}

func TestExecIsNotHeldUpByStdin(t *testing.T) {
	c := serve(t, &clienttest.Server{Exec: execs{"run_in_vm": func(_ context.Context, _ []byte, s clienttest.Stream) {
		s.WriteJSON(api.FrameResult, api.ExecResult{ExitCode: 7})
	}}})
	silent, w := io.Pipe()
	defer w.Close()
	if res, err := client.Exec(t.Context(), c, api.RunInVM, runReq, client.Stdio{Stdin: silent}); err != nil || res.ExitCode != 7 {
		t.Errorf("got %+v, %v", res, err)
	}
}

func TestExecPassesSignalsOn(t *testing.T) {
	c := serve(t, &clienttest.Server{Exec: execs{"run_in_vm": cat}})
	signals := make(chan os.Signal, 2)
	signals <- syscall.SIGWINCH // has no name in the protocol
	signals <- syscall.SIGTERM
	silent, w := io.Pipe()
	defer w.Close()
	var stdout bytes.Buffer
	res, err := client.Exec(t.Context(), c, api.RunInVM, runReq, client.Stdio{Stdin: silent, Stdout: &stdout, Signals: signals})
	if err != nil || res.ExitCode != 130 || stdout.String() != "signal TERM" {
		t.Errorf("got %+v, %v, %q", res, err, stdout.String())
	}
}

// zeros is an input without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestExecKeepsTheWindow: to a command that takes no stdin the caller sends
// the window and no more, so that a signal comes right behind it; what is taken
// later makes room for exactly as much.
func TestExecKeepsTheWindow(t *testing.T) {
	signals := make(chan os.Signal, 1)
	c := serve(t, &clienttest.Server{Exec: execs{"run_in_vm": func(_ context.Context, _ []byte, s clienttest.Stream) {
		expect := func(want int) {
			for got := 0; got < want; {
				typ, p, err := s.Reader.Next()
				if err != nil || typ != api.FrameStdin || len(p) > 32<<10 {
					t.Errorf("frame of type %d with %d bytes after %d of %d, %v", typ, len(p), got, want, err)
					return
				}
				got += len(p)
			}
			s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "stuck"})
			if typ, _, err := s.Reader.Next(); err != nil || typ != api.FrameSignal {
				t.Errorf("after the window came a frame of type %d, %v", typ, err)
			}
		}
		s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "execute"})
		expect(api.StdinWindow)
		s.Taken(1)
		s.Taken(99_999)
		expect(100_000)
		s.WriteJSON(api.FrameResult, api.ExecResult{ExitCode: 4})
	}}})
	res, err := client.Exec(t.Context(), c, api.RunInVM, runReq, client.Stdio{
		Stdin: zeros{}, Signals: signals,
		OnEvent: func(ev api.ExecEvent) {
			if ev.Phase == "stuck" {
				signals <- syscall.SIGINT
			}
		},
	})
	if err != nil || res.ExitCode != 4 {
		t.Errorf("got %+v, %v", res, err)
	}
}

// TestExecRefusesWhatCannotBeTaken meets a server that miscounts.
func TestExecRefusesWhatCannotBeTaken(t *testing.T) {
	for name, payload := range map[string][]byte{
		"more than was sent": {0, 0, 0, 6}, "all numbers": {255, 255, 255, 255}, "too short": {0, 0, 1}, "too long": {0, 0, 0, 0, 1}, "empty": nil,
	} {
		c := serve(t, &clienttest.Server{Exec: execs{"run_in_vm": func(_ context.Context, _ []byte, s clienttest.Stream) {
			s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "execute"})
			s.Reader.Next()
			s.Write(api.FrameStdinTaken, payload)
			s.Reader.Next()
		}}})
		_, err := client.Exec(t.Context(), c, api.RunInVM, runReq, client.Stdio{Stdin: strings.NewReader("input")})
		if api.KindOf(err) != api.KindDaemonUnavailable || !strings.Contains(err.Error(), "stdin") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestExecLeavesNothingBehind ends calls whose stdin waits for room.
func TestExecLeavesNothingBehind(t *testing.T) {
	c := serve(t, &clienttest.Server{Exec: execs{"run_in_vm": func(_ context.Context, _ []byte, s clienttest.Stream) {
		s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "execute"})
		for got := 0; got < api.StdinWindow; {
			_, p, err := s.Reader.Next()
			if err != nil {
				return
			}
			got += len(p)
		}
		s.WriteJSON(api.FrameResult, api.ExecResult{})
	}}})
	if _, err := client.Exec(t.Context(), c, api.RunInVM, runReq, client.Stdio{Stdin: zeros{}}); err != nil {
		t.Fatal(err)
	}
	for stacks := make([]byte, 1<<20); bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("(*stdin).send")); {
		time.Sleep(time.Millisecond)
	}
}

func TestExecErrors(t *testing.T) {
	c := serve(t, &clienttest.Server{
		Refuse: map[string]error{"exec_vm": api.Errorf(api.KindConflict, "VM vm-1 is not started")},
		Exec: execs{"run_in_vm": func(_ context.Context, body []byte, s clienttest.Stream) {
			var req api.RunRequest
			json.Unmarshal(body, &req)
			s.WriteJSON(api.FramePull, api.Progress{Phase: "install"})
			s.Write(api.FrameStdout, []byte("some"))
			switch req.Command[0] {
			case "error frame":
				s.WriteJSON(api.FrameError, api.Errorf(api.KindStorage, "disk is full"))
			case "half a frame":
				s.Conn.Write([]byte{api.FrameStdout, 0, 0, 0, 9, 'x'})
			case "huge frame":
				s.Conn.Write([]byte{api.FrameStdout, 255, 255, 255, 255})
			case "no json":
				s.Write(api.FrameResult, []byte("?"))
			}
		}},
	})
	for command, kind := range map[string]api.Kind{
		"error frame": api.KindStorage, "half a frame": api.KindDaemonUnavailable, "huge frame": api.KindDaemonUnavailable,
		"no json": api.KindDaemonUnavailable, "end": api.KindDaemonUnavailable,
	} {
		pulls := 0
		_, err := client.Exec(t.Context(), c, api.RunInVM, api.RunRequest{Command: []string{command}}, client.Stdio{OnPull: func(api.Progress) { pulls++ }})
		if api.KindOf(err) != kind || pulls != 1 {
			t.Errorf("%s: got %v (%s), %d pull events", command, err, api.KindOf(err), pulls)
		}
	}
	if _, err := client.Exec(t.Context(), c, api.ExecVM, api.ExecVMRequest{}, client.Stdio{}); api.KindOf(err) != api.KindConflict {
		t.Errorf("refused upgrade: %v", err)
	}
}

// TestExecSlowReaderSlowsTheCommandDown checks that nothing piles up: while the
// caller does not take output, the server cannot send more than the buffers of
// the socket hold.
func TestExecSlowReaderSlowsTheCommandDown(t *testing.T) {
	const total = 64 << 20
	blocked := make(chan int)
	c := serve(t, &clienttest.Server{Exec: execs{"run_in_vm": func(_ context.Context, _ []byte, s clienttest.Stream) {
		s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "execute"})
		frame := append([]byte{api.FrameStdout, 0, 1, 0, 0}, make([]byte, 1<<16)...)
		waited := false
		for sent := 0; sent < total; sent += 1 << 16 {
			for rest := frame; len(rest) > 0; {
				if !waited {
					s.Conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
				}
				n, err := s.Conn.Write(rest)
				rest = rest[n:]
				if errors.Is(err, os.ErrDeadlineExceeded) {
					waited = true
					s.Conn.SetWriteDeadline(time.Time{})
					blocked <- sent
				} else if err != nil {
					return
				}
			}
		}
		if !waited {
			blocked <- total
		}
		s.WriteJSON(api.FrameResult, api.ExecResult{})
	}}})
	out := &gatedWriter{gate: make(chan struct{})}
	go func() {
		if sent := <-blocked; sent > total/4 {
			t.Errorf("the server could send %d of %d bytes to a caller that took none", sent, total)
		}
		close(out.gate)
	}()
	if _, err := client.Exec(t.Context(), c, api.RunInVM, runReq, client.Stdio{Stdout: out}); err != nil {
		t.Fatal(err)
	}
	if out.n != total {
		t.Errorf("%d of %d bytes arrived", out.n, total)
	}
}

// gatedWriter takes nothing until its gate opens.
type gatedWriter struct {
	gate chan struct{}
	n    int
}

func (w *gatedWriter) Write(p []byte) (int, error) {
	<-w.gate
	w.n += len(p)
	return len(p), nil
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestExecEndsTheCommandWhenOutputBreaks(t *testing.T) {
	gone := make(chan struct{})
	c := serve(t, &clienttest.Server{Exec: execs{"run_in_vm": func(_ context.Context, _ []byte, s clienttest.Stream) {
		defer close(gone)
		for s.Write(api.FrameStdout, make([]byte, 1<<16)) == nil {
		}
	}}})
	_, err := client.Exec(t.Context(), c, api.RunInVM, runReq, client.Stdio{Stdout: brokenWriter{}})
	if _, ok := errors.AsType[*client.OutputError](err); !ok || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v", err)
	}
	<-gone
}

func TestExecEndsWithItsContext(t *testing.T) {
	gone := make(chan struct{})
	c := serve(t, &clienttest.Server{Exec: execs{"run_in_vm": func(_ context.Context, _ []byte, s clienttest.Stream) {
		defer close(gone)
		s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "execute"})
		for {
			if _, _, err := s.Next(); err != nil {
				return
			}
		}
	}}})
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	_, err := client.Exec(ctx, c, api.RunInVM, runReq, client.Stdio{OnEvent: func(api.ExecEvent) { cancel(cause) }})
	if api.KindOf(err) != api.KindCanceled || !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	<-gone
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, syscall.EIO }

func TestExecOfAnInputThatCannotBeRead(t *testing.T) {
	c := serve(t, &clienttest.Server{Exec: execs{"run_in_vm": cat}})
	_, err := client.Exec(t.Context(), c, api.RunInVM, runReq, client.Stdio{Stdin: failingReader{}})
	if err == nil || !strings.Contains(err.Error(), "stdin") {
		t.Errorf("got %v", err)
	}
}
