package daemon

import (
	"context"
	goruntime "runtime"
	"sync"
	"time"

	"pyro/api"
	"pyro/internal/hostcheck"
	"pyro/internal/runtime"
)

// probeTime is how long a runtime may take to show that it works.
const probeTime = 10 * time.Second

// doctor tries every runtime, all at the same time, and reads the host's settings.
func (s *server) doctor(ctx context.Context, _ api.DoctorRequest) (api.DoctorReport, error) {
	var host hostcheck.Host
	d := s.options.Dirs
	report := api.DoctorReport{
		Platform: goruntime.GOOS + "/" + goruntime.GOARCH, KVM: host.KVM(), Networking: host.Networking(),
		EnvironmentCache: d.Cache, StateDir: d.State, Checks: host.Checks(d),
		Runtimes: append([]api.RuntimeCheck(nil), s.parts.missing...),
	}
	drivers := append(append([]runtime.Driver(nil), s.parts.isolated...), s.parts.hostCompat)
	checks := make([]api.RuntimeCheck, len(drivers))
	var wg sync.WaitGroup
	network := false
	wg.Go(func() { network = s.probeNetwork(ctx) })
	for i, driver := range drivers {
		wg.Go(func() { checks[i] = examine(ctx, driver) })
	}
	wg.Wait()
	for i, driver := range drivers {
		if driver.Features().Isolated {
			report.OK = report.OK || checks[i].OK
		} else if checks[i].OK {
			checks[i].Reason = "no isolation; used only on request, with --allow-host-compat"
		}
	}
	report.Runtimes = append(report.Runtimes, checks...)
	// A probe boots a sandbox and runs a command in it.
	report.Capabilities = api.Capabilities{VMBoot: report.OK, GuestExec: report.OK, GuestNetwork: network}
	return report, nil
}

// probeNetwork says whether a sandbox can be given network: whether one did talk
// to the process at the other end.
func (s *server) probeNetwork(ctx context.Context) bool {
	for _, driver := range s.parts.isolated {
		prober, ok := driver.(runtime.NetworkProber)
		if !ok {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, probeTime)
		err := prober.ProbeNetwork(ctx)
		cancel()
		if err == nil {
			return true
		}
		s.log.Warn("a sandbox cannot be given network", "runtime", driver.Name(), "error", err)
	}
	return false
}

// examine probes a driver, and says whether it would be chosen by itself.
func examine(ctx context.Context, driver runtime.Driver) api.RuntimeCheck {
	limit := probeTime
	chooser, choosy := driver.(runtime.Chooser)
	if choosy {
		limit = emulatedTime
	}
	check := probe(ctx, driver, limit)
	if !choosy || !check.OK {
		return check
	}
	if e := api.AsError(chooser.Suits(ctx)); e != nil {
		check.Reason = "by emulation, which is slow, and only when asked for with --runtime vm: " + e.Message
		check.Hint = e.Hint
	}
	return check
}

// emulatedTime is probeTime for a machine that may be emulated.
const emulatedTime = 30 * time.Second

// probe runs a driver's probe under a deadline that holds even if the driver
// does not keep to it.
func probe(ctx context.Context, driver runtime.Driver, limit time.Duration) api.RuntimeCheck {
	ctx, cancel := context.WithTimeoutCause(ctx, limit,
		api.Errorf(api.KindUnavailable, "no answer within %s", limit).WithHint("try again when the host is less busy"))
	defer cancel()
	begun := time.Now()
	done := make(chan error, 1)
	go func() { done <- driver.Probe(ctx) }()
	var err error
	select {
	case err = <-done:
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	check := api.RuntimeCheck{Name: driver.Name(), OK: err == nil, DurationMS: time.Since(begun).Milliseconds()}
	if e := api.AsError(err); e != nil {
		check.Reason, check.Hint = e.Message, e.Hint
	}
	return check
}
