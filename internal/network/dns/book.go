package dns

import (
	"container/list"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds of a Book. A guest that looks up more pushes out what it has not looked up
// for longest, and has to look that up again.
const (
	DefaultBookSize = 16384     // pairs of an address and a name
	namesPerAddress = 64        // that led to one address
	DefaultGrace    = time.Hour // programs keep connecting to an address after its time to live
)

// Book holds which addresses were given out for which names, for as long as the
// records lived and a time of grace. The zero value is an empty book; it may be
// used by any number of goroutines.
type Book struct {
	// Size is the number of pairs of an address and a name that are kept; 0 means
	// DefaultBookSize.
	Size int
	// Grace is how long an address counts after its record's time to live; 0
	// means DefaultGrace.
	Grace time.Duration

	mu    sync.Mutex
	pages map[netip.Addr]*list.Element // of *page in order
	order list.List                    // the page that was added to last at the back
	pairs int
}

// page is what is known of one address.
type page struct {
	addr    netip.Addr
	entries []entry // the newest last
}

type entry struct {
	name    string
	expires time.Time
}

// Add notes that addr was given out for name, which is in canonical form, with a
// record that lives for ttl.
func (b *Book) Add(name string, addr netip.Addr, ttl time.Duration) {
	grace := b.Grace
	if grace == 0 {
		grace = DefaultGrace
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.page(addr)
	before := len(p.entries)
	p.entries = slices.DeleteFunc(p.entries, func(e entry) bool { return e.name == name })
	if len(p.entries) >= namesPerAddress {
		p.entries = slices.Delete(p.entries, 0, 1)
	}
	p.entries = append(p.entries, entry{name, time.Now().Add(ttl + grace)})
	b.pairs += len(p.entries) - before
	b.shrink()
}

// page returns the address's page, a new one if there is none, and makes it the
// last.
func (b *Book) page(addr netip.Addr) *page {
	if e, ok := b.pages[addr]; ok {
		b.order.MoveToBack(e)
		return e.Value.(*page)
	}
	if b.pages == nil {
		b.pages = map[netip.Addr]*list.Element{}
	}
	p := &page{addr: addr}
	b.pages[addr] = b.order.PushBack(p)
	return p
}

// shrink removes the pages that were not added to for longest, and never the last.
func (b *Book) shrink() {
	size := b.Size
	if size == 0 {
		size = DefaultBookSize
	}
	for b.pairs > size && len(b.pages) > 1 {
		p := b.order.Remove(b.order.Front()).(*page)
		delete(b.pages, p.addr)
		b.pairs -= len(p.entries)
	}
}

// Names lists the names for which addr was given out, the newest first.
func (b *Book) Names(addr netip.Addr) []string {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.pages[addr]
	if !ok {
		return nil
	}
	var names []string
	for _, e := range slices.Backward(e.Value.(*page).entries) {
		if e.expires.After(now) {
			names = append(names, e.name)
		}
	}
	return names
}

// Len is the number of addresses in the book.
func (b *Book) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.pages)
}
