package stream

import (
	"sync"

	"pyro/api"
)

// Bounded is an io.Writer that keeps the first and the last bytes of what is
// written to it, half and half, whatever the length; see api.Bound.
type Bounded struct {
	limit int

	mu    sync.Mutex // guards the rest: a command that was cut off may still write
	head  []byte
	tail  []byte // a ring once it is full
	next  int    // where the ring goes on
	total int64
}

// NewBounded returns a Bounded that keeps limit bytes.
func NewBounded(limit int) *Bounded { return &Bounded{limit: limit} }

// Write never fails.
func (b *Bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(p)
	b.total += int64(n)
	take := min(n, b.limit/2-len(b.head))
	b.head = append(b.head, p[:take]...)
	p = p[take:]

	size := b.limit - b.limit/2
	p = p[max(0, len(p)-size):]
	take = min(len(p), size-len(b.tail))
	b.tail = append(b.tail, p[:take]...)
	for p = p[take:]; len(p) > 0; {
		k := copy(b.tail[b.next:], p)
		b.next = (b.next + k) % size
		p = p[k:]
	}
	return n, nil
}

// Text returns the output for an answer and whether something is left out.
func (b *Bounded) Text() (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := append([]byte(nil), b.head...)
	kept = append(kept, b.tail[b.next:]...)
	kept = append(kept, b.tail[:b.next]...)
	return api.Bound(kept, b.total, b.limit)
}
