package gvisor_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"pyro/internal/runtime"
	"pyro/internal/runtime/gvisor"
	"pyro/internal/runtime/runtimetest"
)

// TestConformance runs the contract's suite against real sandboxes.
//
// gVisor does not run under the race detector, so the sandboxes are started
// from a plain pyro, PYRO_BIN, whatever the test itself is built with.
func TestConformance(t *testing.T) {
	bin := os.Getenv("PYRO_BIN")
	if bin == "" {
		t.Skip("needs PYRO_BIN, a built pyro; make test sets it")
	}
	newDriver := func(t *testing.T, dir string) runtime.Driver {
		d, err := gvisor.New(gvisor.Options{Dir: dir, Executable: bin})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			assertOneNetwork(t)
		})
		return d
	}
	runtimetest.Run(t, newDriver, runtimetest.Options{Image: image(t, bin)})
}

// assertOneNetwork checks that no thread was left in another network namespace.
func assertOneNetwork(t *testing.T) {
	t.Helper()
	want, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	threads, _ := filepath.Glob("/proc/self/task/*/ns/net")
	for _, thread := range threads {
		if got, err := os.Readlink(thread); err == nil && got != want {
			t.Errorf("%s is %s, want %s", thread, got, want)
		}
	}
}

// image pulls debian:12-base with the pyro under test and returns its image.
func image(t *testing.T, bin string) string {
	t.Helper()
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
	run("env", "pull", "debian:12-base")
	var env struct{ Path string }
	if err := json.Unmarshal(run("env", "inspect", "debian:12-base", "--json"), &env); err != nil {
		t.Fatal(err)
	}
	return env.Path
}
