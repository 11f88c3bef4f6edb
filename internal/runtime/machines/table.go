package machines

import (
	"maps"
	"slices"
	"sync"
)

// Table holds the machines that this process is attached to, by id. The zero
// value is an empty one. M is a pointer.
type Table[M comparable] struct {
	mu   sync.Mutex // guards live
	live map[string]M
}

// Get returns the machine, or nil.
func (t *Table[M]) Get(id string) M {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.live[id]
}

// Put holds the machine.
func (t *Table[M]) Put(id string, m M) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live == nil {
		t.live = make(map[string]M)
	}
	t.live[id] = m
}

// Drop lets go of the machine, unless another one has taken its place.
func (t *Table[M]) Drop(id string, m M) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live[id] == m {
		delete(t.live, id)
	}
}

// All returns all machines.
func (t *Table[M]) All() []M {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Values(t.live))
}
