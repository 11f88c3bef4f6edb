package seed

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"pyro/api"
)

// hashBuffer is how much is read at once to be hashed.
const hashBuffer = 128 << 10

// hasher hashes for one goroutine.
type hasher struct{ buf []byte }

// at hashes size bytes from off on. An ended ctx is returned as it is.
func (h *hasher) at(ctx context.Context, src io.ReaderAt, off, size int64) (sum Sum, err error) {
	if h.buf == nil {
		h.buf = make([]byte, hashBuffer)
	}
	state := sha256.New()
	for size > 0 {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		part := h.buf[:min(size, hashBuffer)]
		n, err := src.ReadAt(part, off)
		if n < len(part) {
			return sum, unreadableData(err)
		}
		state.Write(part)
		off, size = off+int64(n), size-int64(n)
	}
	return Sum(state.Sum(nil)), nil
}

func unreadableData(err error) error {
	if _, ok := errors.AsType[*api.Error](err); ok {
		return err
	}
	return api.Errorf(api.KindStorage, "the data of a file cannot be read to compare it: %w", err)
}

// parallel calls do for 0 to n-1 on all processors until one call fails, and
// returns that error.
func parallel(n int, do func(i int, h *hasher) error) error {
	var (
		wg    sync.WaitGroup
		next  atomic.Int64
		once  sync.Once
		first error
	)
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			h := &hasher{}
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(i, h); err != nil {
					once.Do(func() { first = err })
					next.Store(int64(n))
				}
			}
		})
	}
	wg.Wait()
	return first
}
