package qemu_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"pyro/internal/runtime"
	"pyro/internal/runtime/qemu"
	"pyro/internal/runtime/runtimetest"
)

// TestConformance runs the contract's suite against real machines, under KVM
// where that works and emulated elsewhere.
func TestConformance(t *testing.T) {
	e := environment(t)
	newDriver := func(t *testing.T, dir string) runtime.Driver { return e.driver(t, dir) }
	runtimetest.Run(t, newDriver, runtimetest.Options{Image: e.image})
}

// world is what machines are made of.
type world struct{ image, kernel string }

func (w world) driver(t *testing.T, dir string) *qemu.Driver {
	t.Helper()
	d, err := qemu.New(qemu.Options{Dir: dir, Kernel: w.give, NoKVM: os.Getenv(qemu.NoKVMEnv) != ""})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
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
	bin := os.Getenv("PYRO_BIN")
	if bin == "" {
		t.Skip("needs PYRO_BIN, a built pyro; make test sets it")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("needs QEMU: apt-get install --no-install-recommends qemu-system-x86")
	}
	cache := os.Getenv("PYRO_TEST_CACHE_DIR")
	if cache == "" {
		cache = t.TempDir()
	}
	t.Setenv("PYRO_CACHE_DIR", cache)
	t.Setenv("PYRO_STATE_DIR", t.TempDir())
	t.Setenv("PYRO_CONFIG_DIR", t.TempDir())
	run := func(args ...string) []byte {
		cmd := exec.Command(bin, args...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
		return out
	}
	t.Cleanup(func() { run("daemon", "stop", "--force") })
	path := func(name string) string {
		run("env", "pull", name)
		var env struct{ Path string }
		if err := json.Unmarshal(run("env", "inspect", name, "--json"), &env); err != nil {
			t.Fatal(err)
		}
		return env.Path
	}
	return world{image: path("debian:12-base"), kernel: path("kernel:debian-12")}
}
