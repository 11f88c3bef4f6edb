package gvisor_test

import (
	"os"
	"testing"

	"pyro/internal/runtime"
	"pyro/internal/runtime/gvisor"
	"pyro/internal/runtime/runtimetest"
)

// TestMain lets the test binary stand in for pyro when gVisor starts it again.
func TestMain(m *testing.M) {
	if gvisor.IsReexec() {
		gvisor.ReexecMain()
	}
	os.Exit(m.Run())
}

// TestConformance runs the contract's suite against real sandboxes.
//
// gVisor does not run under the race detector, so the sandboxes are started
// from a plain pyro, PYRO_BIN, whatever the test itself is built with.
func TestConformance(t *testing.T) {
	bin, image := os.Getenv("PYRO_BIN"), os.Getenv("PYRO_TEST_IMAGE")
	if bin == "" || image == "" {
		t.Skip("needs PYRO_BIN (a built pyro) and PYRO_TEST_IMAGE (the image of debian:12); make test sets both")
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
		})
		return d
	}
	runtimetest.Run(t, newDriver, runtimetest.Options{Image: image})
}
