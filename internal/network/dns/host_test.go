package dns

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/net/dns/dnsmessage"
)

// upstream is a name server of the host: the bytes of each query to those of the
// replies.
type upstream struct {
	answer  func(query []byte, overTCP bool) [][]byte
	queries atomic.Int64
}

// serve listens on a port of the loopback address, over UDP and TCP.
func (u *upstream) serve(t testing.TB) netip.AddrPort {
	t.Helper()
	for range 20 {
		packets, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		at := packets.LocalAddr().(*net.UDPAddr).AddrPort()
		listener, err := net.Listen("tcp", at.String())
		if err != nil {
			packets.Close()
			continue // somebody has the port for TCP
		}
		t.Cleanup(func() { packets.Close(); listener.Close() })
		go u.packets(packets)
		go u.conns(listener)
		return at
	}
	panic("no port that is free for UDP and TCP")
}

func (u *upstream) packets(conn *net.UDPConn) {
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		u.queries.Add(1)
		for _, reply := range u.answer(append([]byte(nil), buf[:n]...), false) {
			conn.WriteToUDPAddrPort(reply, from)
		}
	}
}

func (u *upstream) conns(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		u.queries.Add(1)
		var length [2]byte
		io.ReadFull(conn, length[:])
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		io.ReadFull(conn, query)
		for _, reply := range u.answer(query, true) {
			conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
		}
		conn.Close()
	}
}

// authority answers like a server that knows names, over the product's own server.
func authority(t testing.TB, known zone) func([]byte, bool) [][]byte {
	s := newBench(t, `{"version": 1, "base": "egress", "rules": [{"name": "lan.example.com", "private": true}]}`, known)
	return func(query []byte, overTCP bool) [][]byte {
		return [][]byte{s.Answer(context.Background(), query, overTCP)}
	}
}

