package gateway

import (
	"net"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"pyro/internal/network/policy"
)

// handleUDP sees a datagram that belongs to no flow yet.
func (g *Gateway) handleUDP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	to := destination(id)
	if to.Addr().IsMulticast() || to.Addr() == broadcast {
		return true // for the neighbours on the link, of whom there are none
	}
	if !g.allows(policy.UDP, to) {
		g.reject(pkt, portUnreachable)
		return true
	}
	return g.udp.HandlePacket(id, pkt)
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// acceptUDP makes a flow for the first datagram of two ports.
func (g *Gateway) acceptUDP(r *udp.ForwarderRequest) bool {
	if g.flows.full() {
		return true // a socket of the host for each datagram that is dropped would be too much
	}
	to := destination(r.ID())
	f := &flow{udp: true}
	host, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return false // the guest is told that the port cannot be reached
	}
	var queue waiter.Queue
	endpoint, failed := r.CreateEndpoint(&queue)
	if failed != nil {
		host.Close()
		return true
	}
	guest := gonet.NewUDPConn(&queue, endpoint)
	f.end = func() { host.Close(); guest.Close() }
	if !g.flows.add(f) {
		f.end()
		return true
	}
	go func() {
		defer g.flows.remove(f)
		var both sync.WaitGroup
		both.Go(func() { passDatagrams(host, guest, f) })
		both.Go(func() { passDatagrams(guest, host, f) })
		both.Wait()
	}()
	return true
}

// passDatagrams copies until one side is closed. That the peer's port is closed,
// which a socket reports as an error, ends the flow: the guest's next datagram
// makes a new one.
func passDatagrams(to, from net.Conn, f *flow) {
	defer f.end()
	buffer := chunks.Get().(*[chunk]byte)
	defer chunks.Put(buffer)
	for {
		n, err := from.Read(buffer[:])
		if err != nil {
			return
		}
		f.touch()
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
