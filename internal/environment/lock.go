package environment

import (
	"context"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"pyro/api"
)

// held is a lock that somebody has; Unlock may be called more than once.
type held struct{ f *flock.Flock }

func (h *held) Unlock() {
	if h != nil {
		h.f.Close()
	}
}

type lockMode int

const (
	shared lockMode = iota
	exclusive
)

// tryLock takes the lock of a key if nobody holds it otherwise; nil if somebody does.
func (c *cache) tryLock(key string, mode lockMode) (*held, error) {
	f := flock.New(filepath.Join(c.locks(), key))
	try := f.TryRLock
	if mode == exclusive {
		try = f.TryLock
	}
	ok, err := try()
	if err != nil {
		return nil, storageError(c.locks(), err)
	}
	if !ok {
		f.Close()
		return nil, nil
	}
	return &held{f}, nil
}

// lock waits for the lock of a key. waiting (may be nil) is called once if it
// is not free.
func (c *cache) lock(ctx context.Context, key string, mode lockMode, waiting func()) (*held, error) {
	var h *held
	first := true
	err := poll(ctx, func() (ok bool, err error) {
		h, err = c.tryLock(key, mode)
		if h == nil && err == nil && first && waiting != nil {
			waiting()
		}
		first = false
		return h != nil, err
	})
	return h, err
}

// poll calls try until it succeeds, fails or the caller goes away. The kernel
// can wait for a flock, but not for a flock or a context.
func poll(ctx context.Context, try func() (bool, error)) error {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		if ok, err := try(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return canceled(ctx)
		case <-time.After(pause):
		}
	}
}

func canceled(ctx context.Context) error {
	return api.Errorf(api.KindCanceled, "stopped while waiting: %w", context.Cause(ctx))
}

// The keys. See the package comment for their order.
const storeKey = "store"

func envKey(name, arch string) string { return "env-" + escapeName(name) + "@" + arch }

func imageKey(digest string) string { return "image-" + digest[len("sha256:"):] }
