package stream

import (
	"bytes"
	"context"
	"io"
	"sync"

	"pyro/api"
)

// stdin holds what the caller has sent and the command has not taken. One
// goroutine puts, one reads.
type stdin struct {
	ctx    context.Context // of the call; its end ends reading
	window int             // how many bytes it holds at most

	telling sync.Mutex      // guards tell; comes before mu
	tell    func(taken int) // tells the caller that it may send more; nil when it shall not be told any more

	mu     sync.Mutex // guards the rest
	queue  bytes.Buffer
	untold int  // bytes taken of which the caller does not know
	ended  bool // nothing follows

	change chan struct{} // holds a token when there may be something new
}

func newStdin(ctx context.Context, window int, tell func(int)) *stdin {
	return &stdin{ctx: ctx, window: window, tell: tell, change: make(chan struct{}, 1)}
}

// put appends what the caller sent. It never waits.
func (s *stdin) put(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return api.Errorf(api.KindUsage, "stdin goes on after its end")
	}
	if s.queue.Len()+s.untold+len(p) > s.window {
		return api.Errorf(api.KindUsage, "more than %d bytes of stdin are sent that the command has not taken", s.window)
	}
	s.queue.Write(p)
	s.wake()
	return nil
}

// end says that nothing follows.
func (s *stdin) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.wake()
}

func (s *stdin) wake() {
	select {
	case s.change <- struct{}{}:
	default: // the reader has not looked yet at the last change
	}
}

// Read is the command's side. It first tells of what earlier reads took, since
// only the next read shows that the command has room again.
func (s *stdin) Read(p []byte) (int, error) {
	s.tellTaken()
	for {
		if n, err := s.take(p); n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		select {
		case <-s.change:
		case <-s.ctx.Done():
			return 0, io.ErrUnexpectedEOF
		}
	}
}

// take returns what is there, or io.EOF.
func (s *stdin) take(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, _ := s.queue.Read(p) // io.EOF says only that it is empty
	s.untold += n
	if n == 0 && s.ended {
		return 0, io.EOF
	}
	return n, nil
}

// tellTaken may wait for a caller that does not read, so it does not hold mu
// while it tells.
func (s *stdin) tellTaken() {
	s.telling.Lock()
	defer s.telling.Unlock()
	if n := s.news(); n > 0 && s.tell != nil {
		s.tell(n)
	}
}

// news returns how much the caller is to be told now, once: a quarter of the
// window or more, so that it is not told all the time and yet never waits.
func (s *stdin) news() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.untold < s.window/4 {
		return 0
	}
	n := s.untold
	s.untold = 0
	return n
}

// quiet ends telling: what follows is the last frame.
func (s *stdin) quiet() {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.tell = nil
}
