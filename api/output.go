package api

import "sync"

// Output is an io.Writer that collects a command's output for an answer. It
// takes everything and keeps the first and the last part, half and half, so
// that its memory stays at Limit whatever is written. It is safe for
// concurrent use: a command that was cut off may still write.
type Output struct {
	// Limit is how many bytes Text returns at most, without its mark. The zero
	// value stands for MaxOutput.
	Limit int

	mu    sync.Mutex // guards the rest
	head  []byte
	tail  []byte // a ring once it is full
	next  int    // where the ring goes on
	total int64  // bytes written
}

func (o *Output) limit() int {
	if o.Limit > 0 {
		return o.Limit
	}
	return MaxOutput
}

// Write never fails.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, half := len(p), o.limit()/2
	o.total += int64(n)
	take := min(n, half-len(o.head))
	o.head = append(o.head, p[:take]...)
	p = p[take:]

	size := o.limit() - half
	p = p[max(0, len(p)-size):]
	take = min(len(p), size-len(o.tail))
	o.tail = append(o.tail, p[:take]...)
	for p = p[take:]; len(p) > 0; {
		k := copy(o.tail[o.next:], p)
		o.next = (o.next + k) % size
		p = p[k:]
	}
	return n, nil
}

// Text returns what Bound makes of the output.
func (o *Output) Text() (text string, truncated bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := append([]byte(nil), o.head...)
	kept = append(kept, o.tail[o.next:]...)
	kept = append(kept, o.tail[:o.next]...)
	return Bound(kept, o.total, o.limit())
}
