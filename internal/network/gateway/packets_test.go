package gateway

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"pyro/internal/network/link"
	"pyro/internal/network/policy"
)

func TestDatagrams(t *testing.T) {
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(append([]byte("you said "), b[:n]...), from)
		}
	}()
	at := server.LocalAddr().(*net.UDPAddr).AddrPort()
	w := newWorld(t, opened(at), nil).boot(t)
	conn := w.send(t, at)
	for _, text := range []string{"one", "two", strings.Repeat("x", 9000)} {
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1<<16)
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := conn.Read(b); err != nil || string(b[:n]) != "you said "+text {
			t.Errorf("answer is %q, %v", b[:n], err)
		}
	}
}

// TestDatagramsRefused: the guest is told at once.
func TestDatagramsRefused(t *testing.T) {
	w := newWorld(t, `{"address":"192.0.2.1","ports":[53],"protocols":["udp"],"private":true}`, nil)
	const at = header.EthernetMinimumSize + header.IPv4MinimumSize
	for _, to := range []string{"192.0.2.1:54", "192.0.2.2:53", "10.213.77.1:54"} {
		r := w.frames(t, datagram(netip.MustParseAddrPort(to)))
		if h := header.ICMPv4(r[at:]); h.Type() != header.ICMPv4DstUnreachable || h.Code() != header.ICMPv4PortUnreachable {
			t.Errorf("%s is answered with %v", to, h[:2])
		}
	}
	if got := w.refusedOf(policy.UDP); len(got) != 3 || got[0] != " 192.0.2.1 54" || got[2] != " 127.0.0.1 54" {
		t.Errorf("refusals are %q", got)
	}
}

func datagram(to netip.AddrPort) []byte {
	data := make([]byte, header.UDPMinimumSize+4)
	header.UDP(data).Encode(&header.UDPFields{SrcPort: 4000, DstPort: to.Port(), Length: uint16(len(data))})
	packet := make([]byte, header.IPv4MinimumSize)
	ip := header.IPv4(packet)
	ip.Encode(&header.IPv4Fields{TotalLength: uint16(len(packet) + len(data)), TTL: 64, Protocol: uint8(header.UDPProtocolNumber), SrcAddr: addr(link.Guest4.Addr()), DstAddr: addr(to.Addr())})
	ip.SetChecksum(^ip.CalculateChecksum())
	return ethernet(append(packet, data...), header.IPv4ProtocolNumber)
}

func syn(to netip.AddrPort) []byte {
	const size = header.IPv4MinimumSize + header.TCPMinimumSize
	packet := make([]byte, size)
	ip := header.IPv4(packet)
	ip.Encode(&header.IPv4Fields{TotalLength: size, TTL: 64, Protocol: uint8(header.TCPProtocolNumber), SrcAddr: addr(link.Guest4.Addr()), DstAddr: addr(to.Addr())})
	ip.SetChecksum(^ip.CalculateChecksum())
	header.TCP(packet[header.IPv4MinimumSize:]).Encode(&header.TCPFields{SrcPort: 4000, DstPort: to.Port(), SeqNum: 1, DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagSyn, WindowSize: 1 << 15})
	return ethernet(packet, header.IPv4ProtocolNumber)
}

