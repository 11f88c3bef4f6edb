package qemu_test

import (
	"testing"

	"pyro/api"
	"pyro/internal/hostcheck"
	"pyro/internal/runtime/qemu"
)

// TestConformanceOverUserVsock is the contract's suite over a vsock device that
// needs nothing of the host's kernel: the guest's side is real.
func TestConformanceOverUserVsock(t *testing.T) {
	channel := qemu.UseUserVsock(t)
	e := environment(t)
	e.channel = channel
	conform(t, e)
}

// TestConformanceOverSerial is for hosts on which TestConformance is over vsock.
func TestConformanceOverSerial(t *testing.T) {
	if why := (hostcheck.Host{}).Vsock(); why != nil {
		t.Skip("needs a host with vsock, elsewhere TestConformance is the same: " + why.Message)
	}
	e := environment(t)
	e.channel = qemu.UseSerial
	conform(t, e)
}

// TestMode: a machine says over what it is reached, to later processes too.
func TestMode(t *testing.T) {
	for name, tc := range map[string]struct {
		channel func(*testing.T) func(*qemu.Driver)
		want    api.ExecutionMode
	}{
		"Serial":    {func(*testing.T) func(*qemu.Driver) { return qemu.UseSerial }, api.GuestSerial},
		"UserVsock": {func(t *testing.T) func(*qemu.Driver) { return qemu.UseUserVsock(t) }, api.GuestVsock},
		"Vsock":     {hostVsock, api.GuestVsock},
	} {
		t.Run(name, func(t *testing.T) {
			channel := tc.channel(t)
			e := environment(t)
			e.channel = channel
			dir := t.TempDir()
			first := e.driver(t, dir)
			if got := first.Features().Mode; got != tc.want {
				t.Errorf("the driver says %s", got)
			}
			spec := e.spec("mode-1")
			m, err := first.Create(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			if m.Mode() != tc.want {
				t.Errorf("the new machine says %s", m.Mode())
			}
			m.Close()
			if m, err = e.driver(t, dir).Adopt(t.Context(), spec); err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if m.Mode() != tc.want {
				t.Errorf("the adopted machine says %s", m.Mode())
			}
			if _, err := m.Usage(t.Context()); err != nil {
				t.Error(err)
			}
			if err := first.Remove(t.Context(), spec.ID); err != nil {
				t.Error(err)
			}
			nothingLeft(t, dir, spec.ID)
		})
	}
}

// TestNoVsock: what does not work with vsock works without, and says so.
func TestNoVsock(t *testing.T) {
	for name, channel := range map[string]func(*qemu.Driver){"Device": qemu.NoVsockDevice, "Answer": qemu.SilentVsock} {
		t.Run(name, func(t *testing.T) {
			e, dir := environment(t), t.TempDir()
			e.channel = channel
			d := e.driver(t, dir)
			m, err := d.Create(t.Context(), e.spec("novsock-1"))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if m.Mode() != api.GuestSerial {
				t.Errorf("the machine says %s", m.Mode())
			}
			if _, err := m.Usage(t.Context()); err != nil {
				t.Error(err)
			}
			if err := d.Remove(t.Context(), "novsock-1"); err != nil {
				t.Error(err)
			}
			nothingLeft(t, dir, "novsock-1")
		})
	}
}

// TestStranger: who does not know a machine's key gets no answer from its agent,
// and keeps it from nobody.
func TestStranger(t *testing.T) {
	channel := qemu.UseUserVsock(t)
	e, dir := environment(t), t.TempDir()
	e.channel = channel
	d := e.driver(t, dir)
	m, err := d.Create(t.Context(), e.spec("stranger-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := qemu.DialWithout(t.Context(), m); err == nil {
		t.Error("the agent answers a stranger")
	}
	if _, err := m.Usage(t.Context()); err != nil {
		t.Error(err)
	}
	if err := d.Remove(t.Context(), "stranger-1"); err != nil {
		t.Error(err)
	}
}

// hostVsock is the kernel's, as users have it.
func hostVsock(t *testing.T) func(*qemu.Driver) {
	if why := (hostcheck.Host{}).Vsock(); why != nil {
		t.Skip("needs a host with vsock: " + why.Message)
	}
	return func(*qemu.Driver) {}
}
