// Package link says how a sandbox's network card and the gateway on the host's
// side find each other: their addresses, and the sockets that carry the frames.
package link

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// MTU is the largest packet. A large one makes up for the cost of each; nothing
// beyond the gateway ever sees it.
const MTU = 65520

// The hardware addresses of both ends, from the range for local use.
var (
	GuestMAC   = net.HardwareAddr{2, 'p', 'y', 'r', 'o', 2}
	GatewayMAC = net.HardwareAddr{2, 'p', 'y', 'r', 'o', 1}
)

// The addresses of both ends. They mean something on the link only. They are
// from ranges for private use, so that they are nobody's on the internet; the
// IPv4 network holds no address but these, so that it hides next to nothing of a
// private network that a policy opens; and an IPv6 address of that range makes
// programs prefer IPv4, which more hosts have (RFC 6724, section 2.1).
var (
	Gateway4 = netip.MustParsePrefix("10.213.77.1/30")
	Guest4   = netip.MustParsePrefix("10.213.77.2/30")
	Gateway6 = netip.MustParsePrefix("fd70:7972:6f00::1/64")
	Guest6   = netip.MustParsePrefix("fd70:7972:6f00::2/64")
)

// Own says whether an address is of the link.
func Own(addr netip.Addr) bool {
	addr = addr.Unmap()
	return Gateway4.Contains(addr) || Gateway6.Contains(addr)
}

// ResolvConf is the guest's /etc/resolv.conf, resolv.conf(5).
var ResolvConf = fmt.Sprintf("# Written by pyro: the sandbox's network asks this name server.\nnameserver %s\n", Gateway4.Addr())

// buffer is how many bytes of frames each direction holds. A frame that finds no
// room is lost, and TCP slows down.
const buffer = 4 << 20

// Pair returns the two ends of a new link. Each message is a frame. The ends
// are datagram sockets, because those know no end of a stream: a sandbox whose
// gateway is gone waits for frames that do not come. With one that tells it, it
// can read that end over and over, and then never lets go of its card.
func Pair() (gateway, guest *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socket pair for a network link: %w", err)
	}
	for _, fd := range fds {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, buffer) != nil {
			// Without privileges it is as much as net.core.wmem_max allows.
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, buffer)
		}
	}
	return os.NewFile(uintptr(fds[0]), "gateway-link"), os.NewFile(uintptr(fds[1]), "guest-link"), nil
}
