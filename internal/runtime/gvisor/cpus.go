package gvisor

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// cpuPool hands out host CPUs to machines. A machine is bound to as many CPUs
// as it has virtual ones, which makes nproc true inside and needs no cgroup.
// The least used CPUs are given first.
type cpuPool struct {
	mu    sync.Mutex
	users map[int]int // CPU -> machines bound to it
}

func newCPUPool() *cpuPool {
	p := &cpuPool{users: make(map[int]int)}
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return p
	}
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			p.users[cpu] = 0
		}
	}
	return p
}

// take picks n CPUs, or all if there are fewer.
func (p *cpuPool) take(n int) []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]int, 0, len(p.users))
	for cpu := range p.users {
		all = append(all, cpu)
	}
	slices.SortFunc(all, func(a, b int) int {
		if d := p.users[a] - p.users[b]; d != 0 {
			return d
		}
		return a - b
	})
	taken := all[:min(n, len(all))]
	p.add(taken, 1)
	return taken
}

// adopt counts the CPUs of a machine that was bound earlier.
func (p *cpuPool) adopt(cpus []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(cpus, 1)
}

// give returns what take or adopt counted.
func (p *cpuPool) give(cpus []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(cpus, -1)
}

func (p *cpuPool) add(cpus []int, n int) {
	for _, cpu := range cpus {
		if _, known := p.users[cpu]; known {
			p.users[cpu] += n
		}
	}
}

// affinity is the set of the given CPUs.
func affinity(cpus []int) *unix.CPUSet {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	return &set
}
