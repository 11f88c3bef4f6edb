package workspace

import (
	"context"
	"time"

	"pyro/api"
	"pyro/internal/agent/wire"
	"pyro/internal/redact"
)

// window is a part of a stream that was asked for, with so much before and behind
// it that every secret in it, or at its borders, is seen whole.
type window struct {
	text     []byte
	from, to int // the part, in text
	spans    []redact.Span
	held     bool // what was asked for goes on with what may be the beginning of a secret, at to
}

// find finds the secrets. cut says that what stood before text is lost, more that
// the stream may go on behind it.
func (w *window) find(hide *redact.Set, cut, more bool) {
	var open int
	w.spans, open = findAll(hide, w.text, cut)
	if more && open < w.to {
		w.held, w.to = true, max(open, w.from)
	}
}

// findAll is Find for text before which something is lost, if cut. Where open is
// within a span, what may follow belongs to that, which is hidden to its end.
func findAll(hide *redact.Set, text []byte, cut bool) (spans []redact.Span, open int) {
	spans, open = hide.Find(text)
	for _, s := range spans {
		if s.Begin < open {
			open = max(open, s.End)
		}
	}
	if n := hide.Rest(text); cut && n > 0 {
		spans = append([]redact.Span{{Begin: 0, End: n}}, spans...)
	}
	return spans, open
}

// shown is the part without secrets.
func (w *window) shown() []byte { return redact.Replace(w.text, w.spans, w.from, w.to) }

// back returns how many of the last bytes of the part those n stand for that
// shown ends in.
func (w *window) back(n int) int {
	at := w.to
	for i := len(w.spans) - 1; i >= 0 && n > 0; i-- {
		s := w.spans[i]
		if s.Begin >= at {
			continue
		}
		plain := at - min(s.End, at)
		if n <= plain {
			break
		}
		n -= plain + len(redact.Mark)
		at = max(s.Begin, w.from)
	}
	return w.to - max(at-max(n, 0), w.from)
}

// hideShell puts raw, which is what out is about, into a window. The terminal's
// output before and behind it is asked for. end is where the output ended.
func (in *instance) hideShell(ctx context.Context, l *life, hide *redact.Set, raw []byte, end int64, out *api.ShellOutput) (*window, error) {
	before := min(out.Cursor, int64(hide.Longest()-1))
	w := &window{}
	cut := false
	if before > 0 {
		piece, err := in.shellPiece(ctx, l, out.ShellID, out.Cursor-before, int(before))
		if err != nil {
			return nil, err
		}
		cut = piece.Dropped > 0
		w.text = piece.Data[:min(max(0, out.Cursor-piece.Cursor), int64(len(piece.Data)))]
	}
	w.from = len(w.text)
	w.text = append(w.text, raw...)
	w.to = len(w.text)
	more := out.State == api.ShellRunning
	if out.NextCursor < end {
		piece, err := in.shellPiece(ctx, l, out.ShellID, out.NextCursor, hide.Longest()-1)
		if err != nil {
			return nil, err
		}
		if piece.Dropped == 0 {
			w.text = append(w.text, piece.Data...)
		}
	}
	w.find(hide, cut, more)
	return w, nil
}

func (in *instance) shellPiece(ctx context.Context, l *life, id string, cursor int64, n int) (wire.ShellReadResult, error) {
	var res wire.ShellReadResult
	err := l.ask(ctx, wire.ShellRead, wire.ShellReadParams{ID: id, Cursor: cursor, Max: min(n, wire.MaxData)}, &res)
	return res, err
}

// awaitShell waits for output of a shell behind end, when all that there is was
// held back: whoever asks for output, and waits for it, shall not have to ask
// again at once.
func (in *instance) awaitShell(ctx context.Context, l *life, id string, end int64, until time.Time) error {
	var res wire.ShellReadResult
	return l.ask(ctx, wire.ShellRead, wire.ShellReadParams{ID: id, Cursor: end, Max: 1, WaitMS: max(0, time.Until(until).Milliseconds())}, &res)
}
