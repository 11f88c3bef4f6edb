package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"pyro/internal/network/greeting"
	"pyro/internal/network/policy"
)

// dialTime bounds how long the host tries to connect. The guest's own patience
// usually ends sooner or later than that; it is told by a reset.
const dialTime = 30 * time.Second

// acceptTCP sees to one SYN of the guest, in a goroutine of its own. The guest's
// connection is made only when the host's is, so that a port that nobody
// listens on refuses the guest as it refuses the host.
func (g *Gateway) acceptTCP(r *tcp.ForwarderRequest) {
	g.work.Add(1)
	defer g.work.Done()
	to := destination(r.ID())
	if !g.allows(policy.TCP, to) {
		r.Complete(true)
		return
	}
	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	f := &flow{end: cancel}
	if !g.flows.add(f) {
		r.Complete(true)
		return
	}
	defer g.flows.remove(f)
	host, err := dial(ctx, to)
	if err != nil {
		r.Complete(true)
		return
	}
	var queue waiter.Queue
	endpoint, failed := shakeHands(ctx, r, &queue)
	r.Complete(failed != nil)
	if failed != nil {
		_ = host.SetLinger(0) // what never began must not look complete
		host.Close()
		return
	}
	t := &tunnel{flow: f, guest: gonet.NewTCPConn(&queue, endpoint), endpoint: endpoint, host: host, to: to}
	if !g.options.Policy.Connect(policy.TCP, nil, to).Allowed { // it was its name that opened it
		t.says = g.says
	}
	t.run(ctx)
}

// shakeHands makes the guest's connection. A guest that does not answer would be
// waited for two minutes, whatever becomes of the gateway: the end of ctx ends that.
func shakeHands(ctx context.Context, r *tcp.ForwarderRequest, queue *waiter.Queue) (tcpip.Endpoint, tcpip.Error) {
	made := make(chan struct{})
	defer close(made)
	stop := context.AfterFunc(ctx, func() {
		tick := time.NewTicker(10 * time.Millisecond) // it may not wait yet
		defer tick.Stop()
		for {
			queue.Notify(waiter.WritableEvents)
			select {
			case <-made:
				return
			case <-tick.C:
			}
		}
	})
	defer stop()
	return r.CreateEndpoint(queue)
}

// dial connects to the address and nothing else.
func dial(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: dialTime}
	return d.DialTCP(ctx, "tcp", netip.AddrPort{}, to)
}

// tunnel is a TCP connection of the guest and the one of the host that stands
// for it.
type tunnel struct {
	flow     *flow
	guest    *gonet.TCPConn
	endpoint tcpip.Endpoint
	host     *net.TCPConn
	to       netip.AddrPort
	// says judges by what the guest says first whether the connection may go on;
	// nil if it may whatever that is.
	says func(greeting.Greeting, netip.AddrPort) bool
	once sync.Once
}

// run passes bytes both ways until both directions have ended, one has failed or
// ctx ends.
func (t *tunnel) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, t.reset)
	defer stop()
	defer t.close()
	var both sync.WaitGroup
	both.Go(func() {
		if t.greet() {
			t.copy(ctx, t.host, t.guest, t.host.CloseWrite)
		}
	})
	both.Go(func() { t.copy(ctx, t.guest, t.host, t.guest.CloseWrite) })
	both.Wait()
}

// copy passes one direction on, and its end.
func (t *tunnel) copy(ctx context.Context, to io.Writer, from io.Reader, end func() error) {
	err := pass(to, from, t.flow)
	if err == nil && ctx.Err() == nil {
		t.flow.half.Store(true)
		err = end()
	}
	if err != nil && !errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
		t.reset() // half a stream must not look like a whole one
	}
}

// reset ends both sides so that their peers notice.
func (t *tunnel) reset() {
	t.once.Do(func() {
		_ = t.host.SetLinger(0)
		t.host.Close()
		t.endpoint.Abort()
	})
}

func (t *tunnel) close() {
	t.once.Do(func() {
		t.host.Close()
		t.guest.Close()
	})
}

// chunk is how much is passed on at once.
const chunk = 128 << 10

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// pass copies until the end of from. It holds one chunk at most.
func pass(to io.Writer, from io.Reader, f *flow) error {
	buffer := chunks.Get().(*[chunk]byte)
	defer chunks.Put(buffer)
	for {
		n, err := from.Read(buffer[:])
		if n > 0 {
			f.touch()
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}
