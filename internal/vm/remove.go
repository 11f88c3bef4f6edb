package vm

import (
	"context"
	"sync"
	"time"

	"pyro/api"
	"pyro/internal/store"
)

// Reasons of a Cleanup; part of the public contract.
const (
	reasonPostExec = "post_exec_cleanup"
	reasonDelete   = "explicit_delete"
)

// removeTime bounds how long a driver may take to remove a machine. What is
// left then is tried again.
const removeTime = time.Minute

// Removals that failed are tried again after retryInterval, and then after
// twice the time each, up to retryMax.
const (
	retryInterval = 2 * time.Second
	retryMax      = time.Minute
)

// Delete removes a VM in any state.
func (m *Manager) Delete(ctx context.Context, id string) (api.Cleanup, error) {
	in, err := m.lookup(id)
	if err != nil {
		return api.Cleanup{}, err
	}
	if err := m.remove(ctx, in, api.Errorf(api.KindCanceled, "VM %s was deleted", id)); err != nil {
		return api.Cleanup{}, err
	}
	return api.Cleanup{Deleted: true, Reason: reasonDelete, VMID: id}, nil
}

// remove frees everything of a VM; why is what those get who wait for it. It
// goes on when the caller goes away. After an error the VM stays and is tried
// again by Reaper. Removing a removed VM is not an error.
func (m *Manager) remove(ctx context.Context, in *instance, why *api.Error) error {
	in.mu.Lock()
	if in.doom == nil {
		in.doom = why
	}
	in.mu.Unlock()
	in.end(why)

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	if err := in.lock(ctx); err != nil {
		return err
	}
	defer in.unlock()
	if in.removed { // written only by holders of act
		return nil
	}
	return m.destroy(ctx, in, why)
}

// destroy does the work of remove. The caller holds act.
func (m *Manager) destroy(ctx context.Context, in *instance, why *api.Error) error {
	if err := m.setState(ctx, in, store.Removing); err != nil {
		m.log.Error("intent to remove is not recorded", "vm", in.id, "error", err) // a full disk must not keep VMs alive
	}
	machine := in.takeLife(why)
	if err := in.driver.Remove(ctx, in.id); err != nil {
		in.mu.Lock()
		in.wait = min(max(2*in.wait, retryInterval), retryMax)
		in.retry = time.Now().Add(in.wait)
		in.mu.Unlock()
		m.log.Error("VM cannot be removed, trying again later", "vm", in.id, "error", err)
		return err
	}
	if machine != nil {
		machine.Close()
	}
	in.release()
	if err := m.store.DeleteVM(ctx, in.id, !in.row.Ephemeral); err != nil {
		m.log.Error("record of a removed VM stays", "vm", in.id, "error", err) // recovery finds no machine and drops it
	}
	in.mu.Lock()
	in.removed = true
	in.mu.Unlock()
	m.forget(in)
	return nil
}

// expire removes a VM whose TTL has ended.
func (m *Manager) expire(in *instance) error {
	why := api.Errorf(api.KindTimeout, "the lifetime of VM %s ended after %d s", in.id, in.row.TTLSeconds).
		WithHint("give it more with --ttl-seconds %d", 2*in.row.TTLSeconds)
	return m.remove(context.Background(), in, why)
}

// ReapExpired removes all VMs whose TTL has ended now, and those whose removal
// failed before. It returns the expired ones that are gone.
func (m *Manager) ReapExpired(context.Context) (api.Reaped, error) {
	return m.reap(func(*instance) bool { return true }), nil
}

// reap removes what has expired or failed to be removed, if also says so too.
func (m *Manager) reap(also func(*instance) bool) api.Reaped {
	var mu sync.Mutex
	var wg sync.WaitGroup
	reaped := api.Reaped{VMIDs: []string{}}
	for _, in := range m.all() {
		in.mu.Lock()
		expired, doomed := !time.Now().Before(in.row.ExpiresAt), in.doom != nil
		due := (expired || doomed) && also(in)
		in.mu.Unlock()
		if !due {
			continue
		}
		wg.Go(func() {
			if m.expire(in) == nil && expired {
				mu.Lock()
				defer mu.Unlock()
				reaped.VMIDs = append(reaped.VMIDs, in.id)
			}
		})
	}
	wg.Wait()
	reaped.Count = len(reaped.VMIDs)
	return reaped
}

// Reaper reaps from time to time until ctx ends. The TTL of each VM has a timer
// of its own; this is for removals that failed and clocks that were set.
func (m *Manager) Reaper(ctx context.Context) {
	tick := time.NewTicker(retryInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.reap(func(in *instance) bool { return !time.Now().Before(in.retry) })
		}
	}
}

// RemoveRunning removes every VM whose sandbox runs.
func (m *Manager) RemoveRunning(ctx context.Context) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var first error
	for _, in := range m.all() {
		if !in.running() {
			continue
		}
		wg.Go(func() {
			if err := m.remove(ctx, in, api.Errorf(api.KindCanceled, "VM %s was removed because the background process was told to stop", in.id)); err != nil {
				mu.Lock()
				defer mu.Unlock()
				first = err
			}
		})
	}
	wg.Wait()
	return first
}
