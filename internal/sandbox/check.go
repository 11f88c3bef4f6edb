package sandbox

import (
	"runtime"
	"strings"

	"pyro/api"
)

// minMemMiB is what a guest needs to come up at all.
const minMemMiB = 64

// maxCommand is the longest command line, in bytes: what Linux allows for one
// argument. It also keeps the result, which repeats the command, within a frame.
const maxCommand = 128 << 10

// CheckCommand refuses a command line that could not be executed or told of.
func CheckCommand(argv []string) error {
	n := 0
	for _, arg := range argv {
		n += len(arg) + 1
		if strings.ContainsRune(arg, 0) {
			return api.Errorf(api.KindUsage, "an argument of the command has a NUL byte").
				WithHint("pass binary data on stdin")
		}
	}
	if n > maxCommand {
		return api.Errorf(api.KindUsage, "the command line has %d bytes, at most %d are allowed", n, maxCommand).
			WithHint("pass long input on stdin")
	}
	return nil
}

// Check refuses resources that this host cannot give. Types, signs and
// enumerations were checked where the request was read.
func Check(vcpus, memMiB int) error {
	switch cpus := runtime.NumCPU(); {
	case vcpus > cpus:
		return api.Errorf(api.KindUsage, "vcpu_count is %d, but this host has %d CPUs", vcpus, cpus).
			WithHint("use --vcpu-count %d or less", cpus)
	case memMiB < minMemMiB:
		return api.Errorf(api.KindUsage, "mem_mib is %d, at least %d are needed", memMiB, minMemMiB).
			WithHint("use --mem-mib %d or more", minMemMiB)
	}
	return nil
}
