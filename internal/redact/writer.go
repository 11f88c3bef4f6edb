package redact

import (
	"io"
	"sync"
)

// pieceSize bounds what a Writer works on at once, in bytes.
const pieceSize = 64 << 10

// Writer passes on what is written to it, without the values. It is safe for
// concurrent use.
type Writer struct {
	w io.Writer

	mu     sync.Mutex // guards the rest; held while w is written to
	scan   scanner
	held   []byte // what was not passed on yet: the last bytes that scan has seen
	out    []byte
	closed bool
}

// Writer returns a writer that passes on to w.
func (s *Set) Writer(w io.Writer) *Writer { return &Writer{w: w, scan: scanner{set: s}} }

// Write never writes less than p without an error; what may be the beginning of a
// value waits for what follows.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return len(p), nil
	}
	for rest := p; len(rest) > 0; {
		piece := rest[:min(len(rest), pieceSize)]
		rest = rest[len(piece):]
		if err := w.take(piece); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// take is Write for one piece.
func (w *Writer) take(piece []byte) error {
	w.scan.scan(piece)
	settled := w.scan.settled()
	if passed := w.passed(len(piece)); len(w.held) == 0 && len(w.scan.spans) == 0 { // as nearly always: nothing is copied
		w.held = append(w.held, piece[settled-passed:]...)
		return w.pass(piece[:settled-passed])
	}
	w.held = append(w.held, piece...)
	return w.settle(settled)
}

// passed is how many bytes of the stream were passed on, with n of those that
// scan has seen not yet in held.
func (w *Writer) passed(n int) int { return w.scan.seen - n - len(w.held) }

// settle passes on what stands before a place of the stream.
func (w *Writer) settle(to int) error {
	at := w.passed(0)
	begin := at
	w.out = w.out[:0]
	for len(w.scan.spans) > 0 && w.scan.spans[0].Begin < to {
		s := w.scan.spans[0]
		if s.Begin >= at {
			w.out = append(append(w.out, w.held[at-begin:s.Begin-begin]...), Mark...)
		}
		at = max(at, min(s.End, to))
		if s.End > to { // values that are still to come may overlap it
			break
		}
		w.scan.spans = w.scan.spans[1:]
	}
	w.out = append(w.out, w.held[at-begin:to-begin]...)
	w.held = append(w.held[:0], w.held[to-begin:]...)
	return w.pass(w.out)
}

func (w *Writer) pass(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_, err := w.w.Write(p)
	return err
}

// Close passes on what was held back: there is nothing to follow it. A Write that
// is stuck in the writer below keeps what is held back for itself.
func (w *Writer) Close() error {
	if !w.mu.TryLock() {
		return nil
	}
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	return w.settle(w.scan.seen)
}
