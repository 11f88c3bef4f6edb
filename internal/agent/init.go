package agent

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/boot"
	"pyro/internal/agent/mux"
	"pyro/internal/agent/process"
	"pyro/internal/agent/service"
	"pyro/internal/agent/shell"
	"pyro/internal/agent/spool"
	"pyro/internal/agent/wire"
)

// outputDir is where shells and services keep their output.
const outputDir = "/run/pyro/agent"

// spareThreads is how many idle threads the agent keeps. At the limit of
// processes the Go runtime could not make a new one and would crash; with
// enough idle ones it never has to.
const spareThreads = 6

// runInit is the life of process 1. It returns only if it cannot serve.
func runInit(pidLimit int) int {
	g := newGuest()
	g.prepare(pidLimit)
	listener, err := net.Listen("unix", socketName)
	if err != nil {
		return exitFailed
	}
	go g.serveAndClose(newPipePair(ControlIn, ControlOut))
	for {
		conn, err := listener.Accept()
		if err != nil {
			return exitFailed
		}
		go g.welcome(conn.(*net.UnixConn))
	}
}

// welcome serves the pipes that a relay hands over.
func (g *guest) welcome(conn *net.UnixConn) {
	if !peerIsRoot(conn) {
		conn.Close()
		return
	}
	pipes, err := takeOver(conn)
	conn.Close() // the relay has nothing more to do
	if err == nil {
		g.serveAndClose(pipes)
	}
}

func (g *guest) serveAndClose(pipes pipePair) {
	defer pipes.Close()
	g.serve(pipes)
}

// runMachine is runInit in a guest with a kernel of its own, which is reached
// over a serial port, until the host asks for vsock.
func runMachine() int {
	booted, err := boot.Run()
	if err != nil {
		boot.Panic(err)
		return exitFailed
	}
	layers := map[string]layerOf{}
	for mount, l := range booted.Layers {
		layers[mount] = layerOf{disk: l.Disk, upper: l.Upper}
	}
	g := newGuest()
	g.ownKernel = true
	g.prepare(booted.PIDs)
	s := newStreams(g, layers)
	g.vsock = &vsockDoor{serve: s.serve, proven: sync.OnceFunc(func() { booted.Port.Close() })}
	err = mux.Guest(booted.Port, s.serve)
	g.vsock.wait()
	boot.Panic(err)
	return exitFailed
}

func newGuest() *guest {
	return &guest{kill: syscall.Kill, files: make(chan struct{}, maxFileCalls)}
}

// prepare makes the guest ready to be served.
func (g *guest) prepare(pidLimit int) {
	detachStdio()
	g.problem("folder /workspace", os.MkdirAll("/workspace", 0o755))
	g.problem("folder /tmp", diskTmp())
	g.problem("shells and services", g.supervise())
	keepThreads(spareThreads)
	if pidLimit > 0 {
		pids, err := limitPIDs(pidLimit)
		g.problem("process limit", err)
		g.pids = pids
	}
}

// detachStdio lets go of the descriptors that came from the host process which
// made the sandbox: they are not ours to keep open.
func detachStdio() {
	null, err := unix.Open("/dev/null", unix.O_RDWR, 0)
	if err != nil {
		return
	}
	for fd := range 3 {
		_ = unix.Dup3(null, fd, 0)
	}
	if null > 2 {
		unix.Close(null)
	}
}

// diskTmp takes away the file system in memory that gVisor mounts over an
// empty /tmp. On the disk, temporary files count against the disk's limit as
// one expects, and not against the memory's.
func diskTmp() error {
	if err := unix.Unmount("/tmp", unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
		return err
	}
	const mode = os.ModeSticky | 0o777
	st, err := os.Stat("/tmp")
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Mkdir("/tmp", 0o777)
	} else if err == nil && st.Mode() == fs.ModeDir|mode {
		return nil // as nearly always: nothing is changed on the disk
	}
	if err != nil {
		return err
	}
	return os.Chmod("/tmp", mode)
}

// keepThreads makes the runtime own n idle threads: it holds n goroutines on
// threads of their own at the same time and then lets them go.
func keepThreads(n int) {
	var all, release sync.WaitGroup
	release.Add(1)
	for range n {
		all.Add(1)
		go func() {
			runtime.LockOSThread()
			all.Done()
			release.Wait()
			runtime.UnlockOSThread()
		}()
	}
	all.Wait()
	release.Done()
}

// supervise makes the guest ready for shells and services, and begins to
// collect its children. It must come before the limit of processes, which takes
// the cgroups out of sight.
func (g *guest) supervise() error {
	processes, err := process.NewTable()
	if err != nil {
		return err
	}
	go processes.Reap()
	g.processes = processes
	groups := &process.Groups{}
	if dir, err := ownCgroup(); err == nil {
		if found, err := process.OpenGroups(dir); err == nil {
			groups = found
		}
	}
	// What is there is of an earlier life of this disk. That the folder cannot
	// be made is no reason to fail: output is kept in memory then.
	_ = os.RemoveAll(outputDir)
	_ = os.MkdirAll(outputDir, 0o700)
	pump := &spool.Pump{}
	g.shells = shell.NewSet(outputDir, processes, pump)
	g.services = service.NewSet(outputDir, processes, groups, pump)
	return nil
}

// guest is the state that all streams share. It does not change after start.
type guest struct {
	pids      *pidCgroup
	problems  []string
	ownKernel bool       // its kernel is that of no other sandbox
	vsock     *vsockDoor // nil without a kernel of its own
	kill      process.Kill
	files     chan struct{}  // holds one for each call about files that runs; nil if there can be none
	processes *process.Table // nil if there can be no children
	shells    *shell.Set     // nil if there can be none
	services  *service.Set   // nil if there can be none
}

func (g *guest) problem(what string, err error) {
	if err != nil {
		g.problems = append(g.problems, what+": "+err.Error())
	}
}

func (g *guest) hello() wire.Hello {
	h := wire.Hello{Protocol: wire.Protocol, Version: Version, Problems: g.problems}
	if g.pids != nil {
		h.PIDLimit = g.pids.limit
	}
	return h
}
