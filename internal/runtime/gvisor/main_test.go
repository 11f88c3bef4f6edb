package gvisor_test

import (
	"testing"

	"pyro/internal/runtime/gvisor"
	"pyro/internal/runtime/runtimetest"
)

func TestMain(m *testing.M) {
	gvisor.HoldMainThread()
	runtimetest.Main(m)
}
