package gvisor

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/agent/process"
	"pyro/internal/agent/wire"
	"pyro/internal/runtime"
	"pyro/internal/runtime/machines"
)

// pipeSize is asked for each output pipe: larger ones mean fewer switches
// between guest and host. The kernel may refuse, which costs only speed.
const pipeSize = 256 << 10

// command is a running command. It implements runtime.Process.
type command struct {
	m       *machine
	pid     int32
	stdin   *os.File // our end; nil without input
	outputs []*output
}

// Start implements runtime.Machine.
func (m *machine) Start(_ context.Context, cmd runtime.Command) (runtime.Process, error) {
	c := &command{m: m}
	files, err := c.openFiles(cmd)
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if err != nil {
		c.closeHostEnds()
		return nil, api.Errorf(api.KindInternal, "sandbox %s: %w", m.ID(), err)
	}
	m.countCommands(1)
	dir := cmd.Dir
	if dir == "" {
		dir = workDir
	}
	c.pid, err = m.execute(cmd.Argv, process.Environ(process.DefaultEnv, m.rec.Spec.Env, cmd.Env), dir, false, files)
	if err != nil {
		m.countCommands(-1)
		c.closeHostEnds()
		return nil, m.startError(cmd, dir, err)
	}
	for _, o := range c.outputs {
		go o.pump()
	}
	if c.stdin != nil {
		go func() {
			_, _ = io.Copy(c.stdin, cmd.Stdin)
			c.stdin.Close()
		}()
	}
	return c, nil
}

// openFiles makes the three pipes and returns the guest's ends.
func (c *command) openFiles(cmd runtime.Command) (map[int]*os.File, error) {
	files := make(map[int]*os.File, 3)
	in, stdin, err := os.Pipe()
	if err != nil {
		return files, err
	}
	files[0] = in
	if cmd.Stdin == nil {
		stdin.Close()
	} else {
		c.stdin = stdin
	}
	for fd, w := range []io.Writer{1: cmd.Stdout, 2: cmd.Stderr} {
		if fd == 0 {
			continue
		}
		if w == nil {
			w = io.Discard
		}
		r, out, err := os.Pipe()
		if err != nil {
			return files, err
		}
		_, _ = unix.FcntlInt(r.Fd(), unix.F_SETPIPE_SZ, pipeSize)
		_ = unix.SetNonblock(int(r.Fd()), true) // Fd made it blocking
		files[fd] = out
		c.outputs = append(c.outputs, &output{from: r, to: w, done: make(chan error, 1)})
	}
	return files, nil
}

func (c *command) closeHostEnds() {
	if c.stdin != nil {
		c.stdin.Close()
	}
	for _, o := range c.outputs {
		o.from.Close()
	}
}

// Wait implements runtime.Process.
func (c *command) Wait() (runtime.Exit, error) {
	defer c.m.countCommands(-1)
	status, err := c.m.sandbox.WaitPID(c.m.ID(), c.pid)
	if c.stdin != nil {
		c.stdin.Close()
	}
	var outErr error
	for _, o := range c.outputs {
		o.finish()
	}
	for _, o := range c.outputs {
		if err := <-o.done; err != nil {
			outErr = err
		}
	}
	switch {
	case err != nil:
		return runtime.Exit{}, c.m.OrEnded(err)
	case outErr != nil:
		return exit(status), api.Errorf(api.KindCanceled, "output of the command cannot be delivered: %w", outErr)
	}
	return exit(status), nil
}

func exit(ws unix.WaitStatus) runtime.Exit {
	if ws.Signaled() {
		return runtime.Exit{Code: api.ExitSignalBase + int(ws.Signal()), Signal: int(ws.Signal())}
	}
	return runtime.Exit{Code: ws.ExitStatus()}
}

// Signal implements runtime.Process.
func (c *command) Signal(sig syscall.Signal) error {
	err := c.m.sandbox.SignalProcessGroup(c.m.ID(), c.pid, sig)
	if err != nil && c.m.Err() == nil && !gone(err) {
		return api.Errorf(api.KindInternal, "signal to a command in sandbox %s: %w", c.m.ID(), err)
	}
	return nil
}

// gone says whether a signal failed because its receiver has ended.
func gone(err error) bool {
	text := err.Error()
	return strings.Contains(text, "no such process") || strings.Contains(text, "no such thread group") || strings.Contains(text, "not found")
}

// Kill implements runtime.Process.
func (c *command) Kill() error {
	if err := c.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	agent, err := c.m.client(ctx)
	if err == nil {
		err = agent.Call(ctx, wire.KillSession, wire.KillSessionParams{PID: int(c.pid)}, nil)
	}
	if err != nil {
		return c.m.OrEnded(err)
	}
	return nil
}

// startError turns the sandbox's answer, of which only the text crosses the
// control socket, into a typed error.
func (m *machine) startError(cmd runtime.Command, dir string, err error) error {
	text := err.Error()
	name := cmd.Argv[0]
	switch {
	case strings.Contains(text, "working directory"):
		return machines.NoFolder(m.ID(), dir)
	case name == "", strings.Contains(text, syscall.ENOENT.Error()):
		return machines.NoCommand(name)
	case strings.Contains(text, syscall.EACCES.Error()), strings.Contains(text, syscall.ENOEXEC.Error()),
		strings.Contains(text, syscall.EISDIR.Error()), strings.Contains(text, syscall.ENOTDIR.Error()):
		return machines.NotExecutable(name)
	}
	return m.OrEnded(err)
}

// output carries one stream of a command from its pipe to a writer.
type output struct {
	from *os.File
	to   io.Writer
	done chan error // gets the writer's error, or nil, at the end
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// pump copies until the pipe's end or, once the command has ended, until what
// was in the pipe then is delivered.
func (o *output) pump() {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	defer o.from.Close()
	var writeErr error
	for {
		n, err := o.from.Read(*buf)
		if n > 0 && writeErr == nil {
			_, writeErr = o.to.Write((*buf)[:n])
		}
		switch {
		case writeErr != nil:
			o.done <- writeErr // the command gets SIGPIPE, as in a shell
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			o.done <- o.drain(*buf)
			return
		case err != nil:
			o.done <- nil
			return
		}
	}
}

// finish tells pump that the command has ended.
func (o *output) finish() {
	_ = o.from.SetReadDeadline(time.Unix(1, 0))
}

// drain delivers what is in the pipe now. A process that the command left in
// the background may write more, but no more than this is waited for.
func (o *output) drain(buf []byte) error {
	raw, err := o.from.SyscallConn()
	if err != nil {
		return err
	}
	left := 0
	_ = raw.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	for left > 0 {
		n := 0
		_ = raw.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), buf[:min(left, len(buf))]) })
		if n <= 0 {
			return nil
		}
		left -= n
		if _, err := o.to.Write(buf[:n]); err != nil {
			return err
		}
	}
	return nil
}
