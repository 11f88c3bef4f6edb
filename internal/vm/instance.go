package vm

import (
	"context"
	"sync"
	"time"

	"pyro/api"
	"pyro/internal/runtime"
	"pyro/internal/sandbox"
	"pyro/internal/store"
)

// instance is one VM. See the package comment for the order of the locks.
type instance struct {
	id      string
	created time.Time
	driver  runtime.Driver
	ttl     *time.Timer // set by Manager.add

	// act is a mutex that a context can give up waiting for. Its holder may
	// start, stop and remove the machine and change row.State.
	act chan struct{}

	mu      sync.Mutex // guards the rest
	row     store.VM
	image   *sandbox.Image // held for a driver that runs images; may be nil after a restart
	life    *life          // not nil from the begin of Start until the sandbox is gone
	died    *api.Error     // why the last sandbox ended, if it did so by itself
	busy    bool           // a command runs, or has run and the VM is about to be removed
	doom    *api.Error     // why the VM is going away, if it is
	removed bool
	// A removal that failed is tried again at retry, ever more rarely.
	retry time.Time
	wait  time.Duration
}

// life is the time of one sandbox.
type life struct {
	ctx     context.Context // ends, with the reason as cause, when the sandbox shall end
	cancel  context.CancelCauseFunc
	machine runtime.Machine // nil while it is being made
}

func newInstance(row store.VM, driver runtime.Driver, image *sandbox.Image) *instance {
	return &instance{id: row.ID, created: row.CreatedAt, driver: driver, act: make(chan struct{}, 1), row: row, image: image}
}

func newLife() *life {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &life{ctx: ctx, cancel: cancel}
}

func (in *instance) lock(ctx context.Context) error {
	select {
	case in.act <- struct{}{}:
		return nil
	case <-ctx.Done():
		return api.Errorf(api.KindCanceled, "stopped waiting for VM %s: %w", in.id, context.Cause(ctx))
	}
}

func (in *instance) unlock() { <-in.act }

func (in *instance) running() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.life != nil
}

// machine returns the sandbox if it runs, else nil.
func (in *instance) machine() runtime.Machine {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.life == nil {
		return nil
	}
	return in.life.machine
}

// end asks the sandbox that runs or is being made to end.
func (in *instance) end(why error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.life != nil {
		in.life.cancel(why)
	}
}

// takeLife ends the life, if there is one, and returns its machine or nil.
func (in *instance) takeLife(why error) runtime.Machine {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.life == nil {
		return nil
	}
	machine := in.life.machine
	in.life.cancel(why)
	in.life = nil
	return machine
}

func (in *instance) state() store.State {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.row.State
}

// spec is what the driver is asked for.
func (in *instance) spec() runtime.Spec {
	in.mu.Lock()
	defer in.mu.Unlock()
	s := runtime.Spec{
		ID: in.id, VCPUs: in.row.VCPUCount, PIDs: in.row.PIDLimit,
		MemoryBytes: int64(in.row.MemMiB) << 20, DiskBytes: int64(in.row.DiskMiB) << 20, Kernel: in.row.Kernel,
	}
	if in.image != nil {
		s.Image, s.Env = in.image.Path, in.image.Env
	}
	if p := sandbox.StoredPolicy(in.row.NetworkPolicy); p != nil && in.driver.Features().Network {
		s.Network = &runtime.Network{Policy: p}
		if in.image != nil {
			s.Network.AptSources = in.image.AptSources
		}
	}
	return s
}

// public is the VM as callers see it.
func (in *instance) public() api.VM {
	in.mu.Lock()
	defer in.mu.Unlock()
	state := api.VMState(in.row.State)
	switch in.row.State {
	case store.Starting:
		state = api.VMCreated
	case store.Removing:
		state = api.VMStopped
	}
	base := ""
	if p := sandbox.StoredPolicy(in.row.NetworkPolicy); p != nil {
		base = p.Base()
	}
	var machine runtime.Machine
	if in.life != nil {
		machine = in.life.machine
	}
	return api.VM{
		VMID: in.id, Environment: in.row.Environment, State: state, ExecutionMode: sandbox.Mode(in.driver, machine),
		VCPUCount: in.row.VCPUCount, MemMiB: in.row.MemMiB, DiskMiB: in.row.DiskMiB, PIDLimit: in.row.PIDLimit,
		TTLSeconds: in.row.TTLSeconds, Network: in.row.Network, NetworkPolicy: base, CreatedAt: in.row.CreatedAt, ExpiresAt: in.row.ExpiresAt,
	}
}

// setState records a state, durably unless the VM is ephemeral: the record of
// an ephemeral VM only says that it exists. The caller holds act.
func (m *Manager) setState(ctx context.Context, in *instance, state store.State) error {
	in.mu.Lock()
	in.row.State = state
	if in.image != nil {
		in.row.ImageDigest = in.image.Digest
	}
	row := in.row
	in.mu.Unlock()
	if row.Ephemeral {
		return nil
	}
	return m.store.SetVM(context.WithoutCancel(ctx), in.id, state, row.ImageDigest)
}
