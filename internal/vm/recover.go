package vm

import (
	"context"
	"strings"
	"sync"

	"pyro/api"
	"pyro/internal/runtime"
	"pyro/internal/sandbox"
	"pyro/internal/store"
)

// Recover brings records and machines together after the process that kept
// them has ended, however it ended:
//
//	record                     machine      becomes
//	ephemeral, or removing     any          nothing
//	created, stopped           any          as recorded, without a machine
//	starting                   any          created, without a machine
//	started                    alive        started: the machine is adopted
//	started                    dead, none   stopped
//	none                       any          nothing
//
// A TTL that has ended meanwhile removes the VM right after. A VM whose driver
// this version does not have keeps its record and is otherwise left alone.
// Recover fails only if records or machines cannot be listed.
func (m *Manager) Recover(ctx context.Context) error {
	rows, err := m.store.VMs(ctx)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	var wg sync.WaitGroup
	for _, row := range rows {
		known[row.ID] = true
		driver := m.drivers.Named(row.Driver)
		if driver == nil {
			m.log.Warn("VM of an unknown runtime is left alone", "vm", row.ID, "runtime", row.Driver)
			continue
		}
		wg.Go(func() { m.recoverVM(ctx, row, driver) })
	}
	wg.Wait()
	return m.removeUnknown(ctx, known)
}

func (m *Manager) recoverVM(ctx context.Context, row store.VM, driver runtime.Driver) {
	in := newInstance(row, driver, nil)
	m.add(in)
	if row.Ephemeral || row.State == store.Removing {
		m.log.Info("removing what an earlier process left", "vm", row.ID, "state", string(row.State))
		// On failure it is tried again later.
		_ = m.remove(ctx, in, api.Errorf(api.KindCanceled, "VM %s belonged to a call that was cut off", row.ID))
		return
	}
	if err := m.holdImage(ctx, in); err != nil {
		m.log.Warn("image of VM is gone", "vm", row.ID, "environment", row.Environment, "error", err)
	}
	_ = in.lock(context.Background()) // fails only if the context ends
	defer in.unlock()
	if in.removed { // its TTL was faster
		return
	}
	m.reunite(ctx, in)
}

// reunite gives a VM its machine back or frees what is left of it. The caller holds act.
func (m *Manager) reunite(ctx context.Context, in *instance) {
	if in.state() == store.Started {
		machine, err := in.driver.Adopt(ctx, in.spec())
		if err == nil {
			l := newLife()
			l.machine = machine
			in.mu.Lock()
			in.life = l
			in.mu.Unlock()
			go m.watch(in, l)
			return
		}
		m.log.Warn("sandbox did not survive", "vm", in.id, "error", err)
		in.mu.Lock()
		in.died = api.Errorf(api.KindSandboxDied, "its sandbox ended while no background process watched it")
		in.mu.Unlock()
	}
	state := store.Stopped
	if s := in.state(); s == store.Created || s == store.Starting {
		state = store.Created
	}
	if err := in.driver.Remove(ctx, in.id); err != nil {
		m.log.Error("leftovers of VM cannot be removed", "vm", in.id, "error", err)
	}
	if state == in.state() {
		return
	}
	if err := m.setState(ctx, in, state); err != nil {
		m.log.Error("state of VM is not recorded", "vm", in.id, "error", err)
	}
}

// removeUnknown removes the machines that no record knows. Those of workspaces
// have records elsewhere.
func (m *Manager) removeUnknown(ctx context.Context, known map[string]bool) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, driver := range m.drivers.All() {
		ids, err := driver.List(ctx)
		if api.KindOf(err) == api.KindUnavailable || api.KindOf(err) == api.KindUnsupported {
			continue // what cannot run here has left nothing here
		}
		if err != nil {
			return err
		}
		for _, id := range ids {
			if known[id] || strings.HasPrefix(id, sandbox.WorkspacePrefix) {
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
	return nil
}
