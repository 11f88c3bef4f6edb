package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"pyro/api"
	"pyro/internal/runtime"
	"pyro/internal/secret"
	"pyro/internal/store"
)

// Recover brings records, folders and machines together after the process that
// kept them has ended, however it ended:
//
//	record               machine      becomes
//	creating, deleting   any          nothing
//	started              alive        started: the machine is adopted
//	started              dead, none   stopped, with what it was saved with; the status says so
//	stopped              none         stopped
//	any                  another one  that machine is removed, of whatever runtime: a start or reset was cut off
//	none                 any          nothing
//
// Saved disks that no record names, and what was being made, are removed.
// Commands that ran are lost. A workspace whose runtime this version does not
// have is left alone. Recover fails only if records cannot be read: what they do
// not name would be removed.
func (m *Manager) Recover(ctx context.Context) error {
	rows, err := m.store.Workspaces(ctx)
	if err != nil {
		return err
	}
	secret.RemoveUnfinished(m.key)
	snapshots := map[string][]store.Snapshot{}
	for _, row := range rows {
		if snapshots[row.ID], err = m.store.Snapshots(ctx, row.ID); err != nil {
			return err
		}
	}
	known := map[string]bool{}
	var wg sync.WaitGroup
	for _, row := range rows {
		known[row.ID] = true
		driver := m.drivers.Named(row.Driver)
		if driver == nil {
			m.log.Warn("workspace of an unknown runtime is left alone", "workspace", row.ID, "runtime", row.Driver)
			continue
		}
		wg.Go(func() { m.recoverOne(ctx, row, snapshots[row.ID], driver) })
	}
	m.removeStrangers(ctx, rows)
	wg.Wait()
	m.removeUnknownFolders(known)
	return nil
}

func (m *Manager) recoverOne(ctx context.Context, row store.Workspace, snapshots []store.Snapshot, driver runtime.Driver) {
	in := newInstance(m.folder(row.ID), row, driver, nil)
	in.snapshots = snapshots
	if row.State == store.WorkspaceCreating || row.State == store.WorkspaceDeleting {
		m.log.Info("removing what an earlier process left", "workspace", row.ID, "state", string(row.State))
		if err := m.destroy(in); err != nil {
			m.log.Error("workspace cannot be removed, trying again", "workspace", row.ID, "error", err)
			m.deleteLater(in)
		}
		return
	}
	if newest, err := m.store.Commands(ctx, in.id, row.Commands+1, 0); err != nil {
		m.log.Error("commands are not known", "workspace", in.id, "error", err)
	} else if n := len(newest); n > 0 {
		in.row.Commands = newest[n-1].Sequence
	}
	if err := m.holdImage(ctx, in); err != nil {
		m.log.Warn("image of a workspace is gone", "workspace", in.id, "environment", row.Environment, "error", err)
	}
	m.loadSecrets(in)
	m.tidy(in)
	m.loseCommands(ctx, in)
	m.adopt(ctx, in)
	m.add(in)
}

// adopt gives a started workspace its machine back, or notes that it is lost.
func (m *Manager) adopt(ctx context.Context, in *instance) {
	row := in.record()
	if row.State != store.WorkspaceStarted {
		return
	}
	driver := in.runtime()
	machine, err := driver.Adopt(ctx, in.spec(driver, row.Generation))
	if err != nil {
		m.log.Warn("sandbox did not survive", "workspace", in.id, "error", err)
		m.lost(in, "the sandbox ended while no background process watched it, or the host was restarted")
		m.discardMachine(in, driver, row.Machine)
		return
	}
	base := in.seedPath()
	if own := filepath.Join(in.diskDir(row.Disk), ownBase); row.Disk != "" && fileSize(own) > 0 {
		base = own
	}
	l := newLife(machine, driver, base, in.commandLog())
	l.touched() // what it did last may not have been saved
	m.live(in, l)
}

// loseCommands marks the commands that ran as lost.
func (m *Manager) loseCommands(ctx context.Context, in *instance) {
	why := api.Errorf(api.KindCanceled, "the background process ended while the command ran, so that its end was not seen").
		WithHint("it may have gone on; see what it did with: pyro workspace diff %s", in.id)
	b, err := json.Marshal(why)
	if err == nil {
		err = m.store.LostCommands(ctx, in.id, string(b))
	}
	if err != nil {
		m.log.Error("lost commands are not recorded", "workspace", in.id, "error", err)
	}
}

// tidy removes what an earlier process was making.
func (m *Manager) tidy(in *instance) {
	m.removeAll(in.tmp())
	for _, dir := range []string{in.tmp(), in.disks()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			m.log.Error("folder", "path", dir, "error", err)
		}
	}
	current := in.logDir(in.record().ResetCount)
	entries, _ := os.ReadDir(in.logsDir()) // absent without commands
	for _, e := range entries {
		if dir := in.logPath(e.Name()); dir != current {
			m.removeAll(dir)
		}
	}
	m.sweepDisks(in)
}

// removeStrangers removes the machines that no record names.
func (m *Manager) removeStrangers(ctx context.Context, rows []store.Workspace) {
	named := map[string]string{} // runtimes by machine
	for _, r := range rows {
		if r.Machine != "" {
			named[r.Machine] = r.Driver
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, driver := range m.drivers.All() {
		ids, err := driver.List(ctx)
		if err != nil {
			continue // what cannot run here has left nothing here
		}
		for _, id := range ids {
			if !strings.HasPrefix(id, machinePrefix) || named[id] == driver.Name() || m.foreign(named[id]) {
				continue
			}
			wg.Go(func() {
				m.log.Info("removing a machine without a record", "machine", id, "runtime", driver.Name())
				if err := driver.Remove(ctx, id); err != nil {
					m.log.Error("machine without a record cannot be removed", "machine", id, "error", err)
				}
			})
		}
	}
}

// foreign says whether a runtime is none of this version's.
func (m *Manager) foreign(name string) bool { return name != "" && m.drivers.Named(name) == nil }

func (m *Manager) removeUnknownFolders(known map[string]bool) {
	entries, err := os.ReadDir(m.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.log.Error("workspaces cannot be listed", "path", m.dir, "error", err)
	}
	for _, e := range entries {
		if !known[e.Name()] {
			m.log.Info("removing a folder without a record", "path", e.Name())
			m.removeAll(m.folder(e.Name()))
		}
	}
}

// Status describes a workspace.
func (m *Manager) Status(ctx context.Context, id string) (api.Workspace, error) {
	in, err := m.lookup(id)
	if err != nil {
		return api.Workspace{}, err
	}
	m.measure(in)
	w := in.public()
	in.countServices(ctx, &w)
	return w, nil
}
