package daemon

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"pyro/api"
)

// life counts what keeps the process alive and carries the wish to end.
type life struct {
	now context.Context // ends when calls under way shall be cut off
	cut context.CancelCauseFunc

	mu    sync.Mutex // guards the rest
	calls int
	conns map[net.Conn]http.ConnState
	// busy is when there was last something to do.
	busy time.Time

	stopOnce sync.Once
	stopping chan struct{} // closed when the process shall end
}

func newLife() *life {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &life{now: ctx, cut: cancel, conns: map[net.Conn]http.ConnState{}, busy: time.Now(), stopping: make(chan struct{})}
}

// aboutItself are the operations that do not count as calls: they ask about
// the process, and must not be in their own way.
var aboutItself = []*api.Operation{api.DaemonStatus.Operation, api.DaemonStop.Operation}

// begin counts a call until the returned function is called.
func (l *life) begin(op *api.Operation) (end func()) {
	if slices.Contains(aboutItself, op) {
		return func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.calls--
		l.busy = time.Now()
	}
}

// cutOff returns ctx, ended also when calls shall be cut off.
func (l *life) cutOff(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.now, func() { cancel(context.Cause(l.now)) })
	return ctx, func() { stop(); cancel(nil) }
}

// connState is http.Server.ConnState. A connection counts from its first byte
// to its end, so that a caller who has just pinged finds the process alive.
func (l *life) connState(conn net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = time.Now()
	if state == http.StateClosed || state == http.StateHijacked {
		delete(l.conns, conn)
	} else {
		l.conns[conn] = state
	}
}

// counts returns the calls under way and the open connections, and how many of
// these wait for a next request.
func (l *life) counts() (calls, conns, idle int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, state := range l.conns {
		if state == http.StateIdle {
			idle++
		}
	}
	return l.calls, len(l.conns), idle
}

// stop asks the process to end.
func (l *life) stop() { l.stopOnce.Do(func() { close(l.stopping) }) }

// watchIdle stops the process when it has had nothing to do for the time idle.
func (l *life) watchIdle(idle time.Duration, running func() int) {
	tick := time.NewTicker(min(time.Second, idle/4))
	defer tick.Stop()
	for {
		select {
		case <-l.stopping:
			return
		case <-tick.C:
		}
		sandboxes := running()
		l.mu.Lock()
		if l.calls > 0 || len(l.conns) > 0 || sandboxes > 0 {
			l.busy = time.Now()
		}
		over := time.Since(l.busy) >= idle
		l.mu.Unlock()
		if over {
			l.stop()
			return
		}
	}
}
