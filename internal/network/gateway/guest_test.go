package gateway

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"pyro/internal/network/dns"
	"pyro/internal/network/link"
	"pyro/internal/network/policy"
	"pyro/internal/network/refusals"
)

// world is a gateway and, at the other end of its link, a guest's network stack.
type world struct {
	gateway *Gateway
	guest   *stack.Stack
	card    *os.File // the guest's end
	checks  bool     // the guest checks what it receives

	mu      sync.Mutex
	refused []refusals.Event
}

// names are what the host resolves in these tests.
type names map[string]string

func (n names) Lookup(_ context.Context, q dns.Question) (dns.Answer, error) {
	addr, err := netip.ParseAddr(n[q.Name])
	if err != nil || q.Type != dnsmessage.TypeA {
		return dns.Answer{RCode: dnsmessage.RCodeNameError}, nil
	}
	return dns.Answer{Records: []dnsmessage.Resource{{
		Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(q.Name + "."), Type: q.Type, Class: dnsmessage.ClassINET, TTL: 60},
		Body:   &dnsmessage.AResource{A: addr.As4()},
	}}}, nil
}

func newWorld(t *testing.T, rules string, hosts names) *world {
	t.Helper()
	p, err := policy.Parse([]byte(`{"version":1,"rules":[` + rules + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return serveGuest(t, p, hosts)
}

func serveGuest(t testing.TB, p *policy.Policy, hosts names) *world {
	t.Helper()
	return serve(t, Options{Policy: p}, hosts)
}

func serve(t testing.TB, o Options, hosts names) *world {
	t.Helper()
	return serveLink(t, o, hosts, func(*os.File) {})
}

// serveLink serves a link after the guest has had its end for a while.
func serveLink(t testing.TB, o Options, hosts names, before func(guest *os.File)) *world {
	t.Helper()
	ours, guest, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	before(guest)
	w := &world{card: guest, checks: o.Checksums}
	refused := func(e refusals.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.refused = append(w.refused, e)
	}
	o.Link, o.Refused = ours, refused
	o.Names = &dns.Server{Policy: o.Policy, Resolver: hosts, Book: &dns.Book{}, Refused: refused}
	w.gateway, err = New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.gateway.Close()
		ours.Close()
		guest.Close()
	})
	return w
}

// boot gives the guest its network stack.
func (w *world) boot(t *testing.T) *world {
	t.Helper()
	w.guest = newStack()
	card, err := fdbased.New(&fdbased.Options{
		FDs: []int{int(w.card.Fd())}, MTU: link.MTU, EthernetHeader: true, Address: tcpip.LinkAddress(link.GuestMAC),
		PacketDispatchMode: fdbased.RecvMMsg, PreConfigured: true, IsPacketSocket: []bool{false},
		RXChecksumOffload: !w.checks, TXChecksumOffload: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.guest.CreateNIC(nic, card); err != nil {
		t.Fatal(err)
	}
	for _, p := range []netip.Prefix{link.Guest4, link.Guest6} {
		w.guest.AddProtocolAddress(nic, tcpip.ProtocolAddress{Protocol: protocolOf(p.Addr()), AddressWithPrefix: tcpip.AddressWithPrefix{
			Address: tcpip.AddrFromSlice(p.Addr().AsSlice()), PrefixLen: p.Bits(),
		}}, stack.AddressProperties{})
	}
	w.guest.SetRouteTable([]tcpip.Route{
		{Destination: everything(t, "0.0.0.0/0"), Gateway: tcpip.AddrFromSlice(link.Gateway4.Addr().AsSlice()), NIC: nic},
		{Destination: everything(t, "::/0"), Gateway: tcpip.AddrFromSlice(link.Gateway6.Addr().AsSlice()), NIC: nic},
	})
	t.Cleanup(w.guest.Destroy)
	return w
}

func everything(t *testing.T, text string) tcpip.Subnet {
	p := netip.MustParsePrefix(text)
	s, err := tcpip.NewSubnet(tcpip.AddrFromSlice(p.Addr().AsSlice()), tcpip.MaskFromBytes(make([]byte, p.Addr().BitLen()/8)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func full(to netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(to.Addr().AsSlice()), Port: to.Port()}
}

// fromGuest is how a guest names a server of the host's loopback.
func fromGuest(at netip.AddrPort) netip.AddrPort {
	if at.Addr().IsLoopback() {
		return netip.AddrPortFrom(link.Gateway4.Addr(), at.Port())
	}
	return at
}

// dial connects from the guest by TCP.
func (w *world) dial(to netip.AddrPort) (*gonet.TCPConn, error) {
	to = fromGuest(to)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return gonet.DialContextTCP(ctx, w.guest, full(to), protocolOf(to.Addr()))
}

func (w *world) mustDial(t *testing.T, to netip.AddrPort) *gonet.TCPConn {
	t.Helper()
	conn, err := w.dial(to)
	if err != nil {
		t.Fatalf("connect to %s: %v", to, err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// send opens a UDP socket of the guest.
func (w *world) send(t *testing.T, to netip.AddrPort) *gonet.UDPConn {
	t.Helper()
	to = fromGuest(to)
	remote := full(to)
	conn, err := gonet.DialUDP(w.guest, nil, &remote, protocolOf(to.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// refusedOf returns what was refused, without counts.
func (w *world) refusedOf(protocol string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, e := range w.refused {
		if e.Protocol == protocol {
			list = append(list, fmt.Sprintf("%s %s %d", e.Name, e.Address, e.Port))
		}
	}
	return list
}

// listen is a server of the host on the loopback.
func listen(t *testing.T, handle func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go handle(conn.(*net.TCPConn))
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// opened is a rule for a server of the host's loopback.
func opened(at netip.AddrPort) string {
	return fmt.Sprintf(`{"address":%q,"ports":[%d],"protocols":["tcp","udp"],"private":true}`, at.Addr(), at.Port())
}

// eventually waits until ok. It gives up after a time that only a fault needs.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
