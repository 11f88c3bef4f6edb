package machines

import (
	"sync"
	"time"

	"pyro/api"
)

// Life is what a machine knows of its end: of the machine's own, and of the
// driver's letting go of it, after which nothing is learned of the machine any more.
type Life struct {
	id     string
	done   chan struct{} // closed when the machine has ended
	err    error         // why; set before done is closed
	closed chan struct{} // closed when the driver has let go
	once   sync.Once     // for LetGo
}

// NewLife is that of a machine that runs.
func NewLife(id string) *Life {
	return &Life{id: id, done: make(chan struct{}), closed: make(chan struct{})}
}

// ID implements runtime.Machine.
func (l *Life) ID() string { return l.id }

// Done implements runtime.Machine.
func (l *Life) Done() <-chan struct{} { return l.done }

// Err implements runtime.Machine.
func (l *Life) Err() error {
	select {
	case <-l.done:
		return l.err
	default:
		return nil
	}
}

// End says that the machine has ended, and why. It is called once.
func (l *Life) End(why error) {
	l.err = why
	close(l.done)
}

// Closed is closed when the driver has let go of the machine.
func (l *Life) Closed() <-chan struct{} { return l.closed }

// LetGo says so and calls release, the first time it is called.
func (l *Life) LetGo(release func()) {
	l.once.Do(func() {
		close(l.closed)
		release()
	})
}

// Wait returns when the machine has ended or was let go.
func (l *Life) Wait() {
	select {
	case <-l.done:
	case <-l.closed:
	}
}

// EndTime is how long a machine that answers no more may take to be seen ending:
// its process is gone a moment after its connections broke.
const EndTime = time.Second

// OrEnded replaces an error by the reason of the machine's end, if it ended.
func (l *Life) OrEnded(err error) error {
	select {
	case <-l.done:
		return l.err
	case <-time.After(EndTime):
	}
	return api.Errorf(api.KindInternal, "sandbox %s: %w", l.id, err)
}
