package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"pyro/internal/network/dns"
	"pyro/internal/network/link"
	"pyro/internal/network/policy"
	"pyro/internal/network/refusals"
)

// Options configure a gateway. All are required unless they say otherwise.
type Options struct {
	// Link is the gateway's end of the link. The gateway does not close it.
	Link *os.File
	// Policy decides.
	Policy *policy.Policy
	// Names answers the guest's questions to its name server; its book says
	// which names an address was given out for.
	Names *dns.Server
	// Refused is told of every flow that the policy refuses. It must be fast.
	Refused func(refusals.Event)
	// Checksums says that the guest checks what it receives, as a real kernel does
	// whose card does not do it. Optional: what is sent has no checksums.
	Checksums bool
}

// Gateway serves one guest.
type Gateway struct {
	options Options
	stack   *stack.Stack
	udp     *udp.Forwarder
	flows   flows
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	work    sync.WaitGroup // all goroutines that end with ctx
}

const nic = tcpip.NICID(1)

// errorsPerSecond is how many refusals of datagrams and pings the guest is told
// of. It costs nobody but the two ends of the link.
const errorsPerSecond = 1000

// timeWait is how long the stack remembers a closed connection. On a link that
// cannot reorder, no old segment comes late.
const timeWait = time.Second

// New starts to serve. Nothing is read from the link before there is somebody to
// answer: of a gateway that replaces another, the guest's frames wait.
func New(o Options) (*Gateway, error) {
	g := &Gateway{options: o, stack: newStack()}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.udp = udp.NewForwarder(g.stack, g.acceptUDP)
	g.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(g.stack, 0, maxHandshakes, g.acceptTCP).HandlePacket)
	g.stack.SetTransportProtocolHandler(udp.ProtocolNumber, g.handleUDP)
	g.stack.SetTransportProtocolHandler(icmp.ProtocolNumber4, g.handleICMP4)
	g.stack.SetTransportProtocolHandler(icmp.ProtocolNumber6, g.handleICMP6)
	card, err := g.attach()
	if err != nil {
		g.Close()
		return nil, fmt.Errorf("network link: %w", err)
	}
	if err := g.serveNames(); err != nil {
		g.Close()
		return nil, fmt.Errorf("name server: %w", err)
	}
	g.work.Go(g.endIdleFlows)
	card.read()
	return g, nil
}

// Close ends all flows.
func (g *Gateway) Close() {
	g.cancel()
	g.flows.close()
	g.work.Wait() // tunnels reset both of their ends
	g.stack.Destroy()
}

func newStack() *stack.Stack {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	s.SetICMPLimit(errorsPerSecond)
	s.SetICMPBurst(errorsPerSecond)
	sack := tcpip.TCPSACKEnabled(true)
	send := tcpip.TCPSendBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: flowBuffer, Max: flowBuffer}
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: flowBuffer, Max: flowBuffer}
	wait := tcpip.TCPTimeWaitTimeoutOption(timeWait)
	for _, option := range []tcpip.SettableTransportProtocolOption{&sack, &send, &receive, &wait} {
		_ = s.SetTransportProtocolOption(tcp.ProtocolNumber, option) // fails only for values out of range
	}
	return s
}

// card is the gateway's network card, which reads nothing before it is told to.
type card struct {
	stack.LinkEndpoint
	stack stack.NetworkDispatcher // gets what is read
}

// Attach implements stack.LinkEndpoint. It is called with nil in the end.
func (c *card) Attach(d stack.NetworkDispatcher) {
	if c.stack = d; d == nil {
		c.LinkEndpoint.Attach(nil)
	}
}

func (c *card) read() { c.LinkEndpoint.Attach(c.stack) }

// attach makes the card on the link. It takes packets for any address, and
// answers in the name of any.
func (g *Gateway) attach() (*card, error) {
	endpoint, err := fdbased.New(&fdbased.Options{
		FDs: []int{int(g.options.Link.Fd())}, MTU: link.MTU, EthernetHeader: true,
		Address:            tcpip.LinkAddress(link.GatewayMAC),
		PacketDispatchMode: fdbased.RecvMMsg, PreConfigured: true, IsPacketSocket: []bool{false},
		// Nothing on the way can damage a packet: both ends are processes of one host.
		RXChecksumOffload: true, TXChecksumOffload: !g.options.Checksums,
	})
	if err != nil {
		return nil, err
	}
	c := &card{LinkEndpoint: endpoint}
	var failed error
	check := func(err tcpip.Error) {
		if err != nil {
			failed = errors.Join(failed, errors.New(err.String()))
		}
	}
	check(g.stack.CreateNIC(nic, c))
	for _, p := range []netip.Prefix{link.Gateway4, link.Gateway6} {
		check(g.stack.AddProtocolAddress(nic, tcpip.ProtocolAddress{
			Protocol:          protocolOf(p.Addr()),
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(p.Addr().AsSlice()), PrefixLen: p.Bits()},
		}, stack.AddressProperties{}))
	}
	for _, p := range []netip.Prefix{link.Guest4, link.Guest6} {
		check(g.stack.AddStaticNeighbor(nic, protocolOf(p.Addr()), tcpip.AddrFromSlice(p.Addr().AsSlice()), tcpip.LinkAddress(link.GuestMAC)))
	}
	check(g.stack.SetSpoofing(nic, true))
	check(g.stack.SetPromiscuousMode(nic, true))
	g.stack.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nic},
		{Destination: header.IPv6EmptySubnet, NIC: nic},
	})
	return c, failed
}

func protocolOf(addr netip.Addr) tcpip.NetworkProtocolNumber {
	if addr.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

// destination is where the guest's packet goes. The gateway's own addresses mean
// the host's loopback, which a guest, having one of its own, cannot name.
func destination(id stack.TransportEndpointID) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(id.LocalAddress.AsSlice())
	switch addr {
	case link.Gateway4.Addr():
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case link.Gateway6.Addr():
		addr = netip.IPv6Loopback()
	}
	return netip.AddrPortFrom(addr, id.LocalPort)
}

// allows decides, and tells of a refusal.
func (g *Gateway) allows(protocol string, to netip.AddrPort) bool {
	if link.Own(to.Addr()) {
		g.refuse(protocol, to, nil, policy.Decision{Reason: "it is an address of the sandbox's own link"})
		return false
	}
	names := g.options.Names.Book.Names(to.Addr())
	d := g.options.Policy.Connect(protocol, names, to)
	if !d.Allowed {
		g.refuse(protocol, to, names, d)
	}
	return d.Allowed
}

func (g *Gateway) refuse(protocol string, to netip.AddrPort, names []string, d policy.Decision) {
	e := refusals.Event{Protocol: protocol, Address: to.Addr(), Port: to.Port(), Reason: d.Reason, Rule: d.Rule}
	if len(names) > 0 {
		e.Name = names[0]
	}
	g.options.Refused(e)
}
