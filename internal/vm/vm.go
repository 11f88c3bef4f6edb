// Package vm manages one-shot VMs: sandboxes that run one command and are gone.
//
// # Life of a VM
//
//	           Create          Start           Exec
//	(nothing) ───────▶ created ─────▶ started ─────▶ (nothing)
//	                                  ▲     │ Stop, or the sandbox dies
//	                            Start │     ▼
//	                                  stopped
//
// Delete and the end of the TTL lead from every state to nothing. Starting a
// stopped VM gives a fresh sandbox; what the old one held is lost. Run does all
// of it for one command; its VM is ephemeral: it belongs to the call and ends
// with it, and no later process adopts it.
//
// # Promises
//
//   - Intent is recorded before the action, so that Recover can bring records
//     and machines together after a crash: see recover.go.
//   - A VM that goes away while something waits for it ends the waiting with
//     the reason: a command that is cut off by the time limit or the TTL still
//     gives a result (exit code 124), one whose VM is deleted or stopped gives
//     an error of kind canceled.
//   - Nothing runs without isolation unless the request allows host-compat and
//     the wanted runtime says that it is unavailable. Nothing falls back from
//     one isolating runtime to another.
//   - Pulling an environment holds no lock of a VM.
//
// # Locks
//
//	instance.act   held by Start, Stop and remove while they talk to the driver
//	└── Manager.mu, instance.mu   short; never held while anything waits
//
// Whoever wants a VM to end cancels its life first and takes act then, so that
// a Start or a command that is under way gets out of the way.
package vm

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"time"

	"pyro/api"
	"pyro/internal/runtime"
	"pyro/internal/sandbox"
	"pyro/internal/store"
)

// Options are the settings of a Manager. All are required but Logger.
type Options struct {
	Store        *store.Store
	Environments sandbox.Environments
	// Isolated are the drivers that isolate; RuntimeAuto takes the first that suits
	// the host.
	Isolated []runtime.Driver
	// Runtime is what RuntimeAuto stands for. Optional: it chooses.
	Runtime api.Runtime
	// HostCompat is used only when a request allows it.
	HostCompat runtime.Driver
	Logger     *slog.Logger
}

// Manager keeps the VMs of one state folder. Its methods are safe for
// concurrent use; Recover comes first.
type Manager struct {
	store        *store.Store
	environments sandbox.Environments
	drivers      sandbox.Drivers
	log          *slog.Logger

	mu  sync.Mutex
	vms map[string]*instance // by id; guarded by mu
}

// New returns a Manager without VMs.
func New(o Options) *Manager {
	return &Manager{
		store: o.Store, environments: o.Environments, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		drivers: sandbox.Drivers{Isolated: o.Isolated, Default: o.Runtime, HostCompat: o.HostCompat},
		vms:     map[string]*instance{},
	}
}

func newID() string { return sandbox.NewID("vm-") }

func (m *Manager) lookup(id string) (*instance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if in := m.vms[id]; in != nil {
		return in, nil
	}
	return nil, notFound(id)
}

func notFound(id string) *api.Error {
	return api.Errorf(api.KindNotFound, "VM %s does not exist", id).WithHint("pyro vm list")
}

// add puts a VM under management and sets its TTL going.
func (m *Manager) add(in *instance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.vms[in.id] = in
	in.ttl = time.AfterFunc(time.Until(in.row.ExpiresAt), func() { _ = m.expire(in) }) // on failure it is tried again later
}

func (m *Manager) forget(in *instance) {
	in.ttl.Stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.vms, in.id)
}

// all returns the VMs, oldest first.
func (m *Manager) all() []*instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]*instance, 0, len(m.vms))
	for _, in := range m.vms {
		list = append(list, in)
	}
	slices.SortFunc(list, func(a, b *instance) int {
		return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.id, b.id))
	})
	return list
}

// Running counts the VMs whose sandbox runs or is about to.
func (m *Manager) Running() int {
	n := 0
	for _, in := range m.all() {
		if in.running() {
			n++
		}
	}
	return n
}
