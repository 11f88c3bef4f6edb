package sandbox_test

import (
	"context"
	"testing"

	"pyro/api"
	"pyro/internal/runtime"
	"pyro/internal/sandbox"
)

// named is a driver of which only the name counts.
type named struct {
	runtime.Driver
	name    string
	kernel  bool
	network bool
}

func (n named) Name() string { return n.name }

func (n named) Features() runtime.Features {
	return runtime.Features{Isolated: true, Kernel: n.kernel, Network: n.network}
}

// choosy is a driver that may not suit the host.
type choosy struct {
	named
	why *api.Error
}

func (c choosy) Suits(context.Context) error {
	if c.why == nil {
		return nil
	}
	return c.why
}

func (c choosy) Notice(context.Context) string {
	if c.why == nil {
		return ""
	}
	return c.why.Message
}

func TestWanted(t *testing.T) {
	slow := api.Errorf(api.KindUnavailable, "no KVM")
	for _, tc := range []struct {
		why      *api.Error
		standsIn api.Runtime
		want     api.Runtime
		driver   string
		notice   string
		network  bool
		without  bool // microVMs cannot give a network
	}{
		{want: api.RuntimeAuto, driver: "vm"},
		{want: api.RuntimeAuto, network: true, driver: "vm"},
		{want: api.RuntimeAuto, without: true, driver: "vm"},
		{want: api.RuntimeAuto, network: true, without: true, driver: "gvisor"},
		{want: api.RuntimeGVisor, driver: "gvisor"},
		{want: api.RuntimeVM, driver: "vm"},
		{why: slow, want: api.RuntimeAuto, driver: "gvisor"},
		{why: slow, want: api.RuntimeVM, driver: "vm", notice: "no KVM"},
		{why: slow, standsIn: api.RuntimeVM, want: api.RuntimeAuto, driver: "vm", notice: "no KVM"},
		{standsIn: api.RuntimeGVisor, want: api.RuntimeAuto, driver: "gvisor"},
		{standsIn: api.RuntimeGVisor, want: api.RuntimeVM, driver: "vm"},
	} {
		d := sandbox.Drivers{
			Isolated: []runtime.Driver{choosy{named{name: "vm", network: !tc.without}, tc.why}, named{name: "gvisor", network: true}},
			Default:  tc.standsIn,
		}
		driver, err := d.Wanted(t.Context(), tc.want, tc.network)
		if err != nil || driver.Name() != tc.driver {
			t.Errorf("%+v: %v, %v", tc, driver, err)
			continue
		}
		if got := sandbox.Notice(t.Context(), driver); got != tc.notice {
			t.Errorf("%+v: notice %q", tc, got)
		}
	}
}

// TestWantedByNobody: a runtime is never replaced by another.
func TestWantedByNobody(t *testing.T) {
	d := sandbox.Drivers{Isolated: []runtime.Driver{named{name: "gvisor"}}}
	if driver, err := d.Wanted(t.Context(), api.RuntimeVM, false); api.KindOf(err) != api.KindUnsupported {
		t.Errorf("%v, %v", driver, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.Isolated = []runtime.Driver{choosy{named{name: "vm"}, api.Errorf(api.KindCanceled, "stopped")}}
	if driver, err := d.Wanted(ctx, api.RuntimeAuto, false); api.KindOf(err) != api.KindCanceled {
		t.Errorf("after the caller went away: %v, %v", driver, err)
	}
}

// needy is a driver that lacks a program of the host.
type needy struct{ named }

func (needy) Require() error {
	return api.Errorf(api.KindUnavailable, "QEMU is not installed").WithHint("install it")
}

// TestPrepareWithout: what only the user can install is refused before anything is
// fetched.
func TestPrepareWithout(t *testing.T) {
	k := &kernels{}
	err := sandbox.Prepare(t.Context(), k, needy{named{name: "x", kernel: true}}, "", nil)
	if api.KindOf(err) != api.KindUnavailable || k.pulled != 0 {
		t.Errorf("%v, pulled %d times", err, k.pulled)
	}
}

// kernels counts what is installed; everything else of it is not called.
type kernels struct {
	sandbox.Environments
	pulled int
}

func (k *kernels) PullKernel(context.Context, func(api.Progress)) error {
	k.pulled++
	return nil
}

func TestPrepare(t *testing.T) {
	for _, tc := range []struct {
		boots  bool
		own    string
		pulled int
		kind   api.Kind
	}{
		{boots: true, pulled: 1},
		{boots: true, own: "/boot/mine"},
		{own: "/boot/mine", kind: api.KindUsage},
		{},
	} {
		k := &kernels{}
		err := sandbox.Prepare(t.Context(), k, named{name: "x", kernel: tc.boots}, tc.own, nil)
		if api.KindOf(err) != tc.kind || k.pulled != tc.pulled {
			t.Errorf("%+v: %v, pulled %d times", tc, err, k.pulled)
		}
	}
}
