package gateway

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pyro/internal/network/policy"
)

// ownAddress is one of the host's that is neither loopback nor link-local: names
// never lead to those.
func ownAddress(t *testing.T) netip.Addr {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			return p.Addr()
		}
	}
	t.Skip("needs an IPv4 address of this machine besides its loopback's")
	panic("unreachable")
}

// TestGreetings: at an address that a name opened, the guest may ask for that name
// only, however it puts it.
func TestGreetings(t *testing.T) {
	listener, err := net.Listen("tcp", netip.AddrPortFrom(ownAddress(t), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var heard atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = conn.Write([]byte("hello "))
				first, _ := bufio.NewReader(conn).Peek(1)
				heard.Add(int64(len(first)))
				_, _ = conn.Write([]byte("bye"))
			}()
		}
	}()
	at := listener.Addr().(*net.TCPAddr).AddrPort()
	w := newWorld(t, `{"name":"good.example","ports":["1-65535"],"private":true}`, nil).boot(t)
	if _, err := w.dial(at); err == nil {
		t.Fatal("the address is open before its name was looked up")
	}
	w.gateway.options.Names.Book.Add("good.example", at.Addr(), time.Hour)
	for _, tc := range []struct {
		says string
		end  bool // and says no more
		want bool
	}{
		{"GET / HTTP/1.1\r\nHost: good.example\r\n\r\n", false, true},
		{"GET / HTTP/1.1\r\nHost: good.example\r\n", true, true},
		{"SSH-2.0-test\r\n", false, true},
		{"\x00binary", false, true},
		{"", true, true},
		{"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", false, false},
		{"GET / HTTP/1.1\r\nHost: other.example\r\n", true, false},
		{"GET / HTTP/1.1\r\nHost: other.example", true, false},
		{"GET http://other.example/ HTTP/1.1", true, false},
		{"GET / HTTP/1.1\r\nHost: good.example\r\nHost: other.example\r\n\r\n", false, false},
		{"GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 40_000), false, false},
		{"\x16\x03\x01\x00\x05\x01", true, false},
	} {
		heard.Store(0)
		conn := w.mustDial(t, at)
		_, _ = conn.Write([]byte(tc.says))
		if tc.end {
			_ = conn.CloseWrite()
		}
		got, err := io.ReadAll(conn)
		if passed := err == nil && string(got) == "hello bye"; passed != tc.want {
			t.Errorf("%.60q: the guest got %q, %v", tc.says, got, err)
		}
		if !tc.want && heard.Load() > 0 {
			t.Errorf("%.60q: the host heard of it", tc.says)
		}
		conn.Close()
	}
	if got := w.refusedOf(policy.TCP); len(got) < 7 {
		t.Errorf("refusals are %q", got)
	}
}
