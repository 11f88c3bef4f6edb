package workspace

import (
	"cmp"
	"context"
	"time"

	"pyro/api"
	"pyro/internal/commandlog"
	"pyro/internal/runtime"
	"pyro/internal/sandbox"
	"pyro/internal/store"
)

// boot makes a machine of the driver that begins with st, unless the workspace goes
// away meanwhile. On error nothing of it is left. The caller holds in.act.
func (m *Manager) boot(ctx context.Context, in *instance, driver runtime.Driver, generation int, st state, log *commandlog.Log) (*life, error) {
	ctx, stop := in.whileKept(ctx)
	defer stop()
	l, err := m.bootKept(ctx, in, driver, generation, st, log)
	if err != nil {
		return nil, sandbox.CanceledOr(ctx, err)
	}
	return l, nil
}

func (m *Manager) bootKept(ctx context.Context, in *instance, driver runtime.Driver, generation int, st state, log *commandlog.Log) (*life, error) {
	if err := m.holdImage(ctx, in); err != nil {
		return nil, err
	}
	spec := in.spec(driver, generation)
	spec.Workspace, spec.Disk = st.base, st.disk
	adapted, err := m.adapt(ctx, in, driver, st, &spec)
	if err != nil {
		return nil, err
	}
	defer m.removeAll(adapted) // keepAdapted has what is needed further on
	if err := m.hit("boot"); err != nil {
		return nil, err
	}
	machine, err := driver.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	l := newLife(machine, driver, spec.Workspace, log)
	err = m.hit("booted")
	if err == nil && adapted != "" {
		err = m.keepAdapted(ctx, in, l)
	}
	if err != nil {
		m.discard(in, l)
		return nil, err
	}
	return l, nil
}

// arrived says that the record names what is coming, or never will.
func (m *Manager) arrived(in *instance) {
	in.mu.Lock()
	none := in.coming == ""
	in.coming = ""
	in.mu.Unlock()
	if none {
		return
	}
	in.users.Go(func() {
		in.disk.lock()
		defer in.disk.unlock()
		m.sweepDisks(in)
	})
}

// discard removes a machine that is not, or no more, the workspace's.
func (m *Manager) discard(in *instance, l *life) {
	m.discardMachine(in, l.driver, l.machine.ID())
	l.machine.Close()
}

func (m *Manager) discardMachine(in *instance, driver runtime.Driver, id string) {
	if err := driver.Remove(context.Background(), id); err != nil {
		m.log.Error("machine cannot be removed, trying again", "workspace", in.id, "machine", id, "error", err)
		time.AfterFunc(deleteRetry, func() { m.discardMachine(in, driver, id) }) // ids are never used twice
	}
}

// holdImage acquires the environment's image again if a restart has let go of it.
func (m *Manager) holdImage(ctx context.Context, in *instance) error {
	in.mu.Lock()
	missing, digest, name := in.image == nil, in.row.ImageDigest, in.row.Environment
	in.mu.Unlock()
	if !missing {
		return nil
	}
	image, err := m.environments.AcquireDigest(ctx, digest)
	if err != nil {
		return api.Errorf(api.KindOf(err), "the image of %s, environment %s, is gone: %w", in.what(), name, err).
			WithHint("nothing else fits what the workspace has written; if another host has it, move it here with: pyro env import")
	}
	in.mu.Lock()
	in.image = image
	in.mu.Unlock()
	return nil
}

// ready returns the life of a started workspace, starting it if needed.
func (m *Manager) ready(ctx context.Context, in *instance) (*life, error) {
	in.used()
	if l := in.currentLife(); l != nil {
		return l, nil
	}
	if err := in.lock(ctx, in.act); err != nil {
		return nil, err
	}
	defer in.act.unlock()
	return m.start(ctx, in)
}

// onMachine gives f the machine of a workspace, which is started if needed. A
// machine that turns out to have died by itself is replaced, once: whoever comes
// first after a crash is not the one to suffer from it.
func (m *Manager) onMachine(ctx context.Context, in *instance, f func(l *life) error) error {
	for again := false; ; again = true {
		l, err := m.ready(ctx, in)
		if err == nil {
			err = f(l)
		}
		if err == nil {
			return nil
		}
		if again || l == nil || !in.replaced(ctx, l) {
			return sandbox.CanceledOr(ctx, err)
		}
	}
}

// replaced says whether the machine has died by itself, and returns when that is
// on record.
func (in *instance) replaced(ctx context.Context, l *life) bool {
	select {
	case <-l.machine.Done():
	default:
		return false
	}
	select {
	case <-l.ctx.Done(): // by watch, or by who took the machine away
	case <-ctx.Done():
		return false
	}
	if why := api.AsError(sandbox.DeathOf(l.machine)); context.Cause(l.ctx).Error() != why.Error() {
		return false
	}
	if in.lock(ctx, in.act) != nil {
		return false
	}
	in.act.unlock()
	return true
}

