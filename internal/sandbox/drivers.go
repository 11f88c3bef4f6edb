package sandbox

import (
	"context"
	"slices"
	"sync"

	"pyro/api"
	"pyro/internal/runtime"
)

// Drivers chooses among the runtimes.
type Drivers struct {
	// Isolated are the drivers that isolate; RuntimeAuto takes the first.
	Isolated []runtime.Driver
	// HostCompat is used only when a request allows it. Optional.
	HostCompat runtime.Driver

	mu     sync.Mutex
	usable map[string]bool // drivers whose probe has succeeded; guarded by mu
}

// Choose returns the driver for a request. With allowHostCompat it tries out
// the wanted driver first, once in the life of the process if it works.
func (d *Drivers) Choose(ctx context.Context, want api.Runtime, allowHostCompat bool) (runtime.Driver, error) {
	driver, err := d.Wanted(want)
	if err != nil || !allowHostCompat {
		return driver, err
	}
	switch err := d.probe(ctx, driver); {
	case err == nil:
		return driver, nil
	case api.KindOf(err) == api.KindUnavailable:
		return d.HostCompat, nil
	default:
		return nil, err
	}
}

// Wanted returns the driver that a request names.
func (d *Drivers) Wanted(want api.Runtime) (runtime.Driver, error) {
	for _, driver := range d.Isolated {
		if want == api.RuntimeAuto || string(want) == driver.Name() {
			return driver, nil
		}
	}
	return nil, api.Errorf(api.KindUnsupported, "runtime %s is not part of this version", want).WithHint("run with --runtime gvisor")
}

func (d *Drivers) probe(ctx context.Context, driver runtime.Driver) error {
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

// All returns every driver, host-compat last.
func (d *Drivers) All() []runtime.Driver {
	all := slices.Clone(d.Isolated)
	if d.HostCompat != nil {
		all = append(all, d.HostCompat)
	}
	return all
}

// Named returns the driver that a record names, or nil if this version has none.
func (d *Drivers) Named(name string) runtime.Driver {
	for _, driver := range d.All() {
		if driver.Name() == name {
			return driver
		}
	}
	return nil
}
