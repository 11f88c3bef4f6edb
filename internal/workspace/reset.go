package workspace

import (
	"cmp"
	"context"
	"time"

	"pyro/api"
	"pyro/internal/sandbox"
	"pyro/internal/store"
)

// Reset throws the workspace back to its baseline or a snapshot. The new machine
// is started first; one change of the record makes it the workspace's.
func (m *Manager) Reset(ctx context.Context, req api.ResetRequest) (api.ResetResult, error) {
	in, leave, err := m.enter(req.WorkspaceID)
	if err != nil {
		return api.ResetResult{}, err
	}
	defer leave()
	in.used()
	if err := in.lock(ctx, in.act); err != nil {
		return api.ResetResult{}, err
	}
	defer in.act.unlock()
	if err := m.reset(ctx, in, req.Snapshot); err != nil {
		return api.ResetResult{}, sandbox.CanceledOr(ctx, err)
	}
	return api.ResetResult{Workspace: in.public(), RestoredSnapshot: req.Snapshot}, nil
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

// reset does the work. The caller holds in.act.
func (m *Manager) reset(ctx context.Context, in *instance, name string) error {
	to, err := in.target(name)
	if err != nil {
		return err
	}
	st, err := m.stateOf(in, to.disk)
	if err != nil {
		return err
	}
	row := in.record()
	generation, log := in.nextGeneration(), openLog(in.logDir(row.ResetCount+1))
	l, err := m.boot(ctx, in, generation, st, log)
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
	row.State, row.Machine, row.Generation = store.WorkspaceStarted, l.machine.ID(), generation
	row.Disk, row.DiskSource, row.SavedAt = to.disk, to.source, to.saved
	row.Commands, row.Recovery = 0, ""
	row.ResetCount++
	row.LastResetAt = now()
	if err := m.store.ResetWorkspace(context.WithoutCancel(ctx), row); err != nil {
		return err
	}
	in.mu.Lock()
	doom := in.doom
	in.row, in.log, in.saveErr = row, l.log, nil
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
