package gvisor

import "runtime"

// HoldMainThread keeps the process's main thread for the calling goroutine. main
// calls it first, in each program that makes sandboxes, and TestMain does in tests.
//
// runsc has a thread join another network namespace while it starts a process
// there, and then return to the namespace of /proc/self, which is that of the main
// thread. If the main thread is itself on such a visit, the other one stays in an
// empty namespace for good, and whatever is done on it later, an uplink that is
// started, a port that is published, has no network. What nobody runs on never
// visits.
func HoldMainThread() { runtime.LockOSThread() }
