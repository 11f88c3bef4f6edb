package cli

import (
	"context"
	"time"

	"pyro/api"
	"pyro/client"
)

const (
	// patience is how long a read that goes on and on is tried again while the
	// background process is replaced.
	patience = 10 * time.Second
	// againAfter lies between two tries.
	againAfter = 100 * time.Millisecond
	// longPoll is how long one read waits for something to read, in
	// milliseconds: the longest that the background process allows.
	longPoll = 60_000
)

// again calls an operation that may be called twice, until there is an
// answer, or until for so long as patience there was none. Shells and services
// outlive the background process; what was read until then stays read.
func again[Req, Res any](ctx context.Context, c *client.Client, op api.Call[Req, Res], req Req) (Res, error) {
	begun := time.Now()
	for first := true; ; first = false {
		res, err := client.Do(ctx, c, op, req)
		if err == nil || ctx.Err() != nil || !processEnded(err) {
			return res, err
		}
		if first { // the call may have waited long before it broke off
			begun = time.Now()
		}
		if time.Since(begun) > patience {
			return res, err
		}
		select {
		case <-ctx.Done():
			return res, err
		case <-time.After(againAfter):
		}
	}
}

// processEnded reports whether the background process ended, or cut the call
// off because it is about to.
func processEnded(err error) bool {
	kind := api.KindOf(err)
	return kind == api.KindDaemonUnavailable || kind == api.KindCanceled
}
