package debian

import (
	"context"
	"io"
	"sync"
)

const aheadChunk = 256 << 10

// readAhead makes n streams of bytes on several goroutines and hands them over
// one after the other, in order. While consume is busy with one stream, produce
// works on those that follow, as far as budget bytes of memory allow; the stream
// that is being consumed may always grow by a chunk.
//
// It is how .debs are decompressed in parallel although a tree takes them in
// one order only.
type readAhead struct {
	workers int
	budget  int // bytes held for streams that are not consumed yet
	produce func(ctx context.Context, i int, w io.Writer) error
	consume func(i int, r io.Reader) error
}

// run returns the first error in the order of the streams, and stops all others then.
func (a readAhead) run(ctx context.Context, n int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	q := &aheadQueue{budget: a.budget, streams: make([]aheadStream, n)}
	q.changed.L = &q.mu
	stop := context.AfterFunc(ctx, func() { q.abort(context.Cause(ctx)) })
	var workers sync.WaitGroup
	defer func() {
		cancel(context.Canceled)
		workers.Wait()
		stop()
	}()
	next := make(chan int)
	for range min(a.workers, n) {
		workers.Go(func() {
			for i := range next {
				q.close(i, a.produce(ctx, i, aheadWriter{q, i}))
			}
		})
	}
	workers.Go(func() {
		defer close(next)
		for i := range n {
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	})
	for i := range n {
		r := &aheadReader{q: q, i: i}
		q.begin(i)
		if err := a.consume(i, r); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, r); err != nil { // the end of a stream may hold its error
			return err
		}
	}
	return nil
}

// aheadQueue is what producers and the consumer share.
type aheadQueue struct {
	mu      sync.Mutex // guards everything below
	changed sync.Cond  // any of it
	streams []aheadStream
	head    int // the stream being consumed
	held    int // bytes in all chunks
	budget  int
	free    [][]byte
	stopped error
}

type aheadStream struct {
	chunks [][]byte
	done   bool
	err    error // how it ended
}

func (q *aheadQueue) abort(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = err
	q.changed.Broadcast()
}

func (q *aheadQueue) begin(i int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.head = i
	q.changed.Broadcast()
}

func (q *aheadQueue) close(i int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.streams[i].done, q.streams[i].err = true, err
	q.changed.Broadcast()
}

// push copies p to the end of stream i once there is room.
func (q *aheadQueue) push(i int, p []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := &q.streams[i]
	for q.stopped == nil && q.held+len(p) > q.budget && (q.head != i || len(s.chunks) > 0) {
		q.changed.Wait()
	}
	if q.stopped != nil {
		return q.stopped
	}
	if last := len(s.chunks) - 1; last >= 0 && cap(s.chunks[last])-len(s.chunks[last]) >= len(p) {
		s.chunks[last] = append(s.chunks[last], p...)
	} else {
		s.chunks = append(s.chunks, append(q.buffer(len(p)), p...))
	}
	q.held += len(p)
	q.changed.Broadcast()
	return nil
}

// buffer returns an empty chunk with room for n bytes. The caller holds mu.
func (q *aheadQueue) buffer(n int) []byte {
	if last := len(q.free) - 1; last >= 0 && n <= aheadChunk {
		b := q.free[last]
		q.free = q.free[:last]
		return b
	}
	return make([]byte, 0, max(n, aheadChunk))
}

// pop takes the first chunk of stream i, and gives back the one read before.
func (q *aheadQueue) pop(i int, used []byte) ([]byte, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if used != nil {
		q.held -= len(used)
		q.free = append(q.free, used[:0])
		q.changed.Broadcast()
	}
	s := &q.streams[i]
	for q.stopped == nil && len(s.chunks) == 0 && !s.done {
		q.changed.Wait()
	}
	switch {
	case len(s.chunks) > 0:
		b := s.chunks[0]
		s.chunks = s.chunks[1:]
		return b, nil
	case s.done && s.err == nil:
		return nil, io.EOF
	case s.done:
		return nil, s.err
	}
	return nil, q.stopped
}

type aheadWriter struct {
	q *aheadQueue
	i int
}

func (w aheadWriter) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n := min(len(p)-done, aheadChunk)
		if err := w.q.push(w.i, p[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return len(p), nil
}

type aheadReader struct {
	q     *aheadQueue
	i     int
	chunk []byte // as popped
	rest  []byte // of chunk
	err   error
}

func (r *aheadReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		r.chunk, r.err = r.q.pop(r.i, r.chunk)
		r.rest = r.chunk
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	if n > 0 {
		return n, nil
	}
	return 0, r.err
}
