package vm

import (
	"context"
	"time"

	"pyro/api"
	"pyro/internal/runtime"
	"pyro/internal/sandbox"
	"pyro/internal/store"
)

// Create records a VM. An environment that is not installed is pulled first.
func (m *Manager) Create(ctx context.Context, req api.CreateVMRequest) (api.VM, error) {
	in, err := m.create(ctx, req, false, func(api.Progress) {})
	if err != nil {
		return api.VM{}, err
	}
	vm := in.public()
	vm.Notice = sandbox.Notice(ctx, in.driver)
	return vm, nil
}

func (m *Manager) create(ctx context.Context, req api.CreateVMRequest, ephemeral bool, progress func(api.Progress)) (*instance, error) {
	if err := sandbox.Check(req.VCPUCount, req.MemMiB); err != nil {
		return nil, err
	}
	network, err := sandbox.ReadPolicy(req.Network, req.NetworkPolicy)
	if err != nil {
		return nil, err
	}
	driver, err := m.drivers.Choose(ctx, req.Runtime, network != nil, req.AllowHostCompat)
	if err != nil {
		return nil, err
	}
	if err := sandbox.CheckNetwork(driver, network, req.NetworkPolicy); err != nil {
		return nil, err
	}
	stored, err := sandbox.StorePolicy(network)
	if err != nil {
		return nil, err
	}
	if err := sandbox.Prepare(ctx, m.environments, driver, req.Kernel, progress); err != nil {
		return nil, err
	}
	image, err := m.image(ctx, driver, req.Environment, progress)
	if err != nil {
		return nil, err
	}
	in := newInstance(newRow(req, driver, ephemeral, stored), driver, image)
	if image != nil {
		in.row.ImageDigest = image.Digest
	}
	if err := m.store.InsertVM(ctx, in.row); err != nil {
		in.release()
		return nil, err
	}
	m.add(in)
	return in, nil
}

func newRow(req api.CreateVMRequest, driver runtime.Driver, ephemeral bool, network string) store.VM {
	now := time.Now().UTC().Truncate(time.Millisecond) // the store keeps milliseconds
	return store.VM{
		ID: newID(), Environment: req.Environment, Driver: driver.Name(), State: store.Created,
		Ephemeral: ephemeral, AllowHostCompat: req.AllowHostCompat,
		VCPUCount: req.VCPUCount, MemMiB: req.MemMiB, DiskMiB: req.DiskMiB, PIDLimit: req.PIDLimit,
		TTLSeconds: req.TTLSeconds, Network: network != "", NetworkPolicy: network, Kernel: req.Kernel,
		CreatedAt: now, ExpiresAt: now.Add(api.Seconds(req.TTLSeconds)),
	}
}

// image acquires the image for the driver, pulling it if needed. host-compat
// runs none; for it the name must only mean something.
func (m *Manager) image(ctx context.Context, driver runtime.Driver, name string, progress func(api.Progress)) (*sandbox.Image, error) {
	if !driver.Features().Isolated {
		return nil, m.environments.Known(ctx, name)
	}
	return sandbox.AcquireOrPull(ctx, m.environments, name, progress)
}

func (in *instance) release() {
	in.mu.Lock()
	image := in.image
	in.image = nil
	in.mu.Unlock()
	if image != nil {
		image.Release()
	}
}

// Start boots a created or stopped VM.
func (m *Manager) Start(ctx context.Context, id string) (api.VM, error) {
	in, err := m.lookup(id)
	if err != nil {
		return api.VM{}, err
	}
	if err := m.start(ctx, in); err != nil {
		return api.VM{}, err
	}
	return in.public(), nil
}

func (m *Manager) start(ctx context.Context, in *instance) error {
	if err := in.lock(ctx); err != nil {
		return err
	}
	defer in.unlock()
	before := in.state()
	life, err := in.beginLife()
	if err != nil {
		return err
	}
	machine, err := m.boot(ctx, in, life)
	if err != nil {
		in.takeLife(nil)
		_ = m.setState(ctx, in, before) // if even this fails, recovery does the same
		return err
	}
	in.mu.Lock()
	life.machine = machine
	in.died = nil
	in.mu.Unlock()
	go m.watch(in, life)
	return nil
}

