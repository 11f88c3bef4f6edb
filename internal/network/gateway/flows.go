package gateway

import (
	"sync"
	"sync/atomic"
	"time"
)

// What one guest may make the gateway hold.
const (
	// maxHandshakes is how many TCP connections may wait for the host's dial. A
	// SYN beyond that is dropped, and the guest sends it again.
	maxHandshakes = 1024
	// maxTCP and maxUDP are how many flows there may be at the same time.
	maxTCP = 2048
	maxUDP = 512
	// flowBuffer is how many bytes the stack holds for each direction of a TCP
	// connection, of what the guest, or the host's side, has not read.
	flowBuffer = 512 << 10
)

// How long a flow without a byte in either direction stays.
const (
	idleTCP        = 2 * time.Hour
	idleHalfClosed = 5 * time.Minute
	idleUDP        = time.Minute
	idleSweep      = 10 * time.Second
)

// flow is what is known of each flow.
type flow struct {
	used atomic.Int64 // when the last byte went through, Unix nanoseconds
	half atomic.Bool  // one direction of a TCP connection has ended
	udp  bool
	end  func() // ends it at once; may be called more than once
}

func (f *flow) touch() { f.used.Store(time.Now().UnixNano()) }

func (f *flow) idle(now time.Time) bool {
	limit := idleTCP
	switch {
	case f.udp:
		limit = idleUDP
	case f.half.Load():
		limit = idleHalfClosed
	}
	return now.Sub(time.Unix(0, f.used.Load())) > limit
}

// flows are all flows of a gateway. The zero value is ready.
type flows struct {
	mu       sync.Mutex
	closed   bool
	tcp, udp int
	live     map[*flow]bool
}

// add takes up a flow, unless there are too many.
func (fs *flows) add(f *flow) bool {
	f.touch()
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, most := &fs.tcp, maxTCP
	if f.udp {
		n, most = &fs.udp, maxUDP
	}
	if fs.closed || *n >= most {
		return false
	}
	*n++
	if fs.live == nil {
		fs.live = map[*flow]bool{}
	}
	fs.live[f] = true
	return true
}

// full says whether there is no room for another flow of UDP.
func (fs *flows) full() bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.closed || fs.udp >= maxUDP
}

func (fs *flows) remove(f *flow) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if !fs.live[f] {
		return
	}
	delete(fs.live, f)
	if f.udp {
		fs.udp--
	} else {
		fs.tcp--
	}
}

// close ends all flows and lets no more begin.
func (fs *flows) close() {
	fs.mu.Lock()
	fs.closed = true
	fs.mu.Unlock()
	fs.each(func(*flow) bool { return true })
}

// each ends the flows that match.
func (fs *flows) each(match func(*flow) bool) {
	fs.mu.Lock()
	var found []*flow
	for f := range fs.live {
		if match(f) {
			found = append(found, f)
		}
	}
	fs.mu.Unlock()
	for _, f := range found {
		f.end()
	}
}

// endIdleFlows ends what nobody has used for long, until the gateway is closed.
func (g *Gateway) endIdleFlows() {
	tick := time.NewTicker(idleSweep)
	defer tick.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case now := <-tick.C:
			g.flows.each(func(f *flow) bool { return f.idle(now) })
		}
	}
}
