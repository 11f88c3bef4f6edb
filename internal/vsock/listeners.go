package vsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The request and the answers of sock_diag(7) about vsock, <linux/vm_sockets_diag.h>.
const (
	diagRequest = 24
	diagMessage = 32
	stateListen = 10 // TCP_LISTEN, which vsock has in common
)

// Listeners lists the addresses at which processes of this host, in this network
// namespace, wait for connections: every machine can reach them. The kernel
// answers with its module vsock_diag, which it loads by itself if it has it; the
// error is ENOENT if not.
func Listeners() ([]Addr, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, listenersRequest(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	var found []Addr
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		more, done, err := parseListeners(buf[:n])
		if err != nil {
			return nil, err
		}
		if found = append(found, more...); done {
			return found, nil
		}
	}
}

func listenersRequest() []byte {
	b := make([]byte, unix.NLMSG_HDRLEN+diagRequest)
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(b[8:], 1)
	body := b[unix.NLMSG_HDRLEN:]
	body[0] = unix.AF_VSOCK
	binary.NativeEndian.PutUint32(body[4:], 1<<stateListen)
	return b
}

var errDiag = errors.New("the kernel's answer about vsock is not understood")

// parseListeners reads netlink messages. done says that they were the last.
func parseListeners(b []byte) (found []Addr, done bool, err error) {
	for len(b) >= unix.NLMSG_HDRLEN {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.NLMSG_HDRLEN || size > len(b) {
			return nil, false, errDiag
		}
		body := b[unix.NLMSG_HDRLEN:size]
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.NLMSG_DONE, unix.NLMSG_ERROR:
			if len(body) < 4 {
				return nil, false, errDiag
			}
			if code := int32(binary.NativeEndian.Uint32(body)); code < 0 {
				return nil, false, fmt.Errorf("listeners on vsock: %w", unix.Errno(-code))
			}
			return found, true, nil
		case unix.SOCK_DIAG_BY_FAMILY:
			if len(body) < diagMessage {
				return nil, false, errDiag
			}
			if body[2] == stateListen {
				found = append(found, Addr{CID: binary.NativeEndian.Uint32(body[4:]), Port: binary.NativeEndian.Uint32(body[8:])})
			}
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return found, false, nil
}
