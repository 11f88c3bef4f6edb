package debian

import (
	"context"
	"errors"
	"sync"

	"pyro/api"
)

// parallelDownloads is how many files are fetched at a time. It hides the
// latency of a far mirror without being rude to it.
const parallelDownloads = 8

// downloads fetches packages in the background.
type downloads struct {
	ctx     context.Context // ends with the first failure, which is its cause
	cancel  context.CancelCauseFunc
	each    map[*Package]*download
	workers sync.WaitGroup
}

type download struct {
	ready chan struct{} // closed when the package is there or has failed
	err   error         // to be read after ready
}

// startDownloads begins to fetch pkgs into the store, in their order.
func startDownloads(ctx context.Context, s store, pkgs []*Package, progress func(delta int64)) *downloads {
	ctx, cancel := context.WithCancelCause(ctx)
	d := &downloads{ctx: ctx, cancel: cancel, each: map[*Package]*download{}}
	queue := make(chan *Package, len(pkgs))
	for _, p := range pkgs {
		d.each[p] = &download{ready: make(chan struct{})}
		queue <- p
	}
	close(queue)
	for range min(parallelDownloads, len(pkgs)) {
		d.workers.Go(func() {
			for p := range queue {
				one := d.each[p]
				if one.err = s.ensure(ctx, p.remote(), progress); one.err != nil {
					cancel(one.err) // the build is over: do not fetch the rest
				}
				close(one.ready)
			}
		})
	}
	return d
}

// wait returns once p is there. If it never will be, the error is that of the
// download which failed first.
func (d *downloads) wait(ctx context.Context, p *Package) error {
	one := d.each[p]
	select {
	case <-one.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if one.err == nil {
		return nil
	}
	if first, ok := errors.AsType[*api.Error](context.Cause(d.ctx)); ok {
		return first
	}
	return one.err
}

// stop ends what is still running and waits for it.
func (d *downloads) stop() {
	d.cancel(context.Canceled)
	d.workers.Wait()
}
