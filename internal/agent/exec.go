package agent

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/process"
	"pyro/internal/agent/wire"
	"pyro/internal/frame"
)

// exec runs one command for the host.
func (s *streams) exec(conn net.Conn, in *frame.Reader, p wire.ExecParams) {
	out := frame.NewWriter(conn)
	c := &execution{out: out}
	if err := c.start(s, p); err != nil {
		_ = out.WriteJSON(wire.FrameFailed, explain(err, p)) // an error means that nobody is there
		return
	}
	if out.WriteJSON(wire.FrameStarted, wire.Started{PID: c.process.PID}) != nil {
		c.abandon()
	}
	go c.obey(in)
	if p.Input != "" {
		go c.feed(s, p.Input)
	}
	<-c.process.Done()
	c.finish()
	close(c.ended)
	_ = out.WriteJSON(wire.FrameExit, wire.Exit{Code: c.process.ExitCode(), Signal: c.process.EndedBy()})
}

// explain adds what the host needs for the exit code that stands for an error.
func explain(err error, p wire.ExecParams) wire.Failed {
	f := failed(err)
	if st, statErr := os.Stat(p.Dir); statErr != nil || !st.IsDir() {
		f.BadDir = true
	} else if len(p.Argv) == 0 || p.Argv[0] == "" {
		f.Kind, f.Missing = wire.KindExec, true
	} else if e, ok := errors.AsType[*wire.Error](err); ok {
		f.Missing = e.Kind == wire.KindExec && errors.Is(e.Err, fs.ErrNotExist)
	}
	return f
}

// execution is a command while it runs.
type execution struct {
	out     *frame.Writer
	process *process.Process
	input   *os.File // nil without
	coming  chan net.Conn
	pumps   []*pump
	ended   chan struct{}
}

// start starts the command with pipes as its standard streams.
func (c *execution) start(s *streams, p wire.ExecParams) (err error) {
	if s.guest.processes == nil {
		return errors.New("the agent could not prepare to start processes")
	}
	c.ended = make(chan struct{})
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			c.abandon()
		}
	}()
	cmd := process.Command{Argv: p.Argv, Dir: p.Dir, Env: p.Env}
	if cmd.Stdin, c.input, err = os.Pipe(); err != nil {
		return err
	}
	theirs = append(theirs, cmd.Stdin)
	_ = cmd.Stdin.Fd() // makes it block: commands expect that of their streams
	if p.Input == "" {
		c.input.Close()
		c.input = nil
	} else {
		c.coming = s.expect(p.Input)
	}
	for fd, t := range map[**os.File]frame.Type{&cmd.Stdout: wire.FrameStdout, &cmd.Stderr: wire.FrameStderr} {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		*fd = w
		_ = w.Fd()
		theirs = append(theirs, w)
		c.pumps = append(c.pumps, &pump{from: r, to: c.out, kind: t, done: make(chan struct{})})
	}
	if c.process, err = s.guest.processes.Start(cmd); err != nil {
		if p.Input != "" {
			s.forget(p.Input, c.coming)
		}
		return err
	}
	for _, p := range c.pumps {
		go p.run()
	}
	return nil
}

// abandon closes our ends of the pipes: nobody wants the output.
func (c *execution) abandon() {
	if c.input != nil {
		c.input.Close()
	}
	c.unread()
}

// unread closes our ends of the output: who writes it gets SIGPIPE, as in a shell.
func (c *execution) unread() {
	for _, p := range c.pumps {
		p.from.Close()
	}
}

// obey passes on the host's signals. When the host goes, the command is left
// alone, but nobody reads what it writes any more.
func (c *execution) obey(in *frame.Reader) {
	for {
		t, payload, err := in.Next()
		if err == nil && t == wire.FrameUnread {
			c.unread()
			continue
		}
		var s wire.Signal
		if err != nil || t != wire.FrameSignal || json.Unmarshal(payload, &s) != nil {
			select {
			case <-c.ended:
			default:
				c.abandon()
			}
			return
		}
		_ = syscall.Kill(-c.process.PID, syscall.Signal(s.Signal)) // it may have ended
	}
}

// feed copies the input's stream to the command.
func (c *execution) feed(s *streams, name string) {
	defer c.input.Close()
	select {
	case conn := <-c.coming:
		defer conn.Close()
		go func() { // a command that ends has read enough
			<-c.process.Done()
			conn.Close()
		}()
		_, _ = io.Copy(c.input, conn)
	case <-c.process.Done():
		s.forget(name, c.coming)
	}
}

// finish sends what the command had written when it ended.
func (c *execution) finish() {
	for _, p := range c.pumps {
		p.finish()
	}
	for _, p := range c.pumps {
		<-p.done
	}
}

// pump sends one output.
type pump struct {
	from *os.File
	to   *frame.Writer
	kind frame.Type
	once sync.Once
	done chan struct{}
}

// pumpSize is what is read at once.
const pumpSize = 64 << 10

// run sends until the end of the pipe or, once the command has ended, until what
// was in the pipe then is sent. What others write after that is thrown away:
// they should not suffer from the end of a command that left them behind.
func (p *pump) run() {
	defer p.from.Close()
	buf := make([]byte, pumpSize)
	for {
		n, err := p.from.Read(buf)
		if n > 0 && p.to.Write(p.kind, buf[:n]) != nil {
			p.end()
			return // the command gets SIGPIPE, as in a shell
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.drain(buf)
			p.end()
			_ = p.from.SetReadDeadline(noDeadline)
			_, _ = io.Copy(io.Discard, p.from)
			return
		case err != nil:
			p.end()
			return
		}
	}
}

func (p *pump) end() { p.once.Do(func() { close(p.done) }) }

// finish tells run that the command has ended.
func (p *pump) finish() { _ = p.from.SetReadDeadline(longAgo) }

// drain sends what is in the pipe now, and no more.
func (p *pump) drain(buf []byte) {
	raw, err := p.from.SyscallConn()
	if err != nil {
		return
	}
	left := 0
	_ = raw.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	for left > 0 {
		n := 0
		_ = raw.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), buf[:min(left, len(buf))]) })
		if n <= 0 || p.to.Write(p.kind, buf[:n]) != nil {
			return
		}
		left -= n
	}
}
