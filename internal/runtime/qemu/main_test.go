//go:build !fuzz

// A program with gVisor in it cannot be instrumented for fuzzing, so that make fuzz
// leaves it out.

package qemu_test

import (
	"testing"

	"pyro/internal/runtime/gvisor"
	"pyro/internal/runtime/runtimetest"
)

func TestMain(m *testing.M) {
	gvisor.HoldMainThread() // sandboxes of gVisor take part in TestCrossing
	runtimetest.Main(m)
}
