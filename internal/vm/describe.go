package vm

import (
	"context"
	"time"

	"pyro/api"
	"pyro/internal/sandbox"
)

// usageTime bounds how long Status waits for a measurement.
const usageTime = 2 * time.Second

// Status describes a VM and measures its memory if it runs.
func (m *Manager) Status(ctx context.Context, id string) (api.VM, error) {
	in, err := m.lookup(id)
	if err != nil {
		return api.VM{}, err
	}
	vm := in.public()
	machine := in.machine()
	if machine == nil {
		return vm, nil
	}
	ctx, cancel := context.WithTimeout(ctx, usageTime)
	defer cancel()
	if u, err := machine.Usage(ctx); err == nil {
		vm.MemoryBytes = u.MemoryBytes
	}
	return vm, nil
}

// List describes all VMs, oldest first, without measuring.
func (m *Manager) List(context.Context) (api.VMList, error) {
	list := api.VMList{VMs: []api.VM{}}
	for _, in := range m.all() {
		list.VMs = append(list.VMs, in.public())
	}
	return list, nil
}

// NetworkInfo describes the VM's network.
func (m *Manager) NetworkInfo(_ context.Context, id string) (api.NetworkInfo, error) {
	in, err := m.lookup(id)
	if err != nil {
		return api.NetworkInfo{}, err
	}
	if !in.driver.Features().Isolated {
		return api.NetworkInfo{VMID: id, Enabled: true, Detail: "commands run on the host and use its network"}, nil
	}
	in.mu.Lock()
	p := sandbox.StoredPolicy(in.row.NetworkPolicy)
	in.mu.Unlock()
	info := sandbox.DescribeNetwork(p, in.machine())
	info.VMID = id
	return info, nil
}
