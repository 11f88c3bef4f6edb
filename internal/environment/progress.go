package environment

import (
	"sync"
	"time"

	"pyro/api"
)

// ProgressFunc is told how a pull or import goes on. Phases are those of
// [api.Progress]. It is called by one goroutine at a time, at most a few times a
// second within a phase, and may be nil.
type ProgressFunc func(api.Progress)

// The phases. A run passes through them in this order and may leave some out.
const (
	phaseInstall   = "install"
	phaseWait      = "wait"
	phaseResolve   = "resolve"
	phaseDownload  = "download"
	phaseUnpack    = "unpack"
	phaseConfigure = "configure"
	phaseImage     = "image"
	phaseReady     = "ready"
)

const progressInterval = 100 * time.Millisecond

// reporter thins out progress: the first and the last word of a phase always
// pass, what lies between only every progressInterval. Phases may overlap.
type reporter struct {
	name string
	f    ProgressFunc

	mu   sync.Mutex // guards last, and calls of f
	last map[string]time.Time
}

func newReporter(name string, f ProgressFunc) *reporter {
	if f == nil {
		f = func(api.Progress) {}
	}
	return &reporter{name: name, f: f, last: map[string]time.Time{}}
}

// step reports how far a phase is; total 0 means unknown.
func (r *reporter) step(phase string, done, total int64, unit, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	last, begun := r.last[phase]
	if begun && message == "" && (done != total || total == 0) && now.Sub(last) < progressInterval {
		return
	}
	r.last[phase] = now
	r.f(api.Progress{Phase: phase, Environment: r.name, Done: done, Total: total, Unit: unit, Message: message})
}

// begin reports a phase without numbers.
func (r *reporter) begin(phase, message string) { r.step(phase, 0, 0, "", message) }

// bytes returns a function that reports bytes of a phase.
func (r *reporter) bytes(phase string) func(done, total int64) {
	return func(done, total int64) { r.step(phase, done, total, "bytes", "") }
}
