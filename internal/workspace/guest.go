package workspace

import (
	"context"
	"errors"
	"sync"
	"time"

	"pyro/api"
	"pyro/internal/agent/wire"
)

// guest is the connection to a machine's agent, made when it is first needed and
// again when it has broken.
type guest struct {
	mu     sync.Mutex // held while connecting
	client *wire.Client
}

// dialTime bounds how long the agent may take to answer.
const dialTime = 10 * time.Second

func (l *life) connect(ctx context.Context) (*wire.Client, error) {
	l.guest.mu.Lock()
	defer l.guest.mu.Unlock()
	if c := l.guest.client; c != nil {
		select {
		case <-c.Done():
		default:
			return c, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	conn, err := l.machine.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c, err := wire.NewClient(ctx, conn)
	if err != nil {
		return nil, api.Errorf(api.KindSandboxDied, "the agent of sandbox %s does not answer: %w", l.machine.ID(), err)
	}
	context.AfterFunc(l.ctx, func() { c.Close() })
	l.guest.client = c
	return c, nil
}

// ask makes one call to the agent. Whatever it answers comes from a guest, and
// is bounded by the protocol.
func (l *life) ask(ctx context.Context, method wire.Method, params, result any) error {
	c, err := l.connect(ctx)
	if err == nil {
		err = c.Call(ctx, method, params, result)
	}
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return api.Errorf(guestKind(e.Kind), "%s", validText(e.Message)).WithHint("%s", guestHint(e.Kind))
	}
	if ctx.Err() != nil {
		return api.Errorf(api.KindCanceled, "stopped waiting for the guest agent: %w", context.Cause(ctx))
	}
	return l.orCause(api.AsError(err))
}

// guestKind takes over the kinds that a guest may give, and no other.
func guestKind(k wire.Kind) api.Kind {
	switch k {
	case wire.KindUsage, wire.KindNotFound, wire.KindConflict, wire.KindExec, wire.KindTimeout, wire.KindDiskLimit, wire.KindPIDLimit, wire.KindUnsafe:
		return api.Kind(k)
	}
	return api.KindInternal
}

// guestHint is what to do about an error of the agent's.
func guestHint(k wire.Kind) string {
	switch k {
	case wire.KindUsage:
		return "pyro workspace --help"
	case wire.KindExec:
		return "check the command and its folder: pyro workspace exec ID -- ls -l"
	case wire.KindPIDLimit:
		return "end some processes of the workspace, or create one with a higher --pid-limit"
	case wire.KindDiskLimit:
		return "delete some files of the workspace, or create one with a larger --disk-mib"
	}
	return "see what there is: pyro workspace status ID"
}

// inGuest begins an operation that needs the machine to be there already: what it
// is about went with the last one. gone is the error when there is none.
func (m *Manager) inGuest(id string, gone func(*instance) error, f func(*instance, *life) error) error {
	in, leave, err := m.enter(id)
	if err != nil {
		return err
	}
	defer leave()
	l := in.currentLife()
	if l == nil {
		return gone(in)
	}
	in.used()
	return f(in, l)
}

// guestTime is a time as the agent tells it, milliseconds since 1970; 0 is none.
func guestTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return fileTime(ms)
}

// fileTime is guestTime of a file, which may well be of 1970. JSON knows the years
// to 9999 only.
func fileTime(ms int64) time.Time {
	first, last := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	return time.UnixMilli(min(max(ms, first.UnixMilli()), last.UnixMilli())).UTC()
}

// exitCode passes on an exit code of the guest's telling.
func exitCode(code *int) *int {
	if code == nil {
		return nil
	}
	n := *code & 0xff
	return &n
}

func validWords(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = validText(w)
	}
	return out
}