// beginLife checks that the VM may start. The caller holds act.
func (in *instance) beginLife() (*life, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.removed || in.doom != nil:
		return nil, notFound(in.id)
	case in.life != nil:
		return nil, api.Errorf(api.KindConflict, "VM %s is started already", in.id).WithHint("pyro vm exec %s -- COMMAND", in.id)
	}
	in.life = newLife()
	return in.life, nil
}

// boot makes the machine and records that it runs. On error nothing is left.
func (m *Manager) boot(ctx context.Context, in *instance, l *life) (runtime.Machine, error) {
	ctx, cancel := sandbox.Joined(ctx, l.ctx)
	defer cancel()
	if err := m.holdImage(ctx, in); err != nil {
		return nil, err
	}
	if err := m.setState(ctx, in, store.Starting); err != nil {
		return nil, err
	}
	machine, err := in.driver.Create(ctx, in.spec())
	if err == nil {
		if err = m.setState(ctx, in, store.Started); err == nil {
			return machine, nil
		}
		machine.Close()
		if err := in.driver.Remove(context.WithoutCancel(ctx), in.id); err != nil {
			m.log.Error("machine of a VM that did not start cannot be removed", "vm", in.id, "error", err)
		}
	}
	if why := context.Cause(l.ctx); why != nil {
		return nil, why
	}
	if ctx.Err() != nil {
		return nil, api.Errorf(api.KindCanceled, "start of VM %s: %w", in.id, context.Cause(ctx))
	}
	return nil, err
}

// holdImage acquires the image again if a restart has let go of it: the one
// that the VM was created with, or else what the environment is now.
func (m *Manager) holdImage(ctx context.Context, in *instance) error {
	in.mu.Lock()
	missing := in.image == nil && in.driver.Features().Isolated
	name, digest := in.row.Environment, in.row.ImageDigest
	in.mu.Unlock()
	if !missing {
		return nil
	}
	image, err := m.environments.AcquireDigest(ctx, digest)
	if err != nil {
		image, err = m.environments.Acquire(ctx, name)
	}
	if err != nil {
		return err
	}
	in.mu.Lock()
	in.image = image
	in.mu.Unlock()
	return nil
}

// watch notes the death of a sandbox that nobody asked to end.
func (m *Manager) watch(in *instance, l *life) {
	select {
	case <-l.ctx.Done():
		return
	case <-l.machine.Done():
	}
	_ = in.lock(context.Background()) // fails only if the context ends
	defer in.unlock()
	in.mu.Lock()
	mine := in.life == l && l.ctx.Err() == nil && !in.busy // a command sees to it itself
	why := sandbox.DeathOf(l.machine)
	if mine {
		in.died = why
	}
	in.mu.Unlock()
	if !mine {
		return
	}
	m.log.Warn("sandbox ended by itself", "vm", in.id, "error", why)
	if err := m.halt(context.Background(), in, why); err != nil {
		m.log.Error("dead sandbox cannot be removed", "vm", in.id, "error", err)
	}
}

// halt removes the machine and keeps the VM. The caller holds act.
func (m *Manager) halt(ctx context.Context, in *instance, why error) error {
	machine := in.takeLife(why)
	err := in.driver.Remove(context.WithoutCancel(ctx), in.id)
	if machine != nil {
		machine.Close()
	}
	if err != nil {
		return err
	}
	return m.setState(ctx, in, store.Stopped)
}

// Stop ends the sandbox of a started VM. A VM that is not started stays as it is.
func (m *Manager) Stop(ctx context.Context, id string) (api.VM, error) {
	in, err := m.lookup(id)
	if err != nil {
		return api.VM{}, err
	}
	why := api.Errorf(api.KindCanceled, "VM %s was stopped", id)
	in.end(why)
	if err := in.lock(ctx); err != nil {
		return api.VM{}, err
	}
	defer in.unlock()
	if in.running() {
		if err := m.halt(ctx, in, why); err != nil {
			return api.VM{}, err
		}
	}
	return in.public(), nil
}
