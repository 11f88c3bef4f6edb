package qemu_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"pyro/internal/runtime"
	"pyro/internal/runtime/qemu"
	"pyro/internal/runtime/runtimetest"
)

// TestConformance runs the contract's suite against real machines, under KVM
// where that works and emulated elsewhere, reached over vsock where the host has
// it and over a serial port elsewhere.
func TestConformance(t *testing.T) { conform(t, environment(t)) }

func conform(t *testing.T, e world) {
	newDriver := func(t *testing.T, dir string) runtime.Driver { return e.driver(t, dir) }
	runtimetest.Run(t, newDriver, runtimetest.Options{Image: e.image})
}

// world is what machines are made of.
type world struct {
	image, kernel string
	channel       func(*qemu.Driver) // what is between host and guest; nil for what the host has
}

func (w world) driver(t *testing.T, dir string) *qemu.Driver {
	t.Helper()
	d, err := qemu.New(qemu.Options{Dir: dir, Kernel: w.give, Executable: os.Getenv("PYRO_BIN"), NoKVM: os.Getenv(qemu.NoKVMEnv) != ""})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if w.channel != nil {
		w.channel(d)
	}
	return d
}

func (w world) give(context.Context) (qemu.Kernel, error) {
	return qemu.Kernel{
		Image: w.kernel, Modules: filepath.Join(filepath.Dir(w.kernel), "initrd"),
		ID: filepath.Dir(w.kernel), Release: func() {},
	}, nil
}

// environment pulls debian:12-base and the kernel with the pyro under test.
func environment(t *testing.T) world {
	t.Helper()
	runtimetest.Program(t)
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("needs QEMU: apt-get install --no-install-recommends qemu-system-x86")
	}
	return world{image: runtimetest.Installed(t, "debian:12-base"), kernel: runtimetest.Installed(t, "kernel:debian-12")}
}
