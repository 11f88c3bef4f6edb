package refusals

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// flushEvery is how often counts of what was refused again are written, and how
// long a writer waits after it could not write.
const flushEvery = time.Second

// Writer writes a log. It may be used by any number of goroutines; a log has one
// writer at a time.
type Writer struct {
	mu         sync.Mutex
	files      Files
	current    int
	generation int64         // the highest there is
	size       int64         // of the current file
	known      ledger        // all that the log holds, or should
	again      map[key]Event // what was refused again and is not written yet
	timer      *time.Timer   // runs while there is something in again
	failed     error
	pause      time.Time // until when nothing is tried after a failure
	closed     bool
}

// NewWriter goes on with the log in the files, which stay the caller's to close. A
// log that cannot be read or written is no reason to have none of it: Err tells.
func NewWriter(files Files) *Writer {
	w := &Writer{files: files, again: map[key]Event{}}
	parts, current, err := readFiles(files)
	if err != nil {
		w.failed = err
	}
	for _, e := range parts[current].events {
		w.known.add(e)
	}
	w.current, w.generation = current, max(parts[0].generation, parts[1].generation)
	if info, err := files[current].Stat(); err == nil {
		w.size = info.Size()
	}
	if parts[current].generation == 0 || !parts[current].complete || !endsLine(files[current], w.size) {
		w.turn() // leaves alone what there is until its successor is whole
	}
	return w
}

// endsLine reports whether a file ends with a whole line.
func endsLine(file *os.File, size int64) bool {
	var last [1]byte
	_, err := file.ReadAt(last[:], size-1)
	return err == nil && last[0] == '\n'
}

// Add notes an event. It waits for one write to the file system at most. What
// cannot be written is still counted, and goes to the file when that is possible
// again; see Err.
func (w *Writer) Add(e Event) {
	e.fill(time.Now())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	_, seen := w.known.events[e.key()]
	w.known.add(e)
	if !seen {
		w.append(e.encode())
		return
	}
	if pending, ok := w.again[e.key()]; ok {
		pending.join(e)
		e = pending
	}
	w.again[e.key()] = e
	switch {
	case len(w.again) >= maxEvents:
		w.flush()
	case w.timer == nil:
		w.timer = time.AfterFunc(flushEvery, w.tick)
	}
}

func (w *Writer) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = nil
	if !w.closed {
		w.flush()
	}
}

// flush writes the counts.
func (w *Writer) flush() {
	for k, e := range w.again {
		delete(w.again, k)
		w.append(e.encode())
	}
}

// append writes one line, whose event is known already, to the current file. If
// that is full, or spoilt by a failure, the other one takes over.
func (w *Writer) append(line []byte) {
	switch {
	case time.Now().Before(w.pause):
	case w.failed != nil || w.size+int64(len(line)) > maxFile:
		w.turn()
	default:
		n, err := w.files[w.current].Write(line)
		w.size += int64(n)
		if err != nil {
			w.fail("write", err)
		}
	}
}

// turn begins the other file anew, with all that is known. Until its last line is
// there, readers take the current one.
func (w *Writer) turn() {
	clear(w.again) // they are in what is known
	w.generation++
	content := fmt.Appendf(nil, `{"generation":%d}`+"\n", w.generation)
	for _, e := range w.known.list() {
		content = append(content, e.encode()...)
	}
	content = append(content, complete+"\n"...)
	other := w.files[1-w.current]
	if err := other.Truncate(0); err != nil {
		w.fail("begin anew", err)
		return
	}
	if _, err := other.Write(content); err != nil {
		w.fail("write", err)
		return
	}
	w.current, w.size, w.failed = 1-w.current, int64(len(content)), nil
}

func (w *Writer) fail(what string, err error) {
	w.failed, w.pause = storage(what, err), time.Now().Add(flushEvery)
}

// Err returns why the log could not be written last, nil if it could.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// Close writes the counts that are left.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return w.failed
	}
	w.closed = true
	if w.timer != nil {
		w.timer.Stop()
	}
	w.pause = time.Time{}
	w.flush()
	if w.failed != nil {
		w.turn()
	}
	return w.failed
}
