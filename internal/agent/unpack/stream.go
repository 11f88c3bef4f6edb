package unpack

import (
	"context"
	"errors"
	"io"
)

// CommitWord follows the archive's end. Only with it does anything change.
const CommitWord = "commit\n"

// pump reads ahead, and lets its reader go when ctx ends, which a read of a pipe
// cannot do. Its goroutine ends when ctx or the stream does; one that is blocked
// in a read stays until the stream's other end is closed.
type pump struct {
	ctx        context.Context
	full, free chan []byte
	chunk      []byte // taken from full
	rest       []byte // of chunk, not read yet
	err        error  // of the stream; valid when full is closed
}

const (
	pumpChunk = 256 << 10
	pumpAhead = 3 // chunks
)

func newPump(ctx context.Context, r io.Reader) *pump {
	p := &pump{ctx: ctx, full: make(chan []byte, pumpAhead), free: make(chan []byte, pumpAhead)}
	for range pumpAhead {
		p.free <- make([]byte, pumpChunk)
	}
	go p.run(r)
	return p
}

func (p *pump) run(r io.Reader) {
	defer close(p.full)
	for {
		select {
		case b := <-p.free:
			n, err := r.Read(b)
			p.full <- b[:n] // never blocks: there are no more chunks than places
			if err != nil {
				p.err = err
				return
			}
		case <-p.ctx.Done():
			p.err = p.ctx.Err()
			return
		}
	}
}

func (p *pump) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		if p.chunk != nil {
			p.free <- p.chunk[:cap(p.chunk)]
			p.chunk = nil
		}
		select {
		case c, ok := <-p.full:
			if !ok {
				return 0, p.err
			}
			p.chunk, p.rest = c, c
		case <-p.ctx.Done():
			return 0, p.ctx.Err()
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// awaitCommit reads the commit word.
func awaitCommit(r io.Reader) error {
	var word [len(CommitWord)]byte
	if _, err := io.ReadFull(r, word[:]); err != nil {
		return streamError(err)
	}
	if string(word[:]) != CommitWord {
		return errorf(Internal, "the stream has %q after the archive, not the commit word", word[:])
	}
	return nil
}

// streamError makes an Error of one that came from reading the stream.
func streamError(err error) *Error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errorf(Canceled, "unpacking was asked to stop; nothing was changed")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errorf(Canceled, "the stream ended before all had arrived; nothing was changed")
	}
	return errorf(Internal, "the stream cannot be read: %w", err)
}
