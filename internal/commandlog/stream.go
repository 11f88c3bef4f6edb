package commandlog

import (
	"errors"
	"os"
	"sync"
	"time"
)

const (
	// bufferSize is what small writes collect in memory before they go to the
	// file. It is cheaper to copy than to write less than this at once.
	bufferSize = 64 << 10
	// flushAfter is how long a byte stays in memory at most.
	flushAfter = 100 * time.Millisecond
)

// stream takes stdout or stderr of a command.
type stream struct {
	output *Output
	index  int // stdout or stderr

	mu      sync.Mutex // guards the rest
	total   int64      // bytes the command wrote
	buffer  []byte     // the newest of them, not yet in a file
	timer   *time.Timer
	waiting bool     // timer runs and will flush
	file    *os.File // the beginning; nil before the first byte
	head    int64    // its length
	ring    *ring    // the tail; nil as long as the beginning has room
	stopped error    // why nothing is kept any more
	closed  bool
}

func (s *stream) name() string { return [...]string{"stdout", "stderr"}[s.index] }

func (s *stream) path() string { return s.output.log.path(s.output.sequence, s.index) }

// Write takes p and never fails.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return len(p), nil
	}
	s.total += int64(len(p))
	if len(s.buffer)+len(p) > bufferSize {
		s.flush()
	}
	switch {
	case s.stopped != nil || len(p) == 0:
	case len(p) > bufferSize:
		s.keep(p)
	default:
		s.buffer = append(s.buffer, p...)
		s.flushSoon()
	}
	return len(p), nil
}

// flushSoon starts the timer unless it runs. The caller holds mu, here and in
// all that follow.
func (s *stream) flushSoon() {
	switch {
	case s.waiting:
		return
	case s.timer == nil:
		s.timer = time.AfterFunc(flushAfter, s.flushNow)
	default:
		s.timer.Reset(flushAfter)
	}
	s.waiting = true
}

// flushNow is what the timer runs; it holds mu by itself. The memory is given
// back: a command that is silent now may be so for days.
func (s *stream) flushNow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = false
	s.flush()
	s.buffer = nil
}

func (s *stream) flush() {
	s.keep(s.buffer)
	s.buffer = s.buffer[:0]
}

// keep writes p to the files, as far as that goes.
func (s *stream) keep(p []byte) {
	for len(p) > 0 && s.stopped == nil {
		put := s.putTail
		if s.head < s.output.log.budget.head() {
			put = s.putHead
		}
		n, err := put(p)
		if p = p[n:]; err != nil {
			s.stop(err)
		}
	}
}

// stop ends the keeping, not the counting.
func (s *stream) stop(err error) {
	s.stopped, s.buffer = err, nil
	if errors.Is(err, errCleared) { // the files are unlinked: let go of their space
		s.closeFiles()
	}
}

// putHead puts of p what belongs to the beginning.
func (s *stream) putHead(p []byte) (int, error) {
	l := s.output.log
	p = p[:min(int64(len(p)), l.budget.head()-s.head)]
	if s.file == nil {
		file, err := l.create(s.output, s.path())
		if err != nil {
			return 0, err
		}
		s.file = file
	}
	if err := l.reserve(s.output, s.index, int64(len(p))); err != nil {
		return 0, err
	}
	n, err := s.file.Write(p)
	s.head += int64(n)
	return n, s.settle(n-len(p), err)
}

// putTail puts p, or a piece of it, into the ring.
func (s *stream) putTail(p []byte) (int, error) {
	l := s.output.log
	if s.ring == nil {
		if err := l.reserve(s.output, s.index, ringHeader); err != nil {
			return 0, err
		}
		file, err := l.create(s.output, s.path()+tailSuffix)
		if err != nil {
			return 0, s.settle(-ringHeader, err)
		}
		s.ring = &ring{file: file, size: l.budget.tail(), head: s.head}
		if err := s.ring.writeHeader(); err != nil {
			return 0, err
		}
	}
	p = p[:min(int64(len(p)), s.ring.piece())]
	before, room := s.ring.kept(), s.ring.size-s.ring.kept()
	grow := min(room, int64(len(p))) // often 0, but then reserve still tells whether the log was cleared
	if err := l.reserve(s.output, s.index, grow); err != nil {
		return 0, err
	}
	n, err := s.ring.write(p)
	return n, s.settle(int(s.ring.kept()-before-grow), err)
}

// settle gives back what was reserved and not used, a number below zero, when a
// write has failed with err. It returns err.
func (s *stream) settle(unused int, err error) error {
	if unused < 0 {
		_ = s.output.log.reserve(s.output, s.index, int64(unused)) // giving back can only be too late
	}
	return err
}

// failure returns why nothing is kept any more.
func (s *stream) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(s.stopped, errCleared) {
		return nil
	}
	return s.stopped
}

// close ends the stream and returns how much was written to it.
func (s *stream) close() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.total
	}
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.flush()
	s.buffer = nil
	if s.ring != nil {
		// A tail that cannot be put in its place stays where it is, and Read finds it there.
		if grown, err := s.ring.join(s.file, s.head); err == nil {
			s.output.log.removeTail(s.output, s.index)
			_ = s.output.log.reserve(s.output, s.index, grown-ringHeader-s.ring.kept()) // hardly more than before
		}
	}
	s.closeFiles()
	return s.total
}

func (s *stream) closeFiles() {
	if s.file != nil {
		s.file.Close()
	}
	if s.ring != nil {
		s.ring.file.Close()
	}
	s.file, s.ring = nil, nil
}

// read is Log.Read for a stream that is open; ok is false if it is not.
func (s *stream) read(limit int) (t excerpt, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return excerpt{}, false, nil
	}
	s.flush()
	k := kept{total: s.total}
	if s.file != nil {
		t.path = s.path()
		k.head = section{s.file, 0, s.head}
	}
	if s.ring != nil {
		k.tail = s.ring.sections()
		k.gap = s.ring.written - s.ring.kept()
	}
	t.text, t.truncated, err = k.text(limit)
	return t, true, err
}
