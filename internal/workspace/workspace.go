// Package workspace manages workspaces: sandboxes that stay, with a baseline to
// throw them back to.
//
// # Terms
//
// The seed is what /workspace begins with, an image that is never changed: with
// the environment's image it is the baseline. A machine is the sandbox that a
// workspace has at the moment; every start and reset makes a new one. A disk is
// what a machine had written when it was saved: all that differs from the two
// images, the system's files too, in the form of the driver that it was of. A
// machine of another driver begins with what adapt makes of that. A snapshot is a
// disk with a name. An autosave is the newest disk without one, which the workspace
// comes back with after a crash.
//
// # On disk
//
//	DIR/ID/
//	├── seed.erofs, seed.json    the seed; how to tell that it is whole
//	├── secrets.json             the secrets, sealed; package secret tells how
//	├── disks/RANDOM/            saved disks: disk.json, the driver's files,
//	│                            and an image of /workspace if it is not the seed
//	├── commands/GENERATION/     output of commands, of the machines since a reset
//	├── ports.json               the ports that are published for its services
//	├── refusals.*.jsonl         what the network's policy refused, see package refusals
//	└── tmp/                     what is being made; emptied by every start
//
// The record in the store says which of it counts; everything else is garbage
// that Recover and later operations remove.
//
// # Promises
//
//   - Every operation leaves the old or the new state, however it is cut off:
//     folders are made under tmp/, synced and renamed, and a single change of the
//     record makes them count.
//   - A reset starts the new machine first; only when it runs, one change of the
//     record makes it the workspace's, and the old one goes.
//   - What a machine has written is saved about a second after it was written, and
//     before a workspace is stopped. A machine that is lost comes back from there,
//     and the status says so.
//   - What a machine wrote is untrusted, the files of a saved disk too.
//
// # Locks
//
//	instance.act    held by start, stop, reset, delete: whatever changes the machine
//	├── instance.disk   held while the disk is read or written as a whole: by saves,
//	│                   diffs and pushes
//	├── instance.naming held while name and labels change
//	└── instance.rec    held while the record changes, in memory and in the store
//	    └── Manager.mu, instance.mu   short; never held while anything waits
//
// Whoever takes the machine away cancels its life first, so that the calls that
// use it get out of the way, with the reason as their error.
package workspace

import (
	"cmp"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"pyro/api"
	"pyro/internal/failpoint"
	"pyro/internal/runtime"
	"pyro/internal/sandbox"
	"pyro/internal/store"
)

// Options are the settings of a Manager. All are required but Logger, Key and Budget.
type Options struct {
	Store        *store.Store
	Environments sandbox.Environments
	// Isolated are the drivers that workspaces may run on; RuntimeAuto takes the
	// first that suits the host. Their machines can save their disks.
	Isolated []runtime.Driver
	// Runtime is what RuntimeAuto stands for. Optional: it chooses.
	Runtime api.Runtime
	// Dir is the folder of all workspaces; made if absent.
	Dir string
	// Key is the file of the key that secrets are sealed with, made when it is first
	// needed; "" is secrets.key beside Dir.
	Key string
	// Budget is how many bytes all workspaces together may take on the host's
	// disk; 0 is no limit but the disk's own.
	Budget int64
	Logger *slog.Logger
}

// Manager keeps the workspaces of one state folder. Its methods are safe for
// concurrent use; Recover comes first.
type Manager struct {
	store        *store.Store
	environments sandbox.Environments
	drivers      sandbox.Drivers
	dir, key     string
	budget       int64
	log          *slog.Logger
	checked      checked
	removals     atomic.Int32            // machines on their way out after the call that replaced them; SaveAll waits for them
	failpoint    func(step string) error // failpoint.Hit but in tests
	keyMaking    sync.Mutex              // held while the key of secrets is made, if there is none

	mu         sync.Mutex
	workspaces map[string]*instance // by id; guarded by mu
	names      map[string]string    // ids by name, also of a workspace that is being made; guarded by mu
}

// New returns a Manager without workspaces.
func New(o Options) *Manager {
	return &Manager{
		store: o.Store, environments: o.Environments, drivers: sandbox.Drivers{Isolated: o.Isolated, Default: o.Runtime},
		dir: o.Dir, key: cmp.Or(o.Key, filepath.Join(filepath.Dir(o.Dir), "secrets.key")), budget: o.Budget, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		failpoint: failpoint.Hit, workspaces: map[string]*instance{}, names: map[string]string{},
	}
}

// Machine ids are "ws-", the 12 digits of the workspace, "-" and 4 digits of the
// generation, so that all are of one length and none is a prefix of another.
const machinePrefix = sandbox.WorkspacePrefix

func newID() string { return sandbox.NewID(machinePrefix) }

func (m *Manager) lookup(id string) (*instance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if in := m.workspaces[id]; in != nil {
		return in, nil
	}
	return nil, notFound(id)
}

// enter begins an operation on the workspace, whose folder stays until leave.
func (m *Manager) enter(id string) (in *instance, leave func(), err error) {
	if in, err = m.lookup(id); err != nil {
		return nil, nil, err
	}
	if leave, err = in.enter(); err != nil {
		return nil, nil, err
	}
	return in, leave, nil
}

func notFound(id string) *api.Error {
	return api.Errorf(api.KindNotFound, "workspace %s does not exist", id).WithHint("pyro workspace list")
}

func (m *Manager) add(in *instance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.workspaces[in.id] = in
	if name := in.record().Name; name != "" {
		m.names[name] = in.id
	}
	in.setTTL(func() { m.expire(in) })
}

func (m *Manager) forget(in *instance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.workspaces, in.id)
	if name := in.record().Name; m.names[name] == in.id {
		delete(m.names, name)
	}
	if in.ttl != nil {
		in.ttl.Stop()
	}
}

// all returns the workspaces, oldest first.
func (m *Manager) all() []*instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]*instance, 0, len(m.workspaces))
	for _, in := range m.workspaces {
		list = append(list, in)
	}
	slices.SortFunc(list, func(a, b *instance) int {
		return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.id, b.id))
	})
	return list
}

// Running counts the workspaces that have a machine.
func (m *Manager) Running() int {
	n := 0
	for _, in := range m.all() {
		if in.currentLife() != nil {
			n++
		}
	}
	return n
}

// folder is the workspace's own.
func (m *Manager) folder(id string) string { return filepath.Join(m.dir, id) }

func storageError(what string, err error) error {
	if _, ok := errors.AsType[*api.Error](err); ok {
		return err
	}
	return api.Errorf(api.KindStorage, "%s: %w", what, err).
		WithHint("free some space on the disk, for example with: pyro env prune, pyro workspace delete ID")
}

// removeAll removes what may be large and is not waited for by anyone.
func (m *Manager) removeAll(path string) {
	if err := os.RemoveAll(path); err != nil {
		m.log.Error("cannot be removed, trying again at the next start", "path", path, "error", err)
	}
}
