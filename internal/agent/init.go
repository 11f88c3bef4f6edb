package agent

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/wire"
)

// socketName is the abstract socket that relay connects to.
const socketName = "@pyro-agent"

// spareThreads is how many idle threads the agent keeps. At the limit of
// processes the Go runtime could not make a new one and would crash; with
// enough idle ones it never has to.
const spareThreads = 6

// runInit is the life of process 1. It returns only if it cannot serve.
func runInit(pidLimit int) int {
	detachStdio()
	g := &guest{kill: syscall.Kill}
	g.problem("folder /workspace", os.MkdirAll("/workspace", 0o755))
	g.problem("folder /tmp", diskTmp())
	keepThreads(spareThreads)
	if pidLimit > 0 {
		pids, err := limitPIDs(pidLimit)
		g.problem("process limit", err)
		g.pids = pids
	}
	go reap()

	listener, err := net.Listen("unix", socketName)
	if err != nil {
		return exitFailed
	}
	go func() {
		control := pipePair{in: os.NewFile(ControlIn, "control-in"), out: os.NewFile(ControlOut, "control-out")}
		defer control.Close()
		g.serve(control)
	}()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return exitFailed
		}
		go func() {
			defer conn.Close()
			if peerIsRoot(conn) {
				g.serve(conn)
			}
		}()
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

// reap collects the orphans that every init inherits.
func reap() {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for range children {
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 && err != syscall.EINTR {
				break
			}
		}
	}
}

// peerIsRoot keeps the guest's ordinary users from the agent's powers.
func peerIsRoot(conn net.Conn) bool {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return false
	}
	root := false
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		root = err == nil && cred.Uid == 0
	})
	return err == nil && root
}

// guest is the state that all streams share. It does not change after start.
type guest struct {
	pids     *pidCgroup
	problems []string
	kill     killer
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
