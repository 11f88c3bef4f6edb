package gateway

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"pyro/internal/network/policy"
)

// echo sends everything back, and ends when its peer does.
func echo(c *net.TCPConn) {
	defer c.Close()
	_, _ = io.Copy(c, c)
}

// TestStream sends much in both directions at once; the end of one direction
// ends it alone.
func TestStream(t *testing.T) {
	at := listen(t, echo)
	w := newWorld(t, opened(at), nil).boot(t)
	conn := w.mustDial(t, at)
	sent := make([]byte, 32<<20)
	rand.NewChaCha8([32]byte{1}).Read(sent)
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || sha256.Sum256(got) != sha256.Sum256(sent) {
		t.Errorf("%d of %d bytes came back, or others: %v", len(got), len(sent), err)
	}
}

// TestManyStreams has more connections at once than most programs make.
func TestManyStreams(t *testing.T) {
	at := listen(t, echo)
	w := newWorld(t, opened(at), nil).boot(t)
	const n = 600
	var ready, all sync.WaitGroup
	ready.Add(n)
	for i := range n {
		all.Go(func() {
			conn, err := w.dial(at)
			ready.Done()
			if err != nil {
				t.Errorf("connection %d: %v", i, err)
				return
			}
			defer conn.Close()
			ready.Wait() // all are open at the same time
			message := bytes.Repeat([]byte{byte(i)}, 10_000)
			go func() { _, _ = conn.Write(message); _ = conn.CloseWrite() }()
			if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, message) {
				t.Errorf("connection %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	all.Wait()
	eventually(t, "no flow is left", func() bool {
		w.gateway.flows.mu.Lock()
		defer w.gateway.flows.mu.Unlock()
		return len(w.gateway.flows.live) == 0 && w.gateway.flows.tcp == 0
	})
}

// TestRefused tries what a policy for one address does not open.
func TestRefused(t *testing.T) {
	at, other := listen(t, echo), listen(t, echo)
	w := newWorld(t, opened(at), nil).boot(t)
	for _, to := range []string{
		other.String(), "192.0.2.1:80", "169.254.169.254:80", "10.0.0.1:22", "[2001:db8::1]:443",
		"[64:ff9b::7f00:1]:80", "10.213.77.1:80", "[fd70:7972:6f00::1]:22", "[fd70:7972:6f00::9]:22",
	} {
		if conn, err := w.dial(netip.MustParseAddrPort(to)); err == nil {
			conn.Close()
			t.Errorf("%s is open", to)
		} else if !strings.Contains(err.Error(), "refused") {
			t.Errorf("%s: %v, want a refusal", to, err)
		}
	}
	if got := w.refusedOf(policy.TCP); len(got) < 9 || got[0] != " 127.0.0.1 "+other.String()[len("127.0.0.1:"):] {
		t.Errorf("refusals are %q", got)
	}
	w.mustDial(t, at)
}

// TestClosedPort: what refuses the host refuses the guest.
func TestClosedPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	w := newWorld(t, opened(at), nil).boot(t)
	if _, err := w.dial(at); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a closed port says %v", err)
	}
	if got := w.refusedOf(policy.TCP); len(got) > 0 {
		t.Errorf("it is logged as refused by the policy: %q", got)
	}
}

// TestResets: a stream that is cut off does not look whole, in either direction.
func TestResets(t *testing.T) {
	cut := make(chan error, 1)
	at := listen(t, func(c *net.TCPConn) {
		var b [1]byte
		if _, err := io.ReadFull(c, b[:]); err != nil {
			cut <- err
			return
		}
		if b[0] == 'h' { // the host's side cuts
			_, _ = c.Write([]byte("part"))
			_ = c.SetLinger(0)
			c.Close()
			return
		}
		_, err := io.Copy(io.Discard, c)
		cut <- err
		c.Close()
	})
	w := newWorld(t, opened(at), nil).boot(t)
	conn := w.mustDial(t, at)
	_, _ = conn.Write([]byte("h"))
	if got, err := io.ReadAll(conn); err == nil {
		t.Errorf("the guest got %q and a proper end", got)
	}
	aborted, endpoint := w.socket(t, at)
	_, _ = aborted.Write([]byte("g"))
	endpoint.Abort() // as the guest does when a process is killed with unread data
	if err := <-cut; err == nil {
		t.Error("the host got a proper end from a guest that reset")
	}
	conn = w.mustDial(t, at)
	_, _ = conn.Write([]byte("g"))
	eventually(t, "the flow can be ended", func() bool {
		w.gateway.flows.each(func(*flow) bool { return true })
		select {
		case err := <-cut:
			if err == nil {
				t.Error("the host got a proper end of an idle flow")
			}
			return true
		default:
			return false
		}
	})
}

// socket connects with an endpoint at hand.
func (w *world) socket(t *testing.T, to netip.AddrPort) (*gonet.TCPConn, tcpip.Endpoint) {
	t.Helper()
	var queue waiter.Queue
	endpoint, err := w.guest.NewEndpoint(tcp.ProtocolNumber, protocolOf(to.Addr()), &queue)
	if err != nil {
		t.Fatal(err)
	}
	entry, connected := waiter.NewChannelEntry(waiter.WritableEvents)
	queue.EventRegister(&entry)
	defer queue.EventUnregister(&entry)
	_ = endpoint.Connect(full(fromGuest(to)))
	<-connected
	return gonet.NewTCPConn(&queue, endpoint), endpoint
}

// TestReaderThatDoesNotRead: the writer is stopped, wherever it is, instead of
// what it writes piling up in between.
func TestReaderThatDoesNotRead(t *testing.T) {
	const bound = 16 << 20 // the kernel's buffers of a loopback connection, ours and the guest's
	var taken atomic.Int64
	at := listen(t, func(c *net.TCPConn) {
		buffer := make([]byte, 64<<10)
		for {
			n, err := c.Write(buffer)
			taken.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	idle := listen(t, func(*net.TCPConn) {}) // never reads
	w := newWorld(t, opened(at)+","+opened(idle), nil).boot(t)
	w.mustDial(t, at)
	if n := settled(t, &taken); n > bound || n == 0 {
		t.Errorf("the host's side could write %d bytes that nobody reads", n)
	}
	conn := w.mustDial(t, idle)
	taken.Store(0)
	go func() {
		buffer := make([]byte, 64<<10)
		for {
			n, err := conn.Write(buffer)
			taken.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	if n := settled(t, &taken); n > bound || n == 0 {
		t.Errorf("the guest could write %d bytes that nobody reads", n)
	}
}

// settled returns a count that has not changed for a while.
func settled(t *testing.T, count *atomic.Int64) int64 {
	t.Helper()
	last, since := int64(-1), time.Now()
	eventually(t, "writing stops", func() bool {
		if now := count.Load(); now != last {
			last, since = now, time.Now()
		}
		return last > 0 && time.Since(since) > time.Second || last > 1<<30
	})
	return last
}

// TestClose ends what is under way.
func TestClose(t *testing.T) {
	ended := make(chan error, 1)
	at := listen(t, func(c *net.TCPConn) {
		_, err := io.Copy(io.Discard, c)
		ended <- err
	})
	w := newWorld(t, opened(at), nil).boot(t)
	w.mustDial(t, at)
	w.gateway.Close()
	if err := <-ended; err == nil {
		t.Error("the host's connection ended as if it were complete")
	}
}

func TestIdle(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		udp, half bool
		ago       time.Duration
		want      bool
	}{
		{false, false, time.Hour, false},
		{false, false, 3 * time.Hour, true},
		{false, true, time.Minute, false},
		{false, true, time.Hour, true},
		{true, false, time.Second, false},
		{true, false, 2 * time.Minute, true},
	} {
		f := &flow{udp: c.udp}
		f.half.Store(c.half)
		f.used.Store(now.Add(-c.ago).UnixNano())
		if got := f.idle(now); got != c.want {
			t.Errorf("%+v: idle is %v", c, got)
		}
	}
}

// TestFlowsAreBounded counts both kinds apart.
func TestFlowsAreBounded(t *testing.T) {
	var fs flows
	var added []*flow
	for range maxUDP {
		f := &flow{udp: true, end: func() {}}
		if !fs.add(f) {
			t.Fatal("a flow within the bound is refused")
		}
		added = append(added, f)
	}
	if fs.add(&flow{udp: true}) {
		t.Error("one flow too many is taken")
	}
	if !fs.add(&flow{end: func() {}}) {
		t.Error("the other kind suffers")
	}
	fs.remove(added[0])
	fs.remove(added[0])
	if !fs.add(&flow{udp: true, end: func() {}}) || fs.add(&flow{udp: true}) {
		t.Error("a removed flow counts, or counts twice")
	}
	fs.close()
	if fs.add(&flow{}) {
		t.Error("a closed gateway takes a flow")
	}
}

// TestChecksums: a guest that drops what has none is served too.
func TestChecksums(t *testing.T) {
	const size = 300_000 // several segments
	at := listen(t, func(conn *net.TCPConn) {
		_, _ = conn.Write(bytes.Repeat([]byte("x"), size))
		conn.Close()
	})
	p, err := policy.Parse([]byte(`{"version":1,"rules":[` + opened(at) + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	w := serve(t, Options{Policy: p, Checksums: true}, nil).boot(t)
	b, err := io.ReadAll(w.mustDial(t, at))
	if err != nil || len(b) != size {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