// TestReplaced: what a guest sent while nobody served its link is answered by who
// serves it then, and neither reset nor lost.
func TestReplaced(t *testing.T) {
	at := listen(t, echo)
	p, err := policy.Parse([]byte(`{"version":1,"rules":[` + opened(at) + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []netip.AddrPort{netip.AddrPortFrom(link.Gateway4.Addr(), at.Port()), netip.AddrPortFrom(link.Gateway4.Addr(), dnsPort)} {
		for range 20 { // each of which begins at another moment
			w := serveLink(t, Options{Policy: p}, nil, func(guest *os.File) {
				if _, err := guest.Write(syn(to)); err != nil {
					t.Fatal(err)
				}
			})
			const tcp = header.EthernetMinimumSize + header.IPv4MinimumSize
			if reply := w.read(t); header.TCP(reply[tcp:]).Flags() != header.TCPFlagSyn|header.TCPFlagAck {
				t.Fatalf("a connection to %s is answered with %s", to, header.TCP(reply[tcp:]).Flags())
			}
		}
	}
}

// recorder is an endpoint that knows to whom it gives what it reads.
type recorder struct {
	stack.LinkEndpoint
	to []stack.NetworkDispatcher
}

func (r *recorder) Attach(to stack.NetworkDispatcher) { r.to = append(r.to, to) }

// TestCard: a stack that takes the card does not get frames yet.
func TestCard(t *testing.T) {
	r, d := &recorder{}, struct{ stack.NetworkDispatcher }{}
	c := &card{LinkEndpoint: r}
	c.Attach(d)
	if len(r.to) > 0 {
		t.Fatal("it reads before it is told to")
	}
	c.read()
	c.Attach(nil)
	if len(r.to) != 2 || r.to[0] != d || r.to[1] != nil {
		t.Errorf("it reads for %v", r.to)
	}
}

// frames is a guest that speaks in frames.
func (w *world) frames(t *testing.T, frame []byte) []byte {
	t.Helper()
	if _, err := w.card.Write(frame); err != nil {
		t.Fatal(err)
	}
	return w.read(t)
}

func (w *world) read(t *testing.T) []byte {
	t.Helper()
	reply := make([]byte, 1<<16)
	_ = w.card.SetReadDeadline(time.Now().Add(time.Minute))
	n, err := w.card.Read(reply)
	if err != nil {
		t.Fatal(err)
	}
	return reply[:n]
}

func ethernet(packet []byte, kind tcpip.NetworkProtocolNumber) []byte {
	b := make([]byte, header.EthernetMinimumSize)
	header.Ethernet(b).Encode(&header.EthernetFields{SrcAddr: tcpip.LinkAddress(link.GuestMAC), DstAddr: tcpip.LinkAddress(link.GatewayMAC), Type: kind})
	return append(b, packet...)
}

func addr(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }

func ping4(to netip.Addr) []byte { return ping4As(7, to) }

func ping4As(ident uint16, to netip.Addr) []byte {
	echo := make([]byte, 16)
	h := header.ICMPv4(echo)
	h.SetType(header.ICMPv4Echo)
	h.SetIdent(ident)
	h.SetChecksum(header.ICMPv4Checksum(h, 0))
	packet := make([]byte, header.IPv4MinimumSize)
	ip := header.IPv4(packet)
	ip.Encode(&header.IPv4Fields{TotalLength: uint16(len(packet) + len(echo)), TTL: 64, Protocol: uint8(header.ICMPv4ProtocolNumber), SrcAddr: addr(link.Guest4.Addr()), DstAddr: addr(to)})
	ip.SetChecksum(^ip.CalculateChecksum())
	return ethernet(append(packet, echo...), header.IPv4ProtocolNumber)
}

func ping6(to netip.Addr) []byte {
	echo := make([]byte, 16)
	h := header.ICMPv6(echo)
	h.SetType(header.ICMPv6EchoRequest)
	h.SetIdent(7)
	h.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: h, Src: addr(link.Guest6.Addr()), Dst: addr(to), PayloadCsum: checksum.Checksum(nil, 0)}))
	packet := make([]byte, header.IPv6MinimumSize)
	header.IPv6(packet).Encode(&header.IPv6Fields{PayloadLength: uint16(len(echo)), TransportProtocol: header.ICMPv6ProtocolNumber, HopLimit: 64, SrcAddr: addr(link.Guest6.Addr()), DstAddr: addr(to)})
	return ethernet(append(packet, echo...), header.IPv6ProtocolNumber)
}

// TestPing: the gateway answers for itself, and says no for others.
func TestPing(t *testing.T) {
	w := serveGuest(t, policy.Egress(), nil)
	const at4, at6 = header.EthernetMinimumSize + header.IPv4MinimumSize, header.EthernetMinimumSize + header.IPv6MinimumSize
	if r := w.frames(t, ping4(link.Gateway4.Addr())); header.ICMPv4(r[at4:]).Type() != header.ICMPv4EchoReply {
		t.Errorf("the gateway answers a ping with type %d", header.ICMPv4(r[at4:]).Type())
	}
	if r := w.frames(t, ping4(netip.MustParseAddr("192.0.2.7"))); header.ICMPv4(r[at4:]).Type() != header.ICMPv4DstUnreachable || header.ICMPv4(r[at4:]).Code() != header.ICMPv4AdminProhibited {
		t.Errorf("a ping to others is answered with %v", header.ICMPv4(r[at4:])[:2])
	}
	if r := w.frames(t, ping6(link.Gateway6.Addr())); header.ICMPv6(r[at6:]).Type() != header.ICMPv6EchoReply {
		t.Errorf("the gateway answers a ping with type %d", header.ICMPv6(r[at6:]).Type())
	}
	if r := w.frames(t, ping6(netip.MustParseAddr("2001:db8::7"))); header.ICMPv6(r[at6:]).Type() != header.ICMPv6DstUnreachable || header.ICMPv6(r[at6:]).Code() != header.ICMPv6Prohibited {
		t.Errorf("a ping to others is answered with %v", header.ICMPv6(r[at6:])[:2])
	}
	if got := w.refusedOf(policy.ICMP); len(got) != 2 {
		t.Errorf("refusals are %q", got)
	}
}

