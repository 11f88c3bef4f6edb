package vm

import (
	"runtime"

	"pyro/api"
)

// minMemMiB is what a guest needs to come up at all.
const minMemMiB = 64

// check refuses what no runtime of this version can do. Types, signs and
// enumerations were checked where the request was read.
func check(o api.SandboxOptions) error {
	switch cpus := runtime.NumCPU(); {
	case o.VCPUCount > cpus:
		return api.Errorf(api.KindUsage, "vcpu_count is %d, but this host has %d CPUs", o.VCPUCount, cpus).
			WithHint("use --vcpu-count %d or less", cpus)
	case o.MemMiB < minMemMiB:
		return api.Errorf(api.KindUsage, "mem_mib is %d, at least %d are needed", o.MemMiB, minMemMiB).
			WithHint("use --mem-mib %d or more", minMemMiB)
	case o.Network:
		return api.Errorf(api.KindUnsupported, "outbound network is not available in this version").
			WithHint("run without --network")
	}
	return nil
}