// start starts the workspace from where it was saved. The caller holds in.act.
func (m *Manager) start(ctx context.Context, in *instance) (*life, error) {
	in.mu.Lock()
	l, row, doom := in.life, in.row, in.doom
	in.mu.Unlock()
	if l != nil || doom != nil {
		if doom != nil {
			return nil, notFound(in.id)
		}
		return l, nil
	}
	st, err := m.stateOf(in, row.Disk)
	if err != nil {
		return nil, err
	}
	generation := in.nextGeneration()
	if l, err = m.boot(ctx, in, in.runtime(), generation, st, in.commandLog()); err != nil {
		return nil, err
	}
	defer m.arrived(in)
	err = m.set(ctx, in, l.disk != "", func(r *store.Workspace) {
		r.State, r.Machine, r.Generation = store.WorkspaceStarted, l.machine.ID(), generation
		r.Disk = cmp.Or(l.disk, r.Disk)
		if rec := recovery(*r); rec != nil && rec.RestoredAt.IsZero() {
			rec.RestoredAt = now()
			setRecovery(r, *rec)
		}
	})
	if err != nil {
		m.discard(in, l)
		return nil, err
	}
	if !m.live(in, l) {
		m.discard(in, l)
		return nil, notFound(in.id)
	}
	return l, nil
}

// live gives the workspace its machine, unless it is being deleted.
func (m *Manager) live(in *instance, l *life) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.doom != nil {
		return false
	}
	in.life = l
	go m.watch(in, l)
	go m.autosave(in, l)
	go m.republish(in, l)
	return true
}

// watch notes the death of a machine that nobody asked to end.
func (m *Manager) watch(in *instance, l *life) {
	select {
	case <-l.ctx.Done():
		return
	case <-l.machine.Done():
	}
	in.act.lock()
	defer in.act.unlock()
	if in.currentLife() != l {
		return
	}
	why := sandbox.DeathOf(l.machine)
	m.log.Warn("sandbox ended by itself", "workspace", in.id, "error", why)
	in.takeLife(why)
	m.removals.Add(1)
	defer m.removals.Add(-1)
	m.lost(in, why.Message)
	m.discard(in, l)
}

// lost records that the machine is gone and what it will come back with. The
// caller holds in.act.
func (m *Manager) lost(in *instance, reason string) {
	err := m.set(context.Background(), in, true, func(r *store.Workspace) {
		r.State, r.Machine = store.WorkspaceStopped, ""
		rec := api.Recovery{Reason: reason, LostAt: now(), Source: r.DiskSource, SavedAt: r.SavedAt}
		if r.Disk == "" {
			rec.Source, rec.SavedAt = api.Baseline, r.CreatedAt
		}
		setRecovery(r, rec)
	})
	if err != nil {
		m.log.Error("the loss of a sandbox is not recorded", "workspace", in.id, "error", err)
	}
}

// Start starts a stopped workspace.
func (m *Manager) Start(ctx context.Context, id string) (api.Workspace, error) {
	in, err := m.lookup(id)
	if err != nil {
		return api.Workspace{}, err
	}
	if _, err := m.ready(ctx, in); err != nil {
		return api.Workspace{}, err
	}
	return in.public(), nil
}

// Stop saves the disk and ends the machine.
func (m *Manager) Stop(ctx context.Context, id string) (api.Workspace, error) {
	in, err := m.lookup(id)
	if err != nil {
		return api.Workspace{}, err
	}
	if err := in.lock(ctx, in.act); err != nil {
		return api.Workspace{}, err
	}
	defer in.act.unlock()
	why := api.Errorf(api.KindCanceled, "%s was stopped", in.what()).
		WithHint("its next use starts it again: pyro workspace exec %s -- COMMAND", in.id)
	l := in.retire(why)
	if l == nil {
		return in.public(), nil
	}
	if err := m.stop(ctx, in, l); err != nil {
		m.resume(in)
		return api.Workspace{}, err
	}
	l.cancel(why)
	in.mu.Lock()
	in.ending = nil
	in.mu.Unlock()
	m.discard(in, l)
	return in.public(), nil
}

// stop saves the machine of the life that retire returned. The commands were
// ended before: what one of them did that has succeeded is saved too. The caller
// holds in.act.
func (m *Manager) stop(ctx context.Context, in *instance, l *life) error {
	if err := m.save(ctx, in, l); err != nil {
		return err
	}
	if err := m.hit("stop-saved"); err != nil {
		return err
	}
	err := m.set(ctx, in, true, func(r *store.Workspace) { r.State, r.Machine = store.WorkspaceStopped, "" })
	if err == nil {
		_ = m.hit("stop-recorded") // it is too late to fail
	}
	return err
}

// retire ends the life for all who use the machine, waits for its commands, and
// returns one that only its caller has, or nil if there is no machine.
func (in *instance) retire(why error) *life {
	l := in.takeLife(why)
	if l == nil {
		return nil
	}
	last := l.again()
	in.mu.Lock()
	in.ending = last
	in.mu.Unlock()
	l.uses.Wait()
	return last
}

// resume gives back the machine that retire took.
func (m *Manager) resume(in *instance) {
	in.mu.Lock()
	l := in.ending
	in.ending = nil
	in.mu.Unlock()
	m.live(in, l)
	l.touched()
}
