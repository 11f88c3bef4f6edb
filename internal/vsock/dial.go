package vsock

import (
	"context"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// patience is how long the kernel waits for a machine to answer, which may be
// emulated, or short of processor time. Its own would be two seconds.
const patience = 30

// Dial connects to a port of a machine. ETIMEDOUT says that the machine does not
// answer, ENODEV that none has the CID, ECONNRESET that nothing listens there.
// Cancelling ctx ends it earlier.
func Dial(ctx context.Context, cid, port uint32) (*Conn, error) {
	remote := Addr{CID: cid, Port: port}
	c, err := dial(ctx, remote)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, &net.OpError{Op: "dial", Net: remote.Network(), Addr: remote, Err: err}
	}
	return c, nil
}

func dial(ctx context.Context, remote Addr) (*Conn, error) {
	fd, err := newSocket()
	if err != nil {
		return nil, err
	}
	// Without it the kernel is less patient, which is no reason to fail.
	_ = unix.SetsockoptTimeval(fd, unix.AF_VSOCK, unix.SO_VM_SOCKETS_CONNECT_TIMEOUT, &unix.Timeval{Sec: patience})
	err = unix.Connect(fd, remote.sockaddr())
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	c := newConn(fd, remote)
	stop := context.AfterFunc(ctx, func() { c.Close() })
	if err != nil {
		err = c.connected()
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// connected waits for the end of connect(2).
func (c *Conn) connected() error {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		if n, err := unix.Poll(polled, 0); err != nil || n == 0 {
			return false
		}
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if failed = err; err == nil && code != 0 {
			failed = os.NewSyscallError("connect", unix.Errno(code))
		}
		return true
	})
	if err == nil {
		err = failed
	}
	return err
}
