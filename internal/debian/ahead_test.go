package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
)

func TestReadAhead(t *testing.T) {
	// The first stream is by far the largest: the others wait for it, within the
	// budget.
	text := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, max(1, 3<<20-i*aheadChunk)) }
	for _, workers := range []int{1, 2, 5} {
		for _, budget := range []int{0, 1, aheadChunk, 64 << 20} {
			t.Run(fmt.Sprintf("%d workers, budget %d", workers, budget), func(t *testing.T) {
				next := 0
				err := readAhead{
					workers: workers, budget: budget,
					produce: func(_ context.Context, i int, w io.Writer) error {
						_, err := w.Write(text(i))
						return err
					},
					consume: func(i int, r io.Reader) error {
						if i != next {
							t.Errorf("stream %d came instead of %d", i, next)
						}
						next++
						if i%3 == 2 {
							return nil // the rest is passed over
						}
						b, err := io.ReadAll(r)
						if !bytes.Equal(b, text(i)) {
							t.Errorf("stream %d has %d bytes", i, len(b))
						}
						return err
					},
				}.run(t.Context(), 20)
				if err != nil || next != 20 {
					t.Errorf("%d streams, %v", next, err)
				}
			})
		}
	}
}

func TestReadAheadKeepsBudget(t *testing.T) {
	const budget = 4 * aheadChunk
	var written atomic.Int64
	release := make(chan struct{})
	err := readAhead{
		workers: 4, budget: budget,
		produce: func(ctx context.Context, i int, w io.Writer) error {
			if i == 0 { // until the others have filled the memory
				<-release
				return nil
			}
			for range 100 {
				n, err := w.Write(make([]byte, aheadChunk))
				if err != nil {
					return err
				}
				if written.Add(int64(n)) == budget {
					close(release)
				}
			}
			return nil
		},
		consume: func(i int, r io.Reader) error {
			if i == 0 {
				<-release
				if n := written.Load(); n > budget {
					t.Errorf("%d bytes were taken ahead", n)
				}
			}
			return nil
		},
	}.run(t.Context(), 8)
	if err != nil {
		t.Error(err)
	}
}

func TestReadAheadErrors(t *testing.T) {
	boom := errors.New("boom")
	produce := func(ctx context.Context, i int, w io.Writer) error {
		_, err := w.Write(make([]byte, 1<<20))
		if i == 3 && err == nil {
			return boom
		}
		return err
	}
	drain := func(i int, r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }
	if err := (readAhead{2, 1 << 20, produce, drain}).run(t.Context(), 100); !errors.Is(err, boom) {
		t.Errorf("the producer's error is %v", err)
	}
	ignore := func(int, io.Reader) error { return nil }
	if err := (readAhead{2, 1 << 20, produce, ignore}).run(t.Context(), 100); !errors.Is(err, boom) {
		t.Errorf("the ignored producer's error is %v", err)
	}
	fail := func(i int, r io.Reader) error { return boom }
	if err := (readAhead{2, 1 << 20, produce, fail}).run(t.Context(), 100); !errors.Is(err, boom) {
		t.Errorf("the consumer's error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stop := func(i int, r io.Reader) error { cancel(); return drain(i, r) }
	slow := func(ctx context.Context, i int, w io.Writer) error { <-ctx.Done(); return ctx.Err() }
	if err := (readAhead{2, 1 << 20, slow, stop}).run(ctx, 100); !errors.Is(err, context.Canceled) {
		t.Errorf("the canceled error is %v", err)
	}
	if err := (readAhead{2, 0, produce, drain}).run(t.Context(), 0); err != nil {
		t.Errorf("no streams: %v", err)
	}
}