// FuzzFrames sends a frame of any content; afterwards the gateway still serves.
// It is one gateway for all: gVisor leaks a descriptor of each that has ended.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{})
	f.Add(ping4(netip.MustParseAddr("192.0.2.7")))
	f.Add(ping6(netip.MustParseAddr("2001:db8::7")))
	f.Add(ethernet([]byte("arp?"), header.ARPProtocolNumber))
	w := serveGuest(f, policy.Allowlist(), nil)
	sent := uint16(0)
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) > link.MTU {
			return
		}
		sent++
		_, _ = w.card.Write(frame)
		_, _ = w.card.Write(ping4As(sent, link.Gateway4.Addr()))
		reply := make([]byte, 1<<16)
		for {
			_ = w.card.SetReadDeadline(time.Now().Add(time.Minute))
			n, err := w.card.Read(reply)
			if err != nil {
				t.Fatal(err)
			}
			const at = header.EthernetMinimumSize + header.IPv4MinimumSize
			if n >= at+header.ICMPv4MinimumSize && header.ICMPv4(reply[at:]).Type() == header.ICMPv4EchoReply && header.ICMPv4(reply[at:]).Ident() == sent {
				return
			}
		}
	})
}

func question(t *testing.T, name string) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 77, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNames looks names up over UDP and TCP, over IPv4 and IPv6. An address that
// was given out is open under the name it was given out for.
func TestNames(t *testing.T) {
	at := listen(t, echo)
	rule := strings.Replace(`{"name":"open.example","ports":[PORT],"private":true}`, "PORT", at.String()[len("127.0.0.1:"):], 1)
	// A name may lead to the loopback only with a rule for the address.
	w := newWorld(t, rule+","+opened(netip.AddrPortFrom(at.Addr(), 1)), names{"open.example": "127.0.0.1", "closed.example": "127.0.0.1"}).boot(t)
	for _, server := range []netip.Addr{link.Gateway4.Addr(), link.Gateway6.Addr()} {
		to := netip.AddrPortFrom(server, 53)
		udp := w.send(t, to)
		overUDP := func(q []byte) []byte {
			b := make([]byte, 1<<16)
			_, _ = udp.Write(q)
			_ = udp.SetReadDeadline(time.Now().Add(time.Minute))
			n, err := udp.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			return b[:n]
		}
		tcp := w.mustDial(t, to)
		overTCP := func(q []byte) []byte {
			_, _ = tcp.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...))
			var length [2]byte
			if _, err := io.ReadFull(tcp, length[:]); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, binary.BigEndian.Uint16(length[:]))
			if _, err := io.ReadFull(tcp, b); err != nil {
				t.Fatal(err)
			}
			return b
		}
		for _, ask := range []func([]byte) []byte{overUDP, overTCP, overTCP} {
			var m dnsmessage.Message
			if err := m.Unpack(ask(question(t, "open.example."))); err != nil || len(m.Answers) != 1 || m.ID != 77 {
				t.Errorf("an open name: %+v, %v", m, err)
			}
			if err := m.Unpack(ask(question(t, "closed.example."))); err != nil || m.RCode != dnsmessage.RCodeNameError {
				t.Errorf("a closed name: %+v, %v", m, err)
			}
		}
	}
	if got := w.refusedOf("dns"); len(got) != 6 {
		t.Errorf("refusals are %q", got)
	}
}

// TestQuestionTooLong: a connection that announces nonsense is closed.
func TestQuestionTooLong(t *testing.T) {
	w := serveGuest(t, policy.Egress(), nil).boot(t)
	conn := w.mustDial(t, netip.AddrPortFrom(link.Gateway4.Addr(), 53))
	_, _ = conn.Write([]byte{0xff, 0xff, 1, 2, 3})
	if _, err := io.ReadAll(conn); err != nil && !os.IsTimeout(err) {
		t.Log(err) // closed with a reset, which is fine
	} else if err != nil {
		t.Error("the connection stays open")
	}
}
