package debian

import "sync"

// counter adds up progress that several goroutines make.
type counter struct {
	mu    sync.Mutex // guards done and total, and orders the calls of tell
	done  int64
	total int64
	tell  func(done, total int64)
}

// add counts delta more, and raises the total to at least atLeast.
func (c *counter) add(delta, atLeast int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += delta
	c.total = max(c.total, atLeast)
	c.tell(c.done, c.total)
}
