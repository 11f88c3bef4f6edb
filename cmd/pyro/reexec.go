package main

import (
	"pyro/internal/network/uplink"
	"pyro/internal/runtime/gvisor"
)

// reexec runs the process's other role, if it was started to have one: this
// program is started again under other names, to be the parts of a sandbox. It
// reports whether it did.
func reexec() bool {
	switch {
	case uplink.IsReexec():
		uplink.ReexecMain()
	case gvisor.IsReexec():
		gvisor.ReexecMain()
	default:
		return false
	}
	return true
}
