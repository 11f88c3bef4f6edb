// Package card sets up and removes the guest's network card, by rtnetlink(7).
package card

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/wire"
)

// Drop removes a card. That there is none of the name is no error.
func Drop(name string) error {
	card, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	return talk(request{what: "removal", kind: unix.RTM_DELLINK, body: encode(unix.IfInfomsg{Index: int32(card.Index)})})
}

// SetUp gives a card its addresses and neighbours, and makes it the way to
// everywhere. Everything is said once and for all: nothing is asked of the link,
// and nothing that comes from there is believed. It may be done again.
func SetUp(c wire.Card) error {
	card, err := net.InterfaceByName(c.Name)
	if err != nil {
		return fmt.Errorf("the machine has no network card %s", c.Name)
	}
	quiet(c.Name)
	requests := []request{up(card.Index)}
	for _, p := range c.Addresses {
		requests = append(requests, address(card.Index, p))
	}
	for _, g := range c.Gateways {
		requests = append(requests, neighbor(card.Index, g.Addr, g.MAC), defaultRoute(card.Index, g.Addr))
	}
	return talk(requests...)
}

// quiet keeps the kernel from finding out for itself how to use IPv6: from
// addresses of its own making, and from asking for routers. A kernel without IPv6
// has none of these files.
func quiet(name string) {
	for file, value := range map[string]string{"addr_gen_mode": "1", "accept_ra": "0", "autoconf": "0", "accept_dad": "0", "router_solicitations": "0"} {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/"+file, []byte(value), 0)
	}
}

func up(index int) request {
	return request{what: "up", kind: unix.RTM_NEWLINK, body: encode(unix.IfInfomsg{Index: int32(index), Flags: unix.IFF_UP, Change: unix.IFF_UP})}
}

const replace = unix.NLM_F_CREATE | unix.NLM_F_REPLACE

func address(index int, p netip.Prefix) request {
	addr := p.Addr().AsSlice()
	return request{
		what: "address " + p.String(), kind: unix.RTM_NEWADDR, flags: replace,
		body:       encode(unix.IfAddrmsg{Family: family(p.Addr()), Prefixlen: uint8(p.Bits()), Flags: unix.IFA_F_PERMANENT | unix.IFA_F_NODAD, Index: uint32(index)}),
		attributes: []attribute{{unix.IFA_LOCAL, addr}, {unix.IFA_ADDRESS, addr}},
	}
}

func neighbor(index int, addr netip.Addr, mac net.HardwareAddr) request {
	return request{
		what: "neighbour " + addr.String(), kind: unix.RTM_NEWNEIGH, flags: replace,
		body:       encode(unix.NdMsg{Family: family(addr), Ifindex: int32(index), State: unix.NUD_PERMANENT}),
		attributes: []attribute{{unix.NDA_DST, addr.AsSlice()}, {unix.NDA_LLADDR, mac}},
	}
}

func defaultRoute(index int, gateway netip.Addr) request {
	return request{
		what: "route by " + gateway.String(), kind: unix.RTM_NEWROUTE, flags: replace,
		body: encode(unix.RtMsg{
			Family: family(gateway), Table: unix.RT_TABLE_MAIN, Protocol: unix.RTPROT_STATIC,
			Scope: unix.RT_SCOPE_UNIVERSE, Type: unix.RTN_UNICAST,
		}),
		attributes: []attribute{{unix.RTA_GATEWAY, gateway.AsSlice()}, {unix.RTA_OIF, encode(uint32(index))}},
	}
}

func family(addr netip.Addr) uint8 {
	if addr.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// talk makes requests, all of which it tries. What a kernel without IPv6 says of
// that is no error.
func talk(requests ...request) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var errs []error
	for i, r := range requests {
		if err := r.make(fd, uint32(i+1)); err != nil && !(errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)) {
			errs = append(errs, fmt.Errorf("%s: %w", r.what, err))
		}
	}
	return errors.Join(errs...)
}
