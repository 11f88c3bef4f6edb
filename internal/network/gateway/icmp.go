package gateway

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"pyro/internal/network/policy"
)

const noPing = "pings are not passed on; connect to a port instead"

// handleICMP4 is asked before the stack answers a ping itself; true keeps it
// from doing so.
func (g *Gateway) handleICMP4(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	h := header.ICMPv4(pkt.TransportHeader().Slice())
	return g.refusePing(id, pkt, len(h) >= header.ICMPv4MinimumSize && h.Type() == header.ICMPv4Echo)
}

func (g *Gateway) handleICMP6(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	h := header.ICMPv6(pkt.TransportHeader().Slice())
	return g.refusePing(id, pkt, len(h) >= header.ICMPv6MinimumSize && h.Type() == header.ICMPv6EchoRequest)
}

func (g *Gateway) refusePing(id stack.TransportEndpointID, pkt *stack.PacketBuffer, echo bool) bool {
	to := destination(id).Addr()
	if !echo || to.IsLoopback() || to.IsMulticast() {
		return false
	}
	g.refuse(policy.ICMP, netip.AddrPortFrom(to, 0), g.options.Names.Book.Names(to), policy.Decision{Reason: noPing})
	g.reject(pkt, prohibited)
	return true
}

// rejection is how a packet is refused.
type rejection struct {
	v4 stack.RejectIPv4WithICMPType
	v6 stack.RejectIPv6WithICMPType
}

var (
	// prohibited is "administratively prohibited" (RFC 1812, section 5.2.7.1; RFC
	// 4443, section 3.1).
	prohibited = rejection{stack.RejectIPv4WithICMPAdminProhibited, stack.RejectIPv6WithICMPAdminProhibited}
	// portUnreachable is what a socket is told of at once; of the other, gVisor's
	// own sockets are not.
	portUnreachable = rejection{stack.RejectIPv4WithICMPPortUnreachable, stack.RejectIPv6WithICMPPortUnreachable}
)

// reject tells the guest that its packet goes nowhere.
func (g *Gateway) reject(pkt *stack.PacketBuffer, how rejection) {
	switch pkt.NetworkProtocolNumber {
	case ipv4.ProtocolNumber:
		if p, ok := g.stack.NetworkProtocolInstance(ipv4.ProtocolNumber).(stack.RejectIPv4WithHandler); ok {
			_ = p.SendRejectionError(pkt, how.v4, true)
		}
	case ipv6.ProtocolNumber:
		if p, ok := g.stack.NetworkProtocolInstance(ipv6.ProtocolNumber).(stack.RejectIPv6WithHandler); ok {
			_ = p.SendRejectionError(pkt, how.v6, true)
		}
	}
}
