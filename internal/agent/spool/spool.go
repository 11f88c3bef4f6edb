// Package spool keeps the newest output of a process that nobody may be reading.
//
// # Terms
//
// Bytes are counted from the first one that was ever written: a cursor is such
// a count, and never goes back. A [Spool] keeps the newest Size bytes, in a
// file that is written round and round: byte c is at offset c modulo Size. A
// reader whose cursor points at bytes that are gone is told how many it missed.
// A [Log] is a spool of records, which tell two streams apart.
//
// # Promises
//
//   - Writing never fails and never waits for a reader. If the disk is full, the
//     newest 64 KiB are kept in memory and what the file held is let go when
//     newer bytes leave a gap; when the disk has room again, the file is used again.
//   - A spool needs no memory to speak of as long as the disk is not full.
//   - Any number of goroutines may read and wait at the same time.
//
// What a file holds is encrypted with a key that is only in memory: a file is part
// of the disk of a sandbox, which is saved and kept, and output may show what is
// nobody's business. Nothing of a spool can be read when its process has ended.
//
// The guest's root may truncate or rewrite the files. That loses output, which
// readers are told as a drop, and nothing else.
package spool

import (
	"context"
	"fmt"
	"os"
	"sync"
)

// tailBytes is what is kept in memory while the file takes nothing.
const tailBytes = 64 << 10

// retryBytes is how much must come before a file that failed is tried again.
const retryBytes = 16 << 10

// Spool keeps the newest bytes of one stream.
type Spool struct {
	path   string
	size   int64
	cipher cipher
	bell   bell

	mu         sync.Mutex // guards what follows; held while the file is read or written
	file       *os.File   // nil until the first byte
	begin, end int64      // what is kept
	tail       []byte     // the last bytes before end, which the file did not take
	retry      int64      // the end at which the file is tried again
	closed     bool
}

// New returns an empty spool of size bytes. The file is made with the first byte.
func New(path string, size int64) *Spool { return &Spool{path: path, size: size, cipher: newCipher()} }

// Write appends p. It always takes all of it.
func (s *Spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return len(p), nil
	}
	rest := p
	if len(s.tail) == 0 {
		n, err := s.store(s.end, p)
		s.end += int64(n)
		if rest = p[n:]; err != nil {
			s.retry = s.end + retryBytes
		}
	}
	for len(rest) > 0 {
		n := min(len(rest), retryBytes)
		s.hold(rest[:n])
		rest = rest[n:]
	}
	s.begin = max(s.begin, s.end-s.size)
	if len(p) > 0 {
		s.bell.ring()
	}
	return len(p), nil
}

// store writes p to the file as the bytes from cursor at on and returns how many
// it took. What they replace is given up first.
func (s *Spool) store(at int64, p []byte) (int, error) {
	if s.file == nil {
		f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return 0, err
		}
		s.file = f
	}
	done := 0
	for done < len(p) {
		offset := at % s.size
		n := int(min(int64(len(p)-done), s.size-offset))
		s.begin = max(s.begin, at+int64(n)-s.size)
		n, err := s.file.WriteAt(s.cipher.crypt(at, p[done:done+n]), offset)
		done += n
		at += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// hold appends at most retryBytes to the tail, after it tried to empty the tail
// into the file.
func (s *Spool) hold(p []byte) {
	s.tail = append(s.tail, p...)
	s.end += int64(len(p))
	if s.end >= s.retry {
		n, err := s.store(s.end-int64(len(s.tail)), s.tail)
		s.tail = append(s.tail[:0], s.tail[n:]...)
		if err == nil {
			s.tail = nil
			return
		}
		s.retry = s.end + retryBytes
	}
	if over := len(s.tail) - tailBytes; over > 0 {
		s.tail = append(s.tail[:0], s.tail[over:]...)
		s.begin = s.end - tailBytes // the file's bytes are cut off from these
	}
}

// Bounds returns the oldest cursor that can be read and the one after the newest.
func (s *Spool) Bounds() (begin, end int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begin, s.end
}

// Chunk is a piece of what a spool holds.
type Chunk struct {
	// Cursor is where Data begins: Dropped bytes after what was asked for.
	Cursor, Dropped int64
	Data            []byte
}

// Next is the cursor after the chunk.
func (c Chunk) Next() int64 { return c.Cursor + int64(len(c.Data)) }

// BeyondError is the error for a cursor that no byte has reached yet.
type BeyondError struct{ Cursor, End int64 }

func (e *BeyondError) Error() string {
	return fmt.Sprintf("cursor %d is not between 0 and the end, %d", e.Cursor, e.End)
}

// Read returns at most limit bytes from cursor on, none if there are none yet.
func (s *Spool) Read(cursor int64, limit int) (Chunk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cursor < 0 || cursor > s.end {
		return Chunk{}, &BeyondError{cursor, s.end}
	}
	from := max(cursor, s.begin)
	data := make([]byte, min(int64(max(limit, 0)), s.end-from))
	inFile := s.end - int64(len(s.tail)) - from
	if inFile > 0 && s.load(from, data[:min(inFile, int64(len(data)))]) != nil {
		s.begin = s.end - int64(len(s.tail))
		from, inFile = s.begin, 0
		data = data[:min(len(data), len(s.tail))]
	}
	if int64(len(data)) > inFile {
		skip := max(inFile, 0)
		copy(data[skip:], s.tail[max(-inFile, 0):])
	}
	return Chunk{Cursor: from, Dropped: from - cursor, Data: data}, nil
}

// load reads bytes of the file that were stored from cursor at on.
func (s *Spool) load(at int64, p []byte) error {
	for len(p) > 0 {
		offset := at % s.size
		n, err := s.file.ReadAt(p[:min(int64(len(p)), s.size-offset)], offset)
		if n == 0 && err != nil {
			return err
		}
		copy(p, s.cipher.crypt(at, p[:n]))
		p = p[n:]
		at += int64(n)
	}
	return nil
}

// Wait returns when there are bytes after cursor, done is closed or ctx ends.
func (s *Spool) Wait(ctx context.Context, cursor int64, done <-chan struct{}) {
	s.bell.wait(ctx, done, func() bool {
		_, end := s.Bounds()
		return end > cursor
	})
}

// Remove gives up the file. Later writes are ignored, nothing can be read.
func (s *Spool) Remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		s.file.Close()
		os.Remove(s.path)
	}
	s.file, s.tail, s.closed = nil, nil, true
	s.begin = s.end
	s.bell.ring()
}
