package daemon

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"pyro/internal/runtime"
	"pyro/internal/runtime/gvisor"
	"pyro/internal/runtime/qemu"
	"pyro/internal/runtime/runtimetest"
)

// TestCrossing: what was saved under one runtime is restored under the other,
// with the same fingerprint.
func TestCrossing(t *testing.T) {
	bin := os.Getenv("PYRO_BIN")
	if bin == "" {
		t.Skip("needs PYRO_BIN, a built pyro; make test sets it")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("needs QEMU: apt-get install --no-install-recommends qemu-system-x86")
	}
	image, kernel := pulled(t, bin, "debian:12-base"), pulled(t, bin, "kernel:debian-12")
	sandboxes := func(t *testing.T, dir string) runtime.Driver {
		d, err := gvisor.New(gvisor.Options{Dir: dir, Executable: bin})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	machines := func(t *testing.T, dir string) runtime.Driver {
		d, err := qemu.New(qemu.Options{Dir: dir, NoKVM: os.Getenv(qemu.NoKVMEnv) != "", Kernel: func(context.Context) (qemu.Kernel, error) {
			return qemu.Kernel{Image: kernel, Modules: filepath.Join(filepath.Dir(kernel), "initrd"), ID: kernel, Release: func() {}}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	o := runtimetest.Options{Image: image}
	t.Run("FromGVisor", func(t *testing.T) { runtimetest.RunCrossing(t, sandboxes, machines, o) })
	t.Run("FromVM", func(t *testing.T) { runtimetest.RunCrossing(t, machines, sandboxes, o) })
}

// pulled installs an environment or a kernel with the pyro under test and
// returns its file.
func pulled(t *testing.T, bin, name string) string {
	t.Helper()
	cache := os.Getenv("PYRO_TEST_CACHE_DIR")
	if cache == "" {
		cache = t.TempDir()
	}
	env := append(os.Environ(), "PYRO_CACHE_DIR="+cache, "PYRO_STATE_DIR="+t.TempDir(), "PYRO_CONFIG_DIR="+t.TempDir())
	run := func(args ...string) []byte {
		cmd := exec.Command(bin, args...)
		cmd.Env, cmd.Stderr = env, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
		return out
	}
	defer run("daemon", "stop", "--force")
	run("env", "pull", name)
	var found struct{ Path string }
	if err := json.Unmarshal(run("env", "inspect", name, "--json"), &found); err != nil {
		t.Fatal(err)
	}
	return found.Path
}
