package cli

import (
	"context"
	"sync"
	"time"
	"unicode/utf8"

	"pyro/api"
	"pyro/client"
)

// maxTyped bounds what waits to be sent, in bytes. More is not read until some
// has gone.
const maxTyped = 64 << 10

// typing is what was typed and not sent yet. What is typed while a call is under
// way goes with the next one, all at once.
type typing struct {
	mu      sync.Mutex // guards pending
	pending []byte
	more    chan struct{} // holds one when there may be more to send
	less    chan struct{} // holds one when there may be room again
	over    chan struct{} // closed when nothing is added any more
}

// typeInto sends what is typed until ctx ends, and ends ctx when the keys to
// detach are typed or the terminal is gone.
//
// What cannot be sent rings the bell and is lost. It is not sent again: the
// shell may have got it all the same, and nobody wants a line to run twice. A
// process that is replaced in an orderly way loses nothing.
func (t *attached) typeInto(ctx context.Context, shell api.Shell, cancel context.CancelCauseFunc) {
	q := &typing{more: make(chan struct{}, 1), less: make(chan struct{}, 1), over: make(chan struct{})}
	go q.read(ctx, t, cancel)
	for {
		text := q.take(ctx)
		if text == "" {
			cancel(errDetached)
			return
		}
		_, err := client.Do(ctx, t.client, api.WriteShell, api.WriteShellRequest{
			WorkspaceID: shell.WorkspaceID, ShellID: shell.ShellID, Input: text, AppendNewline: new(false),
		})
		if err != nil && ctx.Err() == nil {
			_, _ = t.out.WriteString("\a")
		}
	}
}

// read takes what is typed. A read that waits when ctx ends waits on; the
// process ends soon.
func (q *typing) read(ctx context.Context, t *attached, cancel context.CancelCauseFunc) {
	keys := detacher{keys: t.keys}
	buf := make([]byte, 4096)
	for {
		n, err := t.in.Read(buf)
		typed, detached := keys.feed(buf[:n])
		q.put(ctx, typed)
		if detached || err != nil {
			close(q.over) // what was typed before still goes its way, if there is one
			time.AfterFunc(leaveTime, func() { cancel(errDetached) })
			return
		}
	}
}

// put adds to what is to be sent, and waits while there is too much of it.
func (q *typing) put(ctx context.Context, p []byte) {
	for ctx.Err() == nil {
		q.mu.Lock()
		fits := len(q.pending) == 0 || len(q.pending)+len(p) <= maxTyped
		if fits {
			q.pending = append(q.pending, p...)
		}
		q.mu.Unlock()
		if fits {
			signalOne(q.more)
			return
		}
		select {
		case <-ctx.Done():
		case <-q.less:
		}
	}
}

// take returns all that is to be sent and waits until there is something. The
// beginning of a character waits for the rest of it, because a request is text.
// It returns "" when ctx has ended, or when there will be nothing more.
func (q *typing) take(ctx context.Context) string {
	for over := false; ; {
		q.mu.Lock()
		n := wholeRunes(q.pending)
		text := string(q.pending[:n])
		q.pending = append([]byte(nil), q.pending[n:]...)
		q.mu.Unlock()
		if text != "" {
			signalOne(q.less)
			return text
		}
		if over {
			return ""
		}
		select {
		case <-ctx.Done():
			return ""
		case <-q.more:
		case <-q.over: // and look once more: it was closed after the last put
			over = true
		}
	}
}

// wholeRunes returns how long p is without the beginning of a character at its end.
func wholeRunes(p []byte) int {
	for i := len(p) - 1; i >= 0 && i >= len(p)-utf8.UTFMax; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				return i
			}
			break
		}
	}
	return len(p)
}

// signalOne puts a value into a channel that holds one, if there is room.
func signalOne(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
