package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"pyro/api"
)

// progress writes the progress of an installation to stderr: one line that is
// written over on a terminal, plain lines now and then elsewhere. Every new
// phase has a line of its own on both.
type progress struct {
	label    string
	w        io.Writer
	terminal bool
	every    time.Duration // least time between lines of one phase

	mu    sync.Mutex // guards what follows; end may come from another goroutine
	phase string
	last  time.Time
	drawn bool // a line without its end stands on the terminal
}

const (
	redrawEvery = 100 * time.Millisecond
	relineEvery = 3 * time.Second
)

func (a *app) progress(label string) *progress {
	p := &progress{label: label, w: a.Stderr, every: relineEvery}
	if isTerminal(a.Stderr) {
		p.terminal, p.every = true, redrawEvery
	}
	return p
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// event is tell for an undecoded event.
func (p *progress) event(raw json.RawMessage) error {
	var ev api.Progress
	if err := json.Unmarshal(raw, &ev); err != nil {
		return api.Errorf(api.KindInternal, "progress: %w", err)
	}
	p.tell(ev)
	return nil
}

func (p *progress) tell(ev api.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	line := fmt.Sprintf("[%s] phase=%s environment=%s", p.label, ev.Phase, ev.Environment)
	switch {
	case ev.Phase != p.phase:
		p.clear()
		p.phase, p.last = ev.Phase, now
		fmt.Fprintln(p.w, line+message(ev))
	case now.Sub(p.last) < p.every:
	case p.terminal:
		p.last, p.drawn = now, true
		fmt.Fprint(p.w, "\r\x1b[K"+line+amount(ev)+message(ev))
	default:
		p.last = now
		fmt.Fprintln(p.w, line+amount(ev)+message(ev))
	}
}

// end removes the line that is being written over. It may be called any number
// of times.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

// amount says how far a phase is.
func amount(ev api.Progress) string {
	if ev.Done == 0 && ev.Total == 0 {
		return ""
	}
	done, total := fmt.Sprint(ev.Done), fmt.Sprint(ev.Total)
	if ev.Unit == "bytes" {
		done, total = bytes(ev.Done), bytes(ev.Total)
	}
	if ev.Total <= 0 {
		return fmt.Sprintf(" done=%s unit=%s", done, ev.Unit)
	}
	return fmt.Sprintf(" done=%s total=%s unit=%s percent=%d", done, total, ev.Unit, ev.Done*100/ev.Total)
}

func message(ev api.Progress) string {
	if ev.Message == "" {
		return ""
	}
	return " " + ev.Message
}

// bytes writes a size for people: 17.3MiB.
func bytes(n int64) string {
	const units = "KMGTP"
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f%ciB", f, units[i])
}
