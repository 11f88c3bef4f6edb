package vsock

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Listener accepts connections. It implements net.Listener.
type Listener struct {
	file *os.File
	addr Addr
	only uint32
}

var _ net.Listener = (*Listener)(nil)

// backlog is how many connections wait for Accept.
const backlog = 128

// Listen listens on a port of the given address of this machine, for connections
// from one CID only: others are hung up on. EAFNOSUPPORT says that the kernel has
// no vsock, EADDRNOTAVAIL that the address is none of this machine's.
func Listen(cid, port, only uint32) (*Listener, error) {
	addr := Addr{CID: cid, Port: port}
	fd, err := newSocket()
	if err == nil {
		if err = os.NewSyscallError("bind", unix.Bind(fd, addr.sockaddr())); err == nil {
			err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
		}
		if err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: addr.Network(), Addr: addr, Err: err}
	}
	return &Listener{file: os.NewFile(uintptr(fd), "vsock"), addr: addr, only: only}, nil
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.accept()
		if err != nil {
			return nil, &net.OpError{Op: "accept", Net: l.addr.Network(), Addr: l.addr, Err: err}
		}
		if c.remote.CID == l.only {
			return c, nil
		}
		c.Close()
	}
}

func (l *Listener) accept() (*Conn, error) {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var from unix.Sockaddr
	var failed error
	err = raw.Read(func(listening uintptr) bool {
		for {
			fd, from, failed = unix.Accept4(int(listening), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			switch failed {
			case unix.EINTR, unix.ECONNABORTED, unix.ECONNRESET: // the one that came has gone
				continue
			}
			return failed != unix.EAGAIN
		}
	})
	if err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, os.NewSyscallError("accept", failed)
	}
	return newConn(fd, addrOf(from)), nil
}

// Close implements net.Listener.
func (l *Listener) Close() error { return l.file.Close() }

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.addr }
