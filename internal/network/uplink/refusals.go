package uplink

import (
	"sync"

	"golang.org/x/sys/unix"

	"pyro/internal/network/refusals"
)

// log is the writer of a log that may still have another one: of the sandbox
// that this one's replaces. Until that is gone, what is refused waits.
type log struct {
	mu      sync.Mutex
	writer  *refusals.Writer // nil until the other one is gone
	waiting []refusals.Event
}

// maxWaiting bounds what waits; later events are dropped.
const maxWaiting = 1000

func newLog(files refusals.Files) *log {
	l := &log{}
	go func() {
		// The lock is the open file's, so that it ends with this process.
		for unix.Flock(int(files[0].Fd()), unix.LOCK_EX) == unix.EINTR {
		}
		w := refusals.NewWriter(files)
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, e := range l.waiting {
			w.Add(e)
		}
		l.writer, l.waiting = w, nil
	}()
	return l
}

func (l *log) add(e refusals.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.writer != nil:
		l.writer.Add(e)
	case len(l.waiting) < maxWaiting:
		l.waiting = append(l.waiting, e)
	}
}

func (l *log) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writer != nil {
		_ = l.writer.Close() // nobody is left to tell
	}
}
