//go:build !fuzz

package qemu_test

import (
	"os"
	"testing"

	"pyro/internal/runtime"
	"pyro/internal/runtime/gvisor"
	"pyro/internal/runtime/runtimetest"
)

// TestCrossing: what was saved under one runtime is restored under the other,
// with the same fingerprint.
func TestCrossing(t *testing.T) {
	e := environment(t)
	machines := func(t *testing.T, dir string) runtime.Driver { return e.driver(t, dir) }
	sandboxes := func(t *testing.T, dir string) runtime.Driver {
		d, err := gvisor.New(gvisor.Options{Dir: dir, Executable: os.Getenv("PYRO_BIN")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	o := runtimetest.Options{Image: e.image}
	t.Run("FromGVisor", func(t *testing.T) { runtimetest.RunCrossing(t, sandboxes, machines, o) })
	t.Run("FromVM", func(t *testing.T) { runtimetest.RunCrossing(t, machines, sandboxes, o) })
}
