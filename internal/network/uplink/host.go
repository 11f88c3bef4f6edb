package uplink

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// ownAddresses are the host's own, looked up again now and then. The zero value
// is ready.
type ownAddresses struct {
	mu    sync.Mutex
	read  time.Time
	addrs map[netip.Addr]bool
}

// ownFor is how long what was read counts. An address that the host gets
// meanwhile is not known to be its own.
const ownFor = 2 * time.Second

// HostAddresses returns what says of an address whether it is the host's own.
func HostAddresses() func(netip.Addr) bool { return new(ownAddresses).has }

func (o *ownAddresses) has(addr netip.Addr) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.read) > ownFor {
		o.reread()
	}
	return o.addrs[addr.Unmap().WithZone("")]
}

// reread keeps what was known if the host does not say.
func (o *ownAddresses) reread() {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return
	}
	o.read, o.addrs = time.Now(), make(map[netip.Addr]bool, len(list))
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			o.addrs[p.Addr().Unmap().WithZone("")] = true
		}
	}
}
