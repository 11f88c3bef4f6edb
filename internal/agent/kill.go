package agent

import (
	"syscall"

	"pyro/internal/agent/process"
	"pyro/internal/agent/wire"
)

// killLargest frees memory by ending the process that holds the most, if that
// is at least minRSS bytes.
func killLargest(minRSS int64, kill process.Kill) (wire.KillLargestResult, error) {
	all, err := process.List()
	if err != nil {
		return wire.KillLargestResult{}, err
	}
	var largest process.Info
	for _, p := range all {
		if p.RSS > largest.RSS {
			largest = p
		}
	}
	if largest.PID == 0 || largest.RSS < minRSS {
		return wire.KillLargestResult{}, nil
	}
	err = kill(largest.PID, syscall.SIGKILL)
	return wire.KillLargestResult{PID: largest.PID, Name: largest.Name, RSSBytes: largest.RSS}, err
}
