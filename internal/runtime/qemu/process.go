package qemu

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"pyro/api"
	"pyro/internal/agent/process"
	"pyro/internal/agent/wire"
	"pyro/internal/frame"
	"pyro/internal/runtime"
	"pyro/internal/runtime/machines"
)

// workDir is where commands start unless they say otherwise.
const workDir = "/workspace"

// command is a running command. It implements runtime.Process.
type command struct {
	m      *machine
	conn   net.Conn
	out    *frame.Writer
	pid    int
	input  net.Conn // nil without
	ended  chan struct{}
	exit   runtime.Exit // valid once ended is closed, as err
	err    error
	output error // of the writers that the caller gave
}

// Start implements runtime.Machine.
func (m *machine) Start(ctx context.Context, cmd runtime.Command) (runtime.Process, error) {
	p := wire.ExecParams{Argv: cmd.Argv, Env: process.Environ(process.DefaultEnv, m.rec.Spec.Env, cmd.Env), Dir: cmd.Dir}
	if p.Dir == "" {
		p.Dir = workDir
	}
	if cmd.Stdin != nil {
		p.Input = rand.Text()
	}
	conn, err := m.open(ctx, wire.Open{Service: wire.ServiceExec, Exec: &p})
	if err != nil {
		return nil, m.OrEnded(err)
	}
	c := &command{m: m, conn: conn, out: frame.NewWriter(conn), ended: make(chan struct{})}
	in := frame.NewReader(conn)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err = c.begin(in, p)
	if !stop() && err == nil {
		_ = c.Kill() // the caller went away at the last moment
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	m.commands.Add(1)
	if cmd.Stdin != nil {
		if c.input, err = m.open(ctx, wire.Open{Service: wire.ServiceInput, Input: p.Input}); err != nil {
			_ = c.Kill()
			conn.Close()
			return nil, m.OrEnded(err)
		}
		go func() {
			_, _ = io.Copy(c.input, cmd.Stdin)
			c.input.Close()
		}()
	}
	go c.pump(in, cmd)
	return c, nil
}

// begin waits for the agent's word that the command runs.
func (c *command) begin(in *frame.Reader, p wire.ExecParams) error {
	t, payload, err := in.Next()
	if err != nil {
		return c.m.OrEnded(err)
	}
	switch t {
	case wire.FrameStarted:
		var s wire.Started
		if err := json.Unmarshal(payload, &s); err != nil || s.PID <= 1 {
			return api.Errorf(api.KindInternal, "sandbox %s: the agent's answer makes no sense", c.m.ID())
		}
		c.pid = s.PID
		return nil
	case wire.FrameFailed:
		var f wire.Failed
		if err := json.Unmarshal(payload, &f); err != nil {
			return api.Errorf(api.KindInternal, "sandbox %s: %w", c.m.ID(), err)
		}
		return c.m.startError(p, f)
	}
	return api.Errorf(api.KindInternal, "sandbox %s: unexpected frame of type %d", c.m.ID(), t)
}

// startError turns the agent's answer into a typed error.
func (m *machine) startError(p wire.ExecParams, f wire.Failed) error {
	name := ""
	if len(p.Argv) > 0 {
		name = p.Argv[0]
	}
	switch {
	case f.BadDir:
		return machines.NoFolder(m.ID(), p.Dir)
	case f.Missing:
		return machines.NoCommand(name)
	case f.Kind == wire.KindExec:
		return machines.NotExecutable(name)
	}
	return api.Errorf(api.KindInternal, "sandbox %s: %s", m.ID(), f.Message)
}

// pump delivers the output up to the exit.
func (c *command) pump(in *frame.Reader, cmd runtime.Command) {
	defer close(c.ended)
	defer c.conn.Close()
	defer c.m.commands.Add(1)
	to := map[frame.Type]io.Writer{wire.FrameStdout: cmd.Stdout, wire.FrameStderr: cmd.Stderr}
	for {
		t, payload, err := in.Next()
		if err != nil {
			c.err = err
			return
		}
		switch t {
		case wire.FrameStdout, wire.FrameStderr:
			c.deliver(to[t], payload)
		case wire.FrameExit:
			var e wire.Exit
			c.err = json.Unmarshal(payload, &e)
			c.exit = runtime.Exit{Code: e.Code, Signal: e.Signal}
			return
		default:
			c.err = fmt.Errorf("unexpected frame of type %d", t)
			return
		}
	}
}

// deliver writes output. Once a writer has failed, nobody wants the rest: the
// command gets SIGPIPE, as in a shell.
func (c *command) deliver(w io.Writer, p []byte) {
	if w == nil || c.output != nil {
		return
	}
	if _, err := w.Write(p); err != nil {
		c.output = err
		_ = c.out.Write(wire.FrameUnread, nil)
	}
}

// Wait implements runtime.Process.
func (c *command) Wait() (runtime.Exit, error) {
	<-c.ended
	if c.input != nil {
		c.input.Close()
	}
	switch {
	case c.err != nil:
		return runtime.Exit{}, c.m.OrEnded(c.err)
	case c.output != nil:
		return c.exit, api.Errorf(api.KindCanceled, "output of the command cannot be delivered: %w", c.output)
	}
	return c.exit, nil
}

// Signal implements runtime.Process.
func (c *command) Signal(sig syscall.Signal) error {
	select {
	case <-c.ended:
		return nil
	default:
	}
	if err := c.out.WriteJSON(wire.FrameSignal, wire.Signal{Signal: int(sig)}); err != nil {
		select {
		case <-c.ended:
			return nil
		case <-c.m.Done():
			return nil
		case <-time.After(machines.EndTime):
			return api.Errorf(api.KindInternal, "signal to a command in sandbox %s: %w", c.m.ID(), err)
		}
	}
	return nil
}

// Kill implements runtime.Process.
func (c *command) Kill() error {
	if err := c.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	agent, err := c.m.client(ctx)
	if err == nil {
		err = agent.Call(ctx, wire.KillSession, wire.KillSessionParams{PID: c.pid}, nil)
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return c.m.OrEnded(err)
	}
	return nil
}
