package spool

import (
	"context"
	"sync"
)

// bell wakes all that wait for something to change. Ringing costs next to
// nothing while nobody waits.
type bell struct {
	mu sync.Mutex
	ch chan struct{} // closed by the next ring; nil if nobody waits
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// listen returns a channel that the next ring closes.
func (b *bell) listen() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

// wait returns when ready says so, done is closed or ctx ends. What makes ready
// true must ring afterwards.
func (b *bell) wait(ctx context.Context, done <-chan struct{}, ready func() bool) {
	for {
		changed := b.listen()
		if ready() {
			return
		}
		select {
		case <-changed:
		case <-done:
			return
		case <-ctx.Done():
			return
		}
	}
}
