package dns

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds of a Book. A guest that looks up more pushes its own oldest entries out,
// and has to look them up again.
const (
	DefaultBookSize = 16384     // addresses
	namesPerAddress = 64        // names that led to one address
	DefaultGrace    = time.Hour // programs keep connecting to an address after its time to live
)

// Book holds which addresses were given out for which names, for as long as the
// records lived and a time of grace. The zero value is an empty book; it may be
// used by any number of goroutines.
type Book struct {
	// Size is the number of addresses that are kept; 0 means DefaultBookSize.
	Size int
	// Grace is how long an address counts after its record's time to live; 0
	// means DefaultGrace.
	Grace time.Duration

	mu      sync.Mutex
	entries map[netip.Addr][]entry // the newest last
	order   []netip.Addr           // in which they came
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
	added := entry{name, time.Now().Add(ttl + grace)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entries == nil {
		b.entries = map[netip.Addr][]entry{}
	}
	kept, known := b.entries[addr]
	kept = slices.DeleteFunc(kept, func(e entry) bool { return e.name == name })
	if len(kept) >= namesPerAddress {
		kept = slices.Delete(kept, 0, len(kept)-namesPerAddress+1)
	}
	b.entries[addr] = append(kept, added)
	if !known {
		b.order = append(b.order, addr)
		b.shrink()
	}
}

// shrink removes what is too old, and the oldest beyond the size.
func (b *Book) shrink() {
	size := b.Size
	if size == 0 {
		size = DefaultBookSize
	}
	if len(b.order) <= size {
		return
	}
	now := time.Now()
	b.order = slices.DeleteFunc(b.order, func(addr netip.Addr) bool {
		live := slices.ContainsFunc(b.entries[addr], func(e entry) bool { return e.expires.After(now) })
		if !live {
			delete(b.entries, addr)
		}
		return !live
	})
	// A quarter goes at once, so that a full book is not searched for each address.
	if gone := min(len(b.order)-size*3/4, len(b.order)-1); gone > 0 {
		for _, addr := range b.order[:gone] {
			delete(b.entries, addr)
		}
		b.order = slices.Delete(b.order, 0, gone)
	}
}

// Names lists the names for which addr was given out, the newest first.
func (b *Book) Names(addr netip.Addr) []string {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for _, e := range slices.Backward(b.entries[addr]) {
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
	return len(b.entries)
}
