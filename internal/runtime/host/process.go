package host

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/runtime"
)

type process struct {
	m   *machine
	cmd *exec.Cmd

	mu    sync.Mutex
	ended bool // the first process has ended: its pid may be anyone's soon; guarded by mu

	done chan struct{} // closed when exit and err are set and the output is delivered
	exit runtime.Exit
	err  error
}

// Start forks the command. ctx bounds nothing: forking does not wait.
func (m *machine) Start(_ context.Context, c runtime.Command) (runtime.Process, error) {
	if len(c.Argv) == 0 {
		return nil, api.Errorf(api.KindUsage, "the command is empty")
	}
	m.starting.RLock()
	defer m.starting.RUnlock()
	if m.retired {
		return nil, m.gone()
	}
	dir := m.workdir(c.Dir)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, &api.Error{Kind: api.KindExec, Message: "folder " + c.Dir + " of the command does not exist", Err: syscall.ENOTDIR}
	}
	env := m.environ(c.Env)
	path, errno := lookPath(c.Argv[0], dir, env)
	if errno != 0 {
		return nil, execError(c.Argv[0], errno)
	}
	p := &process{m: m, done: make(chan struct{})}
	p.cmd = &exec.Cmd{Path: path, Args: c.Argv, Env: env, Dir: dir, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err := p.start(c); err != nil {
		return nil, err
	}
	return p, nil
}

func execError(name string, errno syscall.Errno) *api.Error {
	message := "command \"" + name + "\" cannot be executed: " + errno.Error()
	if errno == syscall.ENOENT {
		message = "command \"" + name + "\" was not found"
	}
	return &api.Error{Kind: api.KindExec, Message: message, Err: errno}
}

// start connects the pipes, forks, and leaves a goroutine behind that collects the exit.
func (p *process) start(c runtime.Command) error {
	pipes, err := newPipes(p.cmd, c)
	if err != nil {
		return err
	}
	defer pipes.closeChildEnds()
	if err := p.cmd.Start(); err != nil {
		pipes.closeOwnEnds()
		if errno, ok := errors.AsType[syscall.Errno](err); ok && errno != syscall.EAGAIN && errno != syscall.ENOMEM {
			return execError(c.Argv[0], errno)
		}
		return api.Errorf(api.KindInternal, "command %q: %w", c.Argv[0], err)
	}
	p.m.mu.Lock()
	p.m.sessions[p.cmd.Process.Pid] = true
	p.m.mu.Unlock()
	pipes.run()
	go p.collect(pipes)
	return nil
}

func (p *process) collect(io *pipes) {
	pid := p.cmd.Process.Pid
	// First see the end without reaping, so that no signal can reach a process
	// that got the same number.
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.m.mu.Lock()
	delete(p.m.sessions, pid)
	p.m.mu.Unlock()

	err := p.cmd.Wait()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		p.err = api.Errorf(api.KindInternal, "end of command %q: %w", p.cmd.Args[0], err)
	} else {
		p.exit = exitOf(p.cmd.ProcessState.Sys().(syscall.WaitStatus))
	}
	io.drain()
	close(p.done)
}

func exitOf(ws syscall.WaitStatus) runtime.Exit {
	if ws.Signaled() {
		return runtime.Exit{Code: api.ExitSignalBase + int(ws.Signal()), Signal: int(ws.Signal())}
	}
	return runtime.Exit{Code: ws.ExitStatus()}
}

func (p *process) Wait() (runtime.Exit, error) {
	<-p.done
	return p.exit, p.err
}

func (p *process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil
	}
	if err := syscall.Kill(-p.cmd.Process.Pid, sig); err != nil && err != syscall.ESRCH {
		return api.Errorf(api.KindInternal, "signal %s to command %q: %w", sig, p.cmd.Args[0], err)
	}
	return nil
}

// Kill ends the command's session. When the first process has ended, only
// processes with the machine's mark count, because its number may be reused.
func (p *process) Kill() error {
	sid := p.cmd.Process.Pid
	return endTree(context.Background(), func(q proc) verdict {
		if q.session != sid {
			return stranger
		}
		p.mu.Lock()
		ended := p.ended
		p.mu.Unlock()
		if !ended {
			return mine
		}
		return q.marked(p.m.path)
	})
}
