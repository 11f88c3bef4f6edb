package qemu

import (
	"context"
	"time"

	"pyro/api"
)

// minFreeDisk is below what any write of consequence needs: a disk with less
// free space counts as full.
const minFreeDisk = 64 << 10

// LimitHit implements runtime.Machine. The guest's kernel enforces the limits:
// there is no more memory, disk or processes than it has.
func (m *machine) LimitHit(ctx context.Context) *api.Error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := m.stats(ctx)
	if err != nil {
		return nil
	}
	m.mu.Lock()
	outOfMemory, outOfPIDs := s.OutOfMemory > m.seenOOM, s.PIDLimitHits > m.seenHits
	m.seenOOM, m.seenHits = s.OutOfMemory, s.PIDLimitHits
	m.mu.Unlock()
	spec := m.rec.Spec
	switch mib := spec.MemoryBytes >> 20; {
	case outOfMemory:
		return api.Errorf(api.KindMemoryLimit, "sandbox %s reached its memory limit of %d MiB", m.ID(), mib).
			WithHint("allow more with: --mem-mib %d", 2*mib)
	case s.MemoryFilesFull:
		return api.Errorf(api.KindMemoryLimit, "sandbox %s reached its memory limit: files in /dev/shm may take half of its %d MiB", m.ID(), mib).
			WithHint("remove some, or allow more with: --mem-mib %d", 2*mib)
	case outOfPIDs:
		return api.Errorf(api.KindPIDLimit, "sandbox %s reached its limit of %d processes", m.ID(), spec.PIDs).
			WithHint("allow more with: --pid-limit %d", 2*spec.PIDs)
	case s.DiskFree < minFreeDisk:
		return api.Errorf(api.KindDiskLimit, "sandbox %s reached its disk limit of %d MiB", m.ID(), spec.DiskBytes>>20).
			WithHint("allow more with: --disk-mib %d", 2*(spec.DiskBytes>>20))
	}
	return nil
}
