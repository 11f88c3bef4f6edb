package daemon

import (
	"context"
	goruntime "runtime"
	"slices"
	"strings"
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
	checks, networks := make([]api.RuntimeCheck, len(drivers)), make([]bool, len(drivers))
	var wg sync.WaitGroup
	for i, driver := range drivers {
		wg.Go(func() { checks[i], networks[i] = s.examine(ctx, driver) })
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
	report.Capabilities = api.Capabilities{VMBoot: report.OK, GuestExec: report.OK, GuestNetwork: slices.Contains(networks, true)}
	return report, nil
}

// examine probes a driver, and says whether it would be chosen by itself, and
// whether its sandboxes can be given network.
func (s *server) examine(ctx context.Context, driver runtime.Driver) (check api.RuntimeCheck, network bool) {
	limit := probeTime
	chooser, choosy := driver.(runtime.Chooser)
	if choosy {
		limit = emulatedTime
	}
	check, network = s.probeAll(ctx, driver, limit)
	if !choosy || !check.OK {
		return check, network
	}
	if e := api.AsError(chooser.Suits(ctx)); e != nil {
		notes := []string{"by emulation, which is slow, and only when asked for with --runtime vm: " + e.Message}
		if check.Reason != "" {
			notes = append(notes, check.Reason)
		}
		check.Reason, check.Hint = strings.Join(notes, "; "), e.Hint
	}
	return check, network
}

// probeAll has a sandbox talk to the other end of its network, which shows that
// it runs, too. Only one that does not is tried without.
func (s *server) probeAll(ctx context.Context, driver runtime.Driver, limit time.Duration) (check api.RuntimeCheck, network bool) {
	prober, ok := driver.(runtime.NetworkProber)
	if !ok {
		return probe(ctx, driver.Name(), driver.Probe, limit), false
	}
	with := probe(ctx, driver.Name(), prober.ProbeNetwork, limit)
	if with.OK {
		return with, true
	}
	check = probe(ctx, driver.Name(), driver.Probe, limit)
	if check.OK {
		s.log.Warn("a sandbox cannot be given network", "runtime", driver.Name(), "error", with.Reason)
		check.Reason, check.Hint = "without a network, which cannot be set up: "+with.Reason, with.Hint
	}
	return check, false
}

// emulatedTime is probeTime for a machine that may be emulated.
const emulatedTime = 30 * time.Second

// probe runs a probe of a driver under a deadline that holds even if the driver
// does not keep to it.
func probe(ctx context.Context, name string, try func(context.Context) error, limit time.Duration) api.RuntimeCheck {
	ctx, cancel := context.WithTimeoutCause(ctx, limit,
		api.Errorf(api.KindUnavailable, "no answer within %s", limit).WithHint("try again when the host is less busy"))
	defer cancel()
	begun := time.Now()
	done := make(chan error, 1)
	go func() { done <- try(ctx) }()
	var err error
	select {
	case err = <-done:
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	check := api.RuntimeCheck{Name: name, OK: err == nil, DurationMS: time.Since(begun).Milliseconds()}
	if e := api.AsError(err); e != nil {
		check.Reason, check.Hint = e.Message, e.Hint
	}
	return check
}