// files are a hosts file and a resolv.conf of a test.
func files(t testing.TB, hosts, conf string) *Host {
	t.Helper()
	dir := t.TempDir()
	h := &Host{Hosts: filepath.Join(dir, "hosts"), ResolvConf: filepath.Join(dir, "resolv.conf")}
	for path, content := range map[string]string{h.Hosts: hosts, h.ResolvConf: conf} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// texts are the answers' records.
func texts(a Answer) []string {
	var words []string
	for _, r := range a.Records {
		addr, ok := address(r)
		if !ok {
			words = append(words, strings.TrimPrefix(r.Header.Type.String(), "Type"))
			continue
		}
		words = append(words, addr.String())
	}
	return words
}

func (h *Host) look(t testing.TB, typ dnsmessage.Type, name string) []string {
	t.Helper()
	a, err := h.Lookup(t.Context(), Question{name, typ})
	if err != nil {
		return []string{err.Error()}
	}
	return texts(a)
}

func TestHost(t *testing.T) {
	h := files(t, "127.0.0.1 localhost\n10.1.1.1 own.example own # a comment\nfd00::1 own.example\n10.1.1.2 OWN.example\n::1%lo zone.example\nnonsense own.example\n", "")
	u := &upstream{answer: authority(t, names)}
	h.Servers = []netip.AddrPort{u.serve(t)}
	for _, tc := range []struct {
		typ  dnsmessage.Type
		name string
		want []string
	}{
		{dnsmessage.TypeA, "example.com", []string{"93.184.215.14", "93.184.215.15"}},
		{dnsmessage.TypeAAAA, "example.com", []string{"2606:2800:21f::1"}},
		{dnsmessage.TypeA, "www.example.com", []string{"CNAME", "203.1.2.3"}},
		{dnsmessage.TypeTXT, "example.com", []string{"TXT"}},
		{dnsmessage.TypeA, "none.example.com", nil},
		{dnsmessage.TypeA, "own.example", []string{"10.1.1.1", "10.1.1.2"}},
		{dnsmessage.TypeAAAA, "own.example", []string{"fd00::1"}},
		{dnsmessage.TypeAAAA, "own", nil},
		{dnsmessage.TypeAAAA, "zone.example", nil},
		{dnsmessage.TypeA, "fails.example.com", []string{fmt.Sprintf("no name server of the host answered for fails.example.com: %s: answered ServerFailure\n%[1]s: answered ServerFailure", h.Servers[0])}},
	} {
		if diff := cmp.Diff(tc.want, h.look(t, tc.typ, tc.name), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s %s: %s", tc.typ, tc.name, diff)
		}
	}
	if err := os.WriteFile(h.Hosts, []byte("10.9.9.9 own.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"10.9.9.9"}, h.look(t, dnsmessage.TypeA, "own.example")); diff != "" {
		t.Errorf("after the file has changed: %s", diff)
	}
	os.Remove(h.Hosts)
	if got := h.look(t, dnsmessage.TypeA, "own.example"); got != nil {
		t.Errorf("without the file: %q", got)
	}
}

// A reply that is too long for UDP comes over TCP.
func TestHostTruncated(t *testing.T) {
	s := newBench(t, `{"version": 1, "base": "egress"}`, many{})
	u := &upstream{answer: func(query []byte, overTCP bool) [][]byte {
		return [][]byte{s.Answer(context.Background(), query, overTCP)}
	}}
	h := files(t, "", "")
	h.Servers = []netip.AddrPort{u.serve(t)}
	a, err := h.Lookup(t.Context(), Question{"n30.example.com", dnsmessage.TypeTXT})
	if err != nil || len(a.Records) != 30 {
		t.Errorf("%d records, %v", len(a.Records), err)
	}
	if n := u.queries.Load(); n != 2 {
		t.Errorf("%d queries", n)
	}
}

// What others send to our port, and what does not answer the question, is not taken.
func TestHostForeignReplies(t *testing.T) {
	right := authority(t, names)
	u := &upstream{answer: func(query []byte, overTCP bool) [][]byte {
		reply := right(query, overTCP)[0]
		// Each leads elsewhere, so that it shows when it is taken.
		forged := func(at int, with byte) []byte {
			wrong := append([]byte(nil), reply...)
			wrong[len(wrong)-12] = 99 // of the last address; the OPT record takes 11 bytes
			wrong[at] = with
			return wrong
		}
		wrongID, otherName, otherType := forged(0, reply[0]^1), forged(13, 'X'), forged(12+13+1, 28)
		return [][]byte{nil, {1, 2, 3}, query, wrongID, otherName, otherType, reply}
	}}
	h := files(t, "", "")
	h.Servers = []netip.AddrPort{u.serve(t)}
	if diff := cmp.Diff([]string{"93.184.215.14", "93.184.215.15"}, h.look(t, dnsmessage.TypeA, "example.com")); diff != "" {
		t.Error(diff)
	}
	if n := u.queries.Load(); n != 1 {
		t.Errorf("%d queries", n)
	}
}

// A server that knows no EDNS is asked without.
func TestHostWithoutEDNS(t *testing.T) {
	right := authority(t, names)
	u := &upstream{answer: func(query []byte, overTCP bool) [][]byte {
		if binary.BigEndian.Uint16(query[10:]) != 0 {
			return [][]byte{append(append([]byte(nil), query[:2]...), 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0)}
		}
		return right(query, overTCP)
	}}
	h := files(t, "", "")
	h.Servers = []netip.AddrPort{u.serve(t)}
	if diff := cmp.Diff([]string{"93.184.215.14", "93.184.215.15"}, h.look(t, dnsmessage.TypeA, "example.com")); diff != "" {
		t.Error(diff)
	}
}

// The next server is asked when one does not answer or cannot, and stays the first.
func TestHostNextServer(t *testing.T) {
	silent := &upstream{answer: func([]byte, bool) [][]byte { return nil }}
	broken := &upstream{answer: func(query []byte, _ bool) [][]byte {
		return [][]byte{append(append([]byte(nil), query[:2]...), 0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0)}
	}}
	good := &upstream{answer: authority(t, names)}
	h := files(t, "", "options timeout:1 attempts:1\n")
	h.Servers = []netip.AddrPort{broken.serve(t), silent.serve(t), good.serve(t)}
	for range 3 {
		if diff := cmp.Diff([]string{"93.184.215.14", "93.184.215.15"}, h.look(t, dnsmessage.TypeA, "example.com")); diff != "" {
			t.Error(diff)
		}
	}
	if broken.queries.Load() != 1 || silent.queries.Load() != 1 || good.queries.Load() != 3 {
		t.Errorf("%d, %d and %d queries", broken.queries.Load(), silent.queries.Load(), good.queries.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Lookup(ctx, Question{"other.example.org", dnsmessage.TypeA}); err == nil {
		t.Error("an answer after the end of the context")
	}
}

func TestResolvConf(t *testing.T) {
	for text, want := range map[string]resolvConf{
		"": {[]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}, 5 * time.Second, 2},
		"# comment\n; too\nsearch example.com\nnameserver 192.0.2.1 # one\nnameserver\nnameserver nonsense\nnameserver 2001:db8::1\nnameserver fe80::1%eth0\nnameserver 192.0.2.4\noptions timeout:2 attempts:9 rotate ndots:5": {
			[]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("[2001:db8::1]:53"), netip.MustParseAddrPort("[fe80::1%eth0]:53")}, 2 * time.Second, 5,
		},
		"options timeout:-1 attempts:x timeout": {[]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}, time.Second, 2},
	} {
		if diff := cmp.Diff(want, parseResolvConf([]byte(text)), cmp.AllowUnexported(resolvConf{}), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

// FuzzReply: a name's owner decides on most of what a reply holds.
func FuzzReply(f *testing.F) {
	answer := authority(f, names)
	for name := range names {
		typ, name, _ := strings.Cut(name, " ")
		if typ == "A" {
			query, _, err := newQuery(Question{name, dnsmessage.TypeA})
			if err != nil {
				f.Fatal(err)
			}
			reply := answer(query, true)[0]
			binary.BigEndian.PutUint16(reply, 0)
			f.Add(reply)
		}
	}
	q := Question{"example.com", dnsmessage.TypeA}
	asked := query{question: dnsmessage.Question{Name: dnsmessage.MustNewName("example.com."), Type: q.Type, Class: dnsmessage.ClassINET}, asked: true, name: q.Name, size: maxTCP}
	s := newBench(f, allowExample, nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		a, ours, err := parseReply(data, 0, q)
		if !ours || err != nil {
			return
		}
		if len(a.Records) > maxUpstream {
			t.Errorf("%d records", len(a.Records))
		}
		reply := asked.reply(s.filter(&asked, a))
		var m dnsmessage.Message
		if err := m.Unpack(reply); err != nil {
			t.Fatalf("%x: %v", reply, err)
		}
		for _, r := range m.Answers {
			if addr, ok := address(r); ok && !s.Policy.Connect("tcp", s.Book.Names(addr), netip.AddrPortFrom(addr, 443)).Allowed {
				t.Errorf("gave out %s", addr)
			}
		}
	})
}
