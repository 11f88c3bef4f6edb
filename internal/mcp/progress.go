package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"pyro/api"
)

// paceOfProgress is how far apart two notifications of the same phase are at least.
const paceOfProgress = 250 * time.Millisecond

// progress tells a client what happens during a call, if it asked for that.
// After end it tells nothing: a command that goes on has no call any more.
type progress struct {
	ctx     context.Context
	session *mcp.ServerSession
	token   any // nil if the client did not ask
	started time.Time
	stop    chan struct{}
	beats   sync.WaitGroup

	mu    sync.Mutex // guards the rest
	count float64    // of notifications: the protocol wants numbers that grow
	last  string     // phase
	at    time.Time  // of the last notification
	over  bool
}

func (s *Server) progress(ctx context.Context, call *mcp.CallToolRequest) *progress {
	p := &progress{ctx: ctx, session: call.Session, token: call.Params.GetProgressToken(), started: time.Now(), stop: make(chan struct{})}
	if p.token != nil {
		p.beats.Go(func() { p.beat(s.beat) })
	}
	return p
}

func (p *progress) end() {
	close(p.stop)
	p.beats.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
}

// beat says every now and then that the call still runs.
func (p *progress) beat(every time.Duration) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticks.C:
			p.tell("", fmt.Sprintf("still running after %d s", int(time.Since(p.started).Seconds())))
		}
	}
}

// event tells an event of a row of mode events. Only installations have them
// so far; others are told as they are.
func (p *progress) event(raw json.RawMessage) {
	var pull api.Progress
	if json.Unmarshal(raw, &pull) == nil && pull.Phase != "" {
		p.pull(pull)
		return
	}
	p.tell("event", string(raw[:min(len(raw), 1<<10)]))
}

// pull tells how far an installation is.
func (p *progress) pull(event api.Progress) {
	text := event.Phase + " " + event.Environment
	switch {
	case event.Total > 0:
		text += fmt.Sprintf(": %d of %d %s", event.Done, event.Total, event.Unit)
	case event.Done > 0:
		text += fmt.Sprintf(": %d %s", event.Done, event.Unit)
	}
	if event.Message != "" {
		text += ": " + event.Message
	}
	p.tell(event.Phase, text)
}

// phase tells a phase of a command.
func (p *progress) phase(event api.ExecEvent) {
	text := event.Phase
	if event.Sequence > 0 {
		text += fmt.Sprintf(" command %d of %s", event.Sequence, event.WorkspaceID)
	}
	p.tell(event.Phase, text)
}

// tell sends a notification, unless one of the same phase went out just now.
func (p *progress) tell(phase, text string) {
	if p.token == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || phase != "" && phase == p.last && time.Since(p.at) < paceOfProgress {
		return
	}
	p.count++
	p.at = time.Now()
	if phase != "" {
		p.last = phase
	}
	// A client that is gone ends the call in another way.
	_ = p.session.NotifyProgress(p.ctx, &mcp.ProgressNotificationParams{ProgressToken: p.token, Progress: p.count, Message: text})
}
