// Package carrier keeps a machine's network alive, for every driver alike: it
// makes the link, starts the uplink (package uplink) at the gateway's end of it,
// and starts another one whenever that dies.
//
// # How a network comes back
//
// As long as the process that made the link runs, it keeps the gateway's end
// open: another uplink goes on there, and the guest notices nothing but reset
// connections. When that process is gone too, nobody has that end any more. The
// next one makes a new link, and has the driver give the guest's card the other
// end of it, see [Machine].
package carrier

import (
	"context"
	"log/slog"
	"os"
	"sync"

	"pyro/internal/network/uplink"
	"pyro/internal/runtime"
	"pyro/internal/runtime/hostprocess"
)

// Options say whose network it is. All are required unless they say otherwise.
type Options struct {
	// Spec is the machine's, with a network.
	Spec runtime.Spec
	// Dir is the machine's folder, by which its uplinks are found.
	Dir string
	// Executable is this program.
	Executable string
	// Nobody has the uplink run as nobody; the caller must be root. Optional.
	Nobody bool
	// Checksums says that the guest checks what it receives. Optional.
	Checksums bool
	// Logger gets what becomes of the network.
	Logger *slog.Logger
}

// Machine is what a carrier asks of a machine.
type Machine interface {
	// RecordUplink writes down which process carries the network now.
	RecordUplink(hostprocess.Process) error
	// Replug gives the guest's card another end of a link. The caller closes it.
	Replug(ctx context.Context, guest *os.File) error
}

// Carrier carries the network of one machine.
type Carrier struct {
	o        Options
	sandbox  hostprocess.Process // with whose end the network ends
	starting *uplink.Starting    // the first one, of a new machine
	ended    chan struct{}       // closed when what Keep began has ended
	held     context.Context     // until Close
	letGo    context.CancelFunc  // ends held

	mu      sync.Mutex
	gateway *os.File            // the gateway's end of the link; nil if the process that made it is gone
	uplink  hostprocess.Process // guarded by mu
}

// Adopt takes up the network that an earlier process began.
func Adopt(o Options, sandbox, carriedBy hostprocess.Process) *Carrier {
	c := newCarrier(o)
	c.sandbox, c.uplink = sandbox, carriedBy
	return c
}

func newCarrier(o Options) *Carrier {
	c := &Carrier{o: o, ended: make(chan struct{})}
	c.held, c.letGo = context.WithCancel(context.Background())
	return c
}

// Up says whether an uplink runs at the moment. That of nil does not.
func (c *Carrier) Up() bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.uplink.PID != 0 && c.uplink.Lives()
}

// Close lets go of the network without ending it, and returns when what Keep has
// begun has ended: no other uplink is started any more. It does not wait for a
// machine that is being given another link.
func (c *Carrier) Close() {
	c.letGo()
	<-c.ended
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gateway != nil {
		c.gateway.Close()
		c.gateway = nil
	}
}
