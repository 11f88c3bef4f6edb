// Package process starts, follows and ends the processes that the agent owns.
//
// # Terms
//
// The agent is the init of its guest: it inherits every orphan and must collect
// each child that ends. One [Table] does both that and the bookkeeping: it starts
// a process and knows it before it can be collected, so that no exit code is lost.
// Nothing else in the agent may start a child.
//
// Every process gets a session of its own. That is enough to signal it, but not
// to end all that it starts, since a child can leave for another session. A
// [Group] follows them: it is a cgroup of the guest's kernel, which no process
// leaves by itself and whose processes can be killed in one step. Where the
// kernel offers none, a group is what /proc shows: the session and all
// descendants of its members.
//
// # Rights
//
// The agent may mount and trace, its children may not. Go cannot drop
// capabilities between fork and exec, and a helper program between agent and
// command would cost another start. But capabilities belong to threads: one
// thread of the agent has given up all but those in [Capabilities], from the
// bounding set too, does nothing but start processes, and so passes on no more
// than it has.
package process

import (
	"errors"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
)

// Command is what to start. Argv, Dir and Env are required and complete.
type Command struct {
	Argv []string // Argv[0] is looked up in the PATH of Env, relative ones from Dir
	Dir  string
	Env  []string // KEY=VALUE
	// Stdin, Stdout and Stderr are handed to the process; nil is /dev/null. The
	// caller closes its own ends.
	Stdin, Stdout, Stderr *os.File
	// Terminal makes Stdin the controlling terminal.
	Terminal bool
	// Group is where the process and all that it starts belong. Optional.
	Group *Group
}

// Process is a process that was started.
type Process struct {
	// PID is that of the process, of its process group and of its session.
	PID    int
	table  *Table
	done   chan struct{}
	code   int // once done is closed
	signal int
}

// Done is closed when the process has ended and was collected.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is that of a process that is done: 128+n if signal n ended it.
func (p *Process) ExitCode() int { return p.code }

// EndedBy is the signal that ended a process that is done, or 0.
func (p *Process) EndedBy() int { return p.signal }

// Signal sends a signal to the process alone, and to nothing if it is done.
func (p *Process) Signal(sig syscall.Signal) error {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	if p.table.running[p.PID] != p {
		return nil
	}
	return syscall.Kill(p.PID, sig)
}

// Table knows the processes that the agent started.
type Table struct {
	spawner *spawner

	// mu is held from before a fork until the child is known, and from before a
	// child is collected until it is forgotten: a pid in running is that of the
	// process which it names.
	mu      sync.Mutex
	running map[int]*Process
}

// NewTable returns a table whose processes have no more than Capabilities. It
// must be called before the agent limits its own threads.
func NewTable() (*Table, error) {
	if err := keepDescriptors(); err != nil {
		return nil, err
	}
	s, err := newSpawner()
	if err != nil {
		return nil, err
	}
	return &Table{spawner: s, running: make(map[int]*Process)}, nil
}

// keepDescriptors sees to it that no process gets a descriptor which the agent
// itself was started with. Those that it opens are marked when they are made.
func keepDescriptors() error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}

// Start starts a process. That the command cannot be executed is a *wire.Error.
func (t *Table) Start(cmd Command) (*Process, error) {
	path, err := lookUp(cmd.Argv, cmd.Dir, cmd.Env)
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	attr := &syscall.ProcAttr{Dir: cmd.Dir, Env: cmd.Env, Sys: &syscall.SysProcAttr{Setsid: true, Setctty: cmd.Terminal}}
	for _, f := range []*os.File{cmd.Stdin, cmd.Stdout, cmd.Stderr} {
		if f == nil {
			f = null
		}
		attr.Files = append(attr.Files, descriptor(f))
	}
	if cmd.Group != nil {
		dir, err := cmd.Group.open()
		if err != nil {
			return nil, err
		}
		if dir != nil {
			defer dir.Close()
			attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(descriptor(dir))
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	pid, err := t.spawner.start(path, cmd.Argv, attr)
	if err != nil {
		return nil, startError(cmd, err)
	}
	p := &Process{PID: pid, table: t, done: make(chan struct{})}
	t.running[pid] = p
	if cmd.Group != nil {
		cmd.Group.leader.CompareAndSwap(0, int64(pid))
	}
	return p, nil
}

// descriptor returns the number of f without making it block, as Fd does.
func descriptor(f *os.File) uintptr {
	number := ^uintptr(0)
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { number = fd })
	}
	return number
}

// Reap collects children, those of the table and inherited orphans, as they
// end. It never returns.
func (t *Table) Reap() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	for {
		t.collect()
		<-ended
	}
}

func (t *Table) collect() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if pid <= 0 {
			return
		}
		p := t.running[pid]
		if p == nil {
			continue
		}
		p.code = status.ExitStatus()
		if status.Signaled() {
			p.signal = int(status.Signal())
			p.code = 128 + p.signal
		}
		delete(t.running, pid)
		close(p.done)
	}
}
