package main

import "pyro/internal/runtime/gvisor"

// reexec runs the process's other role, if it was started to have one: the
// gVisor driver starts this program again under other names. It reports
// whether it did.
func reexec() bool {
	if !gvisor.IsReexec() {
		return false
	}
	gvisor.ReexecMain()
	return true
}
