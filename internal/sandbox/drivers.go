package vm

import (
	"context"
	"sync"

	"pyro/api"
	"pyro/internal/runtime"
)

// drivers chooses among the runtimes.
type drivers struct {
	isolated   []runtime.Driver
	hostCompat runtime.Driver

	mu     sync.Mutex
	usable map[string]bool // drivers whose probe has succeeded; guarded by mu
}

// choose returns the driver for a request. With allowHostCompat it tries out
// the wanted driver first, once in the life of the process if it works.
func (d *drivers) choose(ctx context.Context, want api.Runtime, allowHostCompat bool) (runtime.Driver, error) {
	driver, err := d.wanted(want)
	if err != nil || !allowHostCompat {
		return driver, err
	}
	switch err := d.probe(ctx, driver); {
	case err == nil:
		return driver, nil
	case api.KindOf(err) == api.KindUnavailable:
		return d.hostCompat, nil
	default:
		return nil, err
	}
}

func (d *drivers) wanted(want api.Runtime) (runtime.Driver, error) {
	for _, driver := range d.isolated {
		if want == api.RuntimeAuto || string(want) == driver.Name() {
			return driver, nil
		}
	}
	return nil, api.Errorf(api.KindUnsupported, "runtime %s is not part of this version", want).WithHint("run with --runtime gvisor")
}

func (d *drivers) probe(ctx context.Context, driver runtime.Driver) error {
	d.mu.Lock()
	known := d.usable[driver.Name()]
	d.mu.Unlock()
	if known {
		return nil
	}
	if err := driver.Probe(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.usable == nil {
		d.usable = map[string]bool{}
	}
	d.usable[driver.Name()] = true
	return nil
}

// all returns every driver, host-compat last.
func (d *drivers) all() []runtime.Driver {
	return append(append([]runtime.Driver(nil), d.isolated...), d.hostCompat)
}

// named returns the driver that a record names, or nil if this version has none.
func (d *drivers) named(name string) runtime.Driver {
	for _, driver := range d.all() {
		if driver.Name() == name {
			return driver
		}
	}
	return nil
}
