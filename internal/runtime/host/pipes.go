package host

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/runtime"
)

// pipes connects a command with its caller. It does what os/exec would, except
// that processes which the command leaves in the background, and which hold the
// pipes open, do not hold up the end of the command.
type pipes struct {
	child   []*os.File // the command's ends
	stdin   *os.File   // our end; nil for an empty input
	source  io.Reader
	outputs []*output
}

func newPipes(cmd *exec.Cmd, c runtime.Command) (_ *pipes, err error) {
	p := &pipes{source: c.Stdin}
	defer func() {
		if err != nil {
			p.closeChildEnds()
			p.closeOwnEnds()
			err = api.Errorf(api.KindUnavailable, "pipe for command %q: %w", c.Argv[0], err)
		}
	}()
	// A nil field of exec.Cmd is /dev/null.
	if c.Stdin != nil {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		cmd.Stdin, p.stdin = r, w
		p.child = append(p.child, r)
	}
	if c.Stdout != nil {
		w, err := p.output(c.Stdout)
		if err != nil {
			return nil, err
		}
		cmd.Stdout = w
	}
	if c.Stderr != nil {
		w, err := p.output(c.Stderr)
		if err != nil {
			return nil, err
		}
		cmd.Stderr = w
	}
	return p, nil
}

func (p *pipes) output(to io.Writer) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.child = append(p.child, w)
	p.outputs = append(p.outputs, &output{r: r, to: to, delivered: make(chan struct{})})
	return w, nil
}

func (p *pipes) closeChildEnds() {
	for _, f := range p.child {
		f.Close()
	}
}

func (p *pipes) closeOwnEnds() {
	if p.stdin != nil {
		p.stdin.Close()
	}
	for _, o := range p.outputs {
		o.r.Close()
	}
}

// run starts the copying.
func (p *pipes) run() {
	if p.stdin != nil {
		go func() {
			_, _ = io.Copy(p.stdin, p.source) // ends with EPIPE when nobody reads any more
			p.stdin.Close()
		}()
	}
	for _, o := range p.outputs {
		go o.copy()
	}
}

// drain is called when the command's first process has ended. It returns when
// all output written until then is delivered.
func (p *pipes) drain() {
	if p.stdin != nil {
		p.stdin.Close()
	}
	for _, o := range p.outputs {
		o.r.SetReadDeadline(time.Now()) // wakes copy, which then takes what is left
	}
	for _, o := range p.outputs {
		<-o.delivered
	}
}

// output carries one of stdout and stderr.
type output struct {
	r         *os.File
	to        io.Writer
	failed    bool          // to refused a write; only copy uses it
	delivered chan struct{} // closed when all is written that the command wrote until it ended
}

func (o *output) copy() {
	defer o.r.Close()
	_, err := io.Copy(o, o.r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		o.r.SetReadDeadline(time.Time{})
		_, _ = io.CopyN(o, o.r, o.pending()) // ends early if all writers are gone
	}
	close(o.delivered)
	// Go on reading, so that a background process that still writes is not
	// ended by SIGPIPE.
	_, _ = io.Copy(io.Discard, o.r)
}

// Write passes p on; once that has failed, output is thrown away, so that the
// command does not block on a reader that is gone.
func (o *output) Write(p []byte) (int, error) {
	if !o.failed {
		_, err := o.to.Write(p)
		o.failed = err != nil
	}
	return len(p), nil
}

// pending returns how many bytes are in the pipe now, 0 if it is closed.
func (o *output) pending() (n int64) {
	conn, err := o.r.SyscallConn()
	if err != nil {
		return 0
	}
	_ = conn.Control(func(fd uintptr) {
		v, _ := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		n = int64(v)
	})
	return n
}
