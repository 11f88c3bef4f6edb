package gvisor_test

import (
	"os"
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
	bin := runtimetest.Program(t)
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
	runtimetest.Run(t, newDriver, runtimetest.Options{Image: runtimetest.Installed(t, "debian:12-base")})
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
