package host

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io/fs"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"pyro/api"
	"pyro/internal/runtime"
)

type machine struct {
	spec runtime.Spec
	path string
	done chan struct{} // closed by retire

	// starting is held for reading while a command is forked, and for writing
	// by retire, so that Remove sees every process there will ever be.
	starting sync.RWMutex
	retired  bool // guarded by starting

	mu       sync.Mutex
	sessions map[int]bool // session ids of the commands that run now; guarded by mu
}

func newMachine(spec runtime.Spec, path string) *machine {
	return &machine{spec: spec, path: path, done: make(chan struct{}), sessions: map[int]bool{}}
}

func (m *machine) ID() string { return m.spec.ID }

// Mode implements runtime.Machine.
func (m *machine) Mode() api.ExecutionMode { return api.HostCompat }

func (m *machine) Dial(context.Context) (net.Conn, error) {
	return nil, api.Errorf(api.KindUnsupported, "machine %s is the host itself and has no guest agent", m.spec.ID)
}

// LimitHit is always nil: nothing is limited.
func (m *machine) LimitHit(context.Context) *api.Error { return nil }

func (m *machine) Done() <-chan struct{} { return m.done }

func (m *machine) Err() error {
	select {
	case <-m.done:
		return m.gone()
	default:
		return nil
	}
}

func (m *machine) gone() *api.Error {
	return api.Errorf(api.KindSandboxDied, "machine %s was removed", m.spec.ID)
}

func (m *machine) Close() error { return nil }

// retire lets no more command start and closes done.
func (m *machine) retire() {
	m.starting.Lock()
	defer m.starting.Unlock()
	if !m.retired {
		m.retired = true
		close(m.done)
	}
}

// Usage adds up the machine's processes and files.
func (m *machine) Usage(context.Context) (runtime.Usage, error) {
	u := runtime.Usage{Measured: time.Now()}
	processes, _ := tree(m.owns(m.path))
	for _, p := range processes {
		rss, threads := p.usage()
		u.MemoryBytes += rss
		u.PIDs += threads
	}
	err := filepath.WalkDir(m.path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // files come and go
		}
		if info, err := e.Info(); err == nil {
			u.DiskBytes += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	if err != nil {
		return u, api.Errorf(api.KindStorage, "files of machine %s: %w", m.spec.ID, err)
	}
	return u, nil
}

// owns returns the test for being a process of the machine in the folder path.
// m may be nil: then only the mark tells.
func (m *machine) owns(path string) owner {
	sessions := map[int]bool{}
	if m != nil {
		m.mu.Lock()
		for sid := range m.sessions {
			sessions[sid] = true
		}
		m.mu.Unlock()
	}
	return func(p proc) verdict {
		if sessions[p.session] {
			return mine
		}
		return p.marked(path)
	}
}

func randomHex() string {
	var b [6]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
