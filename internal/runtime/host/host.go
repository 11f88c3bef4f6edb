// Package host is the host-compat driver: it runs commands on the host itself,
// without any isolation. It is used only when the user asked for it by
// --allow-host-compat and no sandbox can be had; every answer then says
// execution_mode=host_compat.
//
// # What a machine is here
//
// A folder. Commands are plain processes of the host, with the folder as their
// /workspace (their working directory; no such path exists), an environment
// that holds PATH, HOME, LANG and what the caller gives, and a session of their
// own. There are no limits. A machine outlives the background process because a
// folder does.
//
//	DIR
//	└── ID/
//	    ├── workspace/   the working directory of commands
//	    └── home/        their HOME
//
// # How its processes are found again
//
// Every command carries the variable [Marker] with the machine's folder, and
// children inherit it. Removing a machine ends every process that carries the
// mark, is in the session of a running command, or descends from one of these.
// A process that clears its environment, leaves its session and loses its
// parent escapes; without isolation nothing can prevent that.
package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"pyro/api"
	"pyro/internal/runtime"
)

// Names in a machine's folder.
const (
	workspaceDir = "workspace"
	homeDir      = "home"
)

var validID = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// Options are the settings of a Driver.
type Options struct {
	Dir string // required: the driver's folder; made when it is missing
}

// Driver makes host-compat machines.
type Driver struct {
	dir string

	mu   sync.Mutex
	live map[string]*machine // the machines this process holds, by id; guarded by mu
}

var _ runtime.Driver = (*Driver)(nil)

// New returns a driver that keeps its machines in opts.Dir.
func New(opts Options) (*Driver, error) {
	dir, err := filepath.Abs(opts.Dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, api.Errorf(api.KindStorage, "folder of the host-compat runtime: %w", err)
	}
	undoIgnored()
	return &Driver{dir: dir, live: map[string]*machine{}}, nil
}

// Name is "host-compat".
func (d *Driver) Name() string { return "host-compat" }

// Features says that nothing is isolated and nothing is limited.
func (d *Driver) Features() runtime.Features { return runtime.Features{Mode: api.HostCompat} }

// Create makes the machine's folder.
func (d *Driver) Create(_ context.Context, spec runtime.Spec) (runtime.Machine, error) {
	path, err := d.path(spec.ID)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, api.Errorf(api.KindConflict, "machine %s exists already", spec.ID)
		}
		return nil, api.Errorf(api.KindStorage, "folder of machine %s: %w", spec.ID, err)
	}
	// The workspace comes last: Adopt takes its existence for a complete machine.
	for _, name := range []string{homeDir, workspaceDir} {
		if err := os.Mkdir(filepath.Join(path, name), 0o700); err != nil {
			os.RemoveAll(path)
			return nil, api.Errorf(api.KindStorage, "folder of machine %s: %w", spec.ID, err)
		}
	}
	return d.hold(spec, path), nil
}

// Adopt attaches to a machine whose folder is complete.
func (d *Driver) Adopt(_ context.Context, spec runtime.Spec) (runtime.Machine, error) {
	path, err := d.path(spec.ID)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(path, workspaceDir)); err != nil {
		return nil, api.Errorf(api.KindNotFound, "machine %s does not exist", spec.ID)
	}
	return d.hold(spec, path), nil
}

// hold returns the one machine object of this process for the id.
func (d *Driver) hold(spec runtime.Spec, path string) *machine {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.live[spec.ID]; m != nil {
		return m
	}
	m := newMachine(spec, path)
	d.live[spec.ID] = m
	return m
}

// List returns the names of all folders.
func (d *Driver) List(context.Context) ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, api.Errorf(api.KindStorage, "machines of the host-compat runtime: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if validID.MatchString(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// Remove ends the machine's processes and removes its folder.
func (d *Driver) Remove(ctx context.Context, id string) error {
	path, err := d.path(id)
	if err != nil {
		return err
	}
	d.mu.Lock()
	m := d.live[id]
	d.mu.Unlock()
	if m != nil {
		m.retire() // no command starts from here on
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := endTree(ctx, m.owns(path)); err != nil {
		return err
	}
	if err := removeAll(path); err != nil {
		return api.Errorf(api.KindStorage, "folder of machine %s: %w", id, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.live[id] == m {
		delete(d.live, id)
	}
	return nil
}

// Probe runs true(1) in a machine of its own.
func (d *Driver) Probe(ctx context.Context) error {
	id := "probe-" + randomHex()
	defer func() { _ = d.Remove(context.WithoutCancel(ctx), id) }() // what stays has no record and is removed by the next process
	m, err := d.Create(ctx, runtime.Spec{ID: id})
	if err != nil {
		return err
	}
	p, err := m.Start(ctx, runtime.Command{Argv: []string{"true"}})
	if err != nil {
		return api.Errorf(api.KindUnavailable, "the host cannot run true: %w", err).WithHint("check PATH")
	}
	if exit, err := p.Wait(); err != nil || exit.Code != 0 {
		return api.Errorf(api.KindUnavailable, "true ended with exit code %d on the host", exit.Code).WithHint("check PATH")
	}
	return nil
}

func (d *Driver) path(id string) (string, error) {
	if !validID.MatchString(id) {
		return "", api.Errorf(api.KindUsage, "machine id %q is not 1 to 64 of a-z, 0-9 and -", id)
	}
	return filepath.Join(d.dir, id), nil
}

// removeAll removes a tree in which a command may have made folders that even
// their owner cannot read.
func removeAll(path string) error {
	if os.RemoveAll(path) == nil {
		return nil
	}
	_ = filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			_ = os.Chmod(p, 0o700) // e is no link, and nothing of the machine runs any more
		}
		return nil
	})
	return os.RemoveAll(path)
}
