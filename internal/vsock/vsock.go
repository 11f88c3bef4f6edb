// Package vsock connects a host with its virtual machines by sockets that have
// no network under them, see vsock(7).
//
// An address is a context id (CID), which names a machine, and a port. The host
// is [Host] for every machine; each machine has a CID of its own, which the kernel
// of the host gives to one at a time. What arrives with [Host] as its sender comes
// from the host: a machine can neither choose the CID that it sends from, nor
// reach another machine. But every process of the host may connect to every
// machine, and every machine to every process of the host that listens, see
// [Listeners].
package vsock

import (
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// CIDs that name no machine of their own.
const (
	Any   = uint32(unix.VMADDR_CID_ANY)   // to listen on: whatever this machine is called
	Local = uint32(unix.VMADDR_CID_LOCAL) // this machine itself, where its kernel has vsock_loopback
	Host  = uint32(unix.VMADDR_CID_HOST)
)

// Addr is the address of one end. It implements net.Addr.
type Addr struct{ CID, Port uint32 }

// Network implements net.Addr.
func (Addr) Network() string { return "vsock" }

func (a Addr) String() string { return fmt.Sprintf("%d:%d", a.CID, a.Port) }

func (a Addr) sockaddr() unix.Sockaddr { return &unix.SockaddrVM{CID: a.CID, Port: a.Port} }

func addrOf(sa unix.Sockaddr) Addr {
	vm, ok := sa.(*unix.SockaddrVM)
	if !ok {
		return Addr{CID: Any}
	}
	return Addr{CID: vm.CID, Port: vm.Port}
}

// Conn is a connection. It implements net.Conn.
type Conn struct {
	file          *os.File
	local, remote Addr
}

var _ net.Conn = (*Conn)(nil)

// newConn takes over a connected socket that does not block.
func newConn(fd int, remote Addr) *Conn {
	c := &Conn{file: os.NewFile(uintptr(fd), "vsock"), remote: remote}
	if sa, err := unix.Getsockname(fd); err == nil {
		c.local = addrOf(sa)
	}
	return c
}

// newSocket makes a socket that does not block.
func newSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	return fd, os.NewSyscallError("socket", err)
}

func (c *Conn) Read(p []byte) (int, error)  { return c.file.Read(p) }
func (c *Conn) Write(p []byte) (int, error) { return c.file.Write(p) }

// Close implements net.Conn. Reads and writes that wait end.
func (c *Conn) Close() error { return c.file.Close() }

// CloseWrite tells the other end that nothing more comes.
func (c *Conn) CloseWrite() error {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.Shutdown(int(fd), unix.SHUT_WR) })
	if err == nil {
		err = os.NewSyscallError("shutdown", failed)
	}
	return err
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.file.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.file.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.file.SetWriteDeadline(t) }
