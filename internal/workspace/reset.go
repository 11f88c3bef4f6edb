package workspace

import (
	"cmp"
	"context"
	"path/filepath"
	"time"

	"pyro/api"
	"pyro/internal/runtime"
	"pyro/internal/sandbox"
	"pyro/internal/store"
)

// Reset throws the workspace back to its baseline or a snapshot. The new machine
// is started first; one change of the record makes it the workspace's. It may be
// of another runtime than the old one, which then is the workspace's.
func (m *Manager) Reset(ctx context.Context, req api.ResetRequest) (api.ResetResult, error) {
	in, leave, err := m.enter(req.WorkspaceID)
	if err != nil {
		return api.ResetResult{}, err
	}
	defer leave()
	in.used()
	driver, err := m.runtimeNamed(ctx, in, req.Runtime)
	if err != nil {
		return api.ResetResult{}, sandbox.CanceledOr(ctx, err)
	}
	if err := in.lock(ctx, in.act); err != nil {
		return api.ResetResult{}, err
	}
	defer in.act.unlock()
	if err := m.reset(ctx, in, driver, req.Snapshot); err != nil {
		return api.ResetResult{}, sandbox.CanceledOr(ctx, err)
	}
	res := api.ResetResult{Workspace: in.public(), RestoredSnapshot: req.Snapshot}
	if driver != nil {
		res.Notice = sandbox.Notice(ctx, driver)
	}
	return res, nil
}

// runtimeNamed returns the driver that a reset names, with what its machines need, or
// nil if it shall be the one that there is. The workspace keeps its network.
func (m *Manager) runtimeNamed(ctx context.Context, in *instance, want api.Runtime) (runtime.Driver, error) {
	if want == "" || want == api.RuntimeAuto {
		return nil, nil
	}
	row := in.record()
	driver, err := m.drivers.Wanted(ctx, want, row.Network)
	if err != nil {
		return nil, err
	}
	if err := sandbox.CheckNetwork(driver, sandbox.StoredPolicy(row.NetworkPolicy), ""); err != nil {
		return nil, api.AsError(err).WithHint("%s has a network: leave --runtime out, or create one without", in.what())
	}
	kernel := ""
	if driver.Features().Kernel {
		kernel = row.Kernel
	}
	return driver, sandbox.Prepare(ctx, m.environments, driver, kernel, func(api.Progress) {})
}

// target is what a workspace is reset to.
type target struct {
	disk, source string
	saved        time.Time
}

func (in *instance) target(name string) (target, error) {
	if name == api.Baseline {
		return target{source: api.Baseline}, nil
	}
	s, err := in.find(name)
	return target{disk: s.Disk, source: "snapshot", saved: s.CreatedAt}, err
}

// reset does the work. The driver is nil for that of now. The caller holds in.act.
func (m *Manager) reset(ctx context.Context, in *instance, driver runtime.Driver, name string) error {
	if driver == nil {
		driver = in.runtime()
	}
	to, err := in.target(name)
	if err != nil {
		return err
	}
	st, err := m.stateOf(in, to.disk)
	if err != nil {
		return err
	}
	if err := m.roomToCross(st, driver); err != nil {
		return err
	}
	row := in.record()
	generation, log := in.nextGeneration(), openLog(in.logDir(row.ResetCount+1))
	l, err := m.boot(ctx, in, driver, generation, st, log)
	if err != nil {
		return err
	}
	defer m.arrived(in)
	to.disk = cmp.Or(l.disk, to.disk)
	if err := m.commitReset(ctx, in, l, generation, name, to); err != nil {
		m.discard(in, l)
		return err
	}
	if err := m.hit("reset-committed"); err != nil {
		m.log.Error("after a reset", "error", err)
	}
	m.removeAll(in.logDir(row.ResetCount))
	in.users.Go(func() { // held back until no save or diff is under way
		in.disk.lock()
		defer in.disk.unlock()
		m.sweepDisks(in)
	})
	return nil
}

// roomToCross refuses to convert a disk for another runtime where there is no room
// for it: its layer of the root as a tar and as that runtime saves it, and an image
// of all of /workspace.
func (m *Manager) roomToCross(st state, driver runtime.Driver) error {
	if st.disk == "" || st.driver.Name() == driver.Name() {
		return nil
	}
	disk, base := folderSize(st.disk), fileSize(st.base)
	if filepath.Dir(st.base) == st.disk {
		disk -= base
	}
	return m.room(2*disk + base)
}

// commitReset makes the new machine the workspace's and lets the old one go.
func (m *Manager) commitReset(ctx context.Context, in *instance, l *life, generation int, name string, to target) error {
	in.rec.Lock()
	defer in.rec.Unlock()
	if name != api.Baseline {
		if _, err := in.find(name); err != nil { // deleted meanwhile
			return err
		}
	}
	row := in.record()
	row.Driver, row.State, row.Machine, row.Generation = l.driver.Name(), store.WorkspaceStarted, l.machine.ID(), generation
	row.Disk, row.DiskSource, row.SavedAt = to.disk, to.source, to.saved
	row.Commands, row.Recovery = 0, ""
	row.ResetCount++
	row.LastResetAt = now()
	if err := m.store.ResetWorkspace(context.WithoutCancel(ctx), row); err != nil {
		return err
	}
	in.mu.Lock()
	doom := in.doom
	in.row, in.driver, in.log, in.saveErr = row, l.driver, l.log, nil
	in.mu.Unlock()
	old := in.takeLife(api.Errorf(api.KindReset, "%s was reset to %s meanwhile", in.what(), name).
		WithHint("do it again in the new state; see pyro workspace status %s", in.id))
	if old != nil {
		m.removals.Add(1)
		in.users.Go(func() {
			defer m.removals.Add(-1)
			m.discard(in, old)
		})
	}
	if doom != nil {
		return doom // the deletion that waits for us removes the machine that the record names
	}
	m.live(in, l)
	return nil
}
