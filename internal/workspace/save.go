package workspace

import (
	"context"
	"errors"
	"time"

	"pyro/api"
	"pyro/internal/runtime"
	"pyro/internal/store"
)

const (
	// saveInterval is how often it is looked whether a machine has done anything
	// while it is in use, and so how old the newest save usually is at most.
	saveInterval = time.Second
	// idleInterval is how rarely that is done for a machine that does nothing.
	idleInterval = 2 * time.Second
	// saveShare bounds the part of the time that a machine stands still to be
	// saved: after a save that took t, none follows for saveShare times t.
	saveShare = 20
	// maxRest bounds that again, so that a single slow save, on a host that was
	// busy with something else, does not leave the next changes unsaved for long.
	maxRest = 30 * time.Second
	// activityNoise is how far Activity grows by itself, without any work of the
	// guest's, in an interval.
	activityNoise = 2
	// saveRetry is how long a failed save is not tried again.
	saveRetry = 10 * time.Second
)

// autosave saves the disk soon after it may have changed, as long as the life
// lasts.
func (m *Manager) autosave(in *instance, l *life) {
	defer close(l.saved)
	saver := l.machine.(runtime.DiskSaver)
	seen, _ := saver.Activity() // an error shows again below
	wait, touched := saveInterval, false
	var rest time.Time // when the next save may be
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-l.machine.Done():
			return
		case <-l.kick:
			touched = true
			select { // for what follows to be saved with it
			case <-time.After(max(saveInterval, time.Until(rest))):
			case <-l.ctx.Done():
				return
			}
		case <-time.After(max(wait, time.Until(rest))):
		}
		activity, err := saver.Activity()
		if err != nil {
			continue // the machine is ending
		}
		if !touched && activity-seen < activityNoise {
			if !in.busy() {
				wait = min(2*wait, idleInterval)
			}
			continue
		}
		select {
		case <-l.kick: // of something that this save has in it
		default:
		}
		begun := time.Now()
		err = m.save(context.Background(), in, l)
		touched, wait, rest = false, saveInterval, time.Now().Add(min(saveShare*time.Since(begun), maxRest))
		if err != nil && l.ctx.Err() == nil {
			m.log.Error("disk is not saved, trying again", "workspace", in.id, "error", err)
			touched, rest = true, time.Now().Add(saveRetry)
		}
		seen, _ = saver.Activity()
	}
}

// busy says whether commands run.
func (in *instance) busy() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.running > 0
}

// save saves the machine's disk and makes it what the workspace comes back with.
func (m *Manager) save(ctx context.Context, in *instance, l *life) error {
	leave, err := in.enter()
	if err != nil {
		return err
	}
	defer leave()
	if err := in.lock(ctx, in.disk); err != nil {
		return err
	}
	defer in.disk.unlock()
	err = m.saveLocked(ctx, in, l)
	if in.holds(l) { // else it tells nothing of the machine that there is now
		in.mu.Lock()
		in.saveErr = api.AsError(err)
		in.mu.Unlock()
	}
	return err
}

// saveLocked is save for a caller who holds in.disk. Neither the budget nor the
// disk's reserve keeps a save away: saves are what the reserve is for.
func (m *Manager) saveLocked(ctx context.Context, in *instance, l *life) error {
	saved := now() // before the machine is stopped: later changes are not in it
	id, _, err := m.keep(ctx, in, l)
	if err != nil {
		return err
	}
	return m.adoptDisk(ctx, in, l, id, "autosave", saved)
}

// adoptDisk makes a disk what the workspace comes back with. The caller holds
// in.disk.
func (m *Manager) adoptDisk(ctx context.Context, in *instance, l *life, id, source string, saved time.Time) error {
	err := in.update(func(r *store.Workspace) {
		r.Disk, r.DiskSource, r.SavedAt = id, source, saved
	}, func(r store.Workspace) error {
		if !in.holds(l) { // reset meanwhile: what was saved is of the past
			return l.orCause(api.Errorf(api.KindCanceled, "%s has another sandbox now", in.what()))
		}
		return m.store.UpdateWorkspace(context.WithoutCancel(ctx), r, true)
	})
	if err == nil {
		in.rebase(l, id)
		err = m.hit("save-recorded")
	}
	m.sweepDisks(in)
	return err
}

// SaveAll saves every workspace that has changed, before the process ends, and
// lets removals that are under way come to their end.
func (m *Manager) SaveAll(ctx context.Context) {
	for _, in := range m.all() {
		l := in.currentLife()
		if l == nil {
			continue
		}
		if err := m.save(ctx, in, l); err != nil {
			m.log.Error("disk is not saved", "workspace", in.id, "error", err)
		}
	}
	for m.removals.Load() > 0 && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
}

// StopAll saves and stops every started workspace.
func (m *Manager) StopAll(ctx context.Context) error {
	var errs []error
	for _, in := range m.all() {
		if in.currentLife() == nil {
			continue
		}
		if _, err := m.Stop(ctx, in.id); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
