package daemon

import (
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"pyro/api"
	"pyro/internal/workspace"
)

// hiding takes out of the log what workspaces keep secret. The zero value hides
// nothing.
type hiding struct {
	spaces atomic.Pointer[workspace.Manager]
}

func (h *hiding) from(spaces *workspace.Manager) { h.spaces.Store(spaces) }

// replace is for slog.HandlerOptions.
func (h *hiding) replace(_ []string, a slog.Attr) slog.Attr {
	spaces := h.spaces.Load()
	if spaces == nil {
		return a
	}
	if kind := a.Value.Kind(); kind == slog.KindString || kind == slog.KindAny {
		if text, shown := spaces.Hide(a.Value.String()), a.Value.String(); text != shown {
			return slog.String(a.Key, text)
		}
	}
	return a
}

// logLimit is the size in bytes at which the log is rotated: so much is kept
// in daemon.log.1, and at most as much again is in daemon.log.
const logLimit = 16 << 20

// rotatingLog is an io.Writer on a log file. Each Write is one record and goes
// to one file.
type rotatingLog struct {
	path  string
	limit int64

	mu   sync.Mutex // guards the rest
	f    *os.File
	size int64
}

func openLog(path string, limit int64) (*rotatingLog, error) {
	l := &rotatingLog{path: path, limit: limit}
	if err := l.open(); err != nil {
		return nil, api.Errorf(api.KindStorage, "log of the background process: %w", err).
			WithHint("set PYRO_STATE_DIR to a folder you may write")
	}
	return l, nil
}

// open opens the file. Clients append to it too (what a process says that
// cannot start), so it is opened for appending and its size is asked for.
func (l *rotatingLog) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.f, l.size = f, info.Size()
	return nil
}

// Write appends a record. If rotation fails the old file goes on: a log that
// is too large is better than none.
func (l *rotatingLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > 0 && l.size+int64(len(p)) > l.limit {
		l.rotate()
	}
	n, err := l.f.Write(p)
	l.size += int64(n)
	return n, err
}

func (l *rotatingLog) rotate() {
	old := l.f
	if os.Rename(l.path, l.path+".1") == nil && l.open() == nil {
		old.Close()
	}
}

func (l *rotatingLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f.Close()
}
