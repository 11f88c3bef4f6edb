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
	// Isolated are the drivers that isolate; RuntimeAuto takes the first that suits
	// the host, see [runtime.Chooser].
	Isolated []runtime.Driver
	// Default is what RuntimeAuto stands for. Optional: it chooses.
	Default api.Runtime
	// HostCompat is used only when a request allows it. Optional.
	HostCompat runtime.Driver

	mu     sync.Mutex
	usable map[string]bool // drivers whose probe has succeeded; guarded by mu
}

// Choose returns the driver for a request. With allowHostCompat it tries out
// the wanted driver first, once in the life of the process if it works.
func (d *Drivers) Choose(ctx context.Context, want api.Runtime, network, allowHostCompat bool) (runtime.Driver, error) {
	driver, err := d.Wanted(ctx, want, network)
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

// Wanted returns the driver that a request names. RuntimeAuto is one that can give
// a network, if that is wanted.
func (d *Drivers) Wanted(ctx context.Context, want api.Runtime, network bool) (runtime.Driver, error) {
	if want == api.RuntimeAuto && d.Default != "" {
		want = d.Default
	}
	for _, driver := range d.Isolated {
		if string(want) == driver.Name() {
			return driver, nil
		}
		if want == api.RuntimeAuto && (!network || driver.Features().Network) && suits(ctx, driver) {
			return driver, nil
		}
	}
	if err := context.Cause(ctx); err != nil {
		return nil, CanceledOr(ctx, err)
	}
	if want == api.RuntimeAuto && network {
		return nil, api.Errorf(api.KindUnsupported, "no runtime that suits this host can give a network").WithHint("see what there is: pyro doctor")
	}
	return nil, api.Errorf(api.KindUnsupported, "runtime %s is not part of this version", want).WithHint("run with --runtime gvisor")
}

// suits says whether a driver is one to choose without being asked for.
func suits(ctx context.Context, driver runtime.Driver) bool {
	chooser, ok := driver.(runtime.Chooser)
	return !ok || chooser.Suits(ctx) == nil
}

// Notice is what users of a machine of the driver should be told, or "".
func Notice(ctx context.Context, driver runtime.Driver) string {
	if chooser, ok := driver.(runtime.Chooser); ok {
		return chooser.Notice(ctx)
	}
	return ""
}

// Mode is the execution_mode of what a driver runs: that of its machine, if there
// is one at the moment.
func Mode(driver runtime.Driver, machine runtime.Machine) api.ExecutionMode {
	if machine != nil {
		return machine.Mode()
	}
	return driver.Features().Mode
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
