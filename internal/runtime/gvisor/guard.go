package gvisor

import (
	"context"
	"time"

	"pyro/api"
	"pyro/internal/agent/wire"
)

// The guard measures a machine's memory this often: seldom while it is idle,
// often when commands run, more often the closer it is to its limit.
const (
	guardIdle    = time.Second
	guardRunning = 100 * time.Millisecond
	guardClose   = 10 * time.Millisecond
)

// killGrace is how long after a kill the memory may stay over the limit before
// the whole sandbox goes: a dead process's memory comes back with a delay, but
// files in memory never do.
const killGrace = 500 * time.Millisecond

// goferGrace is how long a sandbox may take to be seen ending when its gofer has.
const goferGrace = 200 * time.Millisecond

// guard ends a sandbox whose gofer is gone: the guest could go on, but nobody
// could talk to its agent again. And it enforces the memory limit where no cgroup does, and in any case before
// the host's kernel would choose a victim: it kills the largest process of the
// guest, and the sandbox if that does not help.
func (m *machine) guard() {
	limit := m.rec.Spec.MemoryBytes
	timer := time.NewTimer(guardRunning)
	defer timer.Stop()
	var over time.Time // when the limit was exceeded or a process last killed for it
	for {
		select {
		case <-timer.C:
		case <-m.Done():
			return
		case <-m.Closed():
			return
		}
		if !m.rec.Gofer.Lives() {
			m.endWithoutGofer()
			return
		}
		used, err := m.memoryBytes()
		switch {
		case err != nil:
			return // the file is closed: the machine has ended
		case used <= limit:
			over = time.Time{}
			timer.Reset(m.guardInterval(used, limit))
			continue
		case over.IsZero():
			over = time.Now()
		}
		reached := m.hitMemoryLimit()
		if m.killLargest(limit / 32) {
			over = time.Now()
		}
		if time.Since(over) > killGrace {
			m.endOverMemory(used, reached)
			return
		}
		timer.Reset(guardClose)
	}
}

// endOverMemory ends the machine, whose memory no kill brings down.
func (m *machine) endOverMemory(used int64, reached *api.Error) {
	m.driver.log.Warn("sandbox stays over its memory limit", "id", m.ID(), "bytes", used)
	m.mu.Lock()
	m.fatal = reached
	m.mu.Unlock()
	_ = m.rec.Sandbox.Kill(killTimeout)
}

// endWithoutGofer ends the machine, unless it is ending already.
func (m *machine) endWithoutGofer() {
	select {
	case <-m.Done():
		return
	case <-m.Closed():
		return
	case <-time.After(goferGrace):
	}
	m.driver.log.Warn("gofer of a sandbox has ended", "id", m.ID())
	m.mu.Lock()
	m.fatal = api.Errorf(api.KindSandboxDied, "sandbox %s has ended, because its gofer has", m.ID()).WithHint("start a new one")
	m.mu.Unlock()
	_ = m.rec.Sandbox.Kill(killTimeout)
}

func (m *machine) guardInterval(used, limit int64) time.Duration {
	m.mu.Lock()
	running := m.commands > 0
	m.mu.Unlock()
	switch {
	case used > limit/2:
		return guardClose
	case running:
		return guardRunning
	}
	return guardIdle
}

func (m *machine) countCommands(n int) {
	m.mu.Lock()
	m.commands += n
	m.mu.Unlock()
}

// killLargest asks the agent to end the process that holds the most memory,
// if that is worth it, and says whether one was killed.
func (m *machine) killLargest(minRSS int64) bool {
	ctx, cancel := context.WithTimeout(context.Background(), killGrace)
	defer cancel()
	var killed wire.KillLargestResult
	agent, err := m.client(ctx)
	if err == nil {
		err = agent.Call(ctx, wire.KillLargest, wire.KillLargestParams{MinRSSBytes: minRSS}, &killed)
	}
	if err != nil {
		m.driver.log.Warn("guest agent cannot free memory", "id", m.ID(), "error", err)
		return false
	}
	if killed.PID != 0 {
		m.driver.log.Info("memory limit reached", "id", m.ID(), "killed", killed.PID, "name", killed.Name, "rss", killed.RSSBytes)
	}
	return killed.PID != 0
}

func (m *machine) hitMemoryLimit() *api.Error {
	mib := m.rec.Spec.MemoryBytes >> 20
	e := api.Errorf(api.KindMemoryLimit, "sandbox %s reached its memory limit of %d MiB", m.ID(), mib).
		WithHint("allow more with: --mem-mib %d", 2*mib)
	m.mu.Lock()
	m.limit = e
	m.mu.Unlock()
	return e
}

// minFreeDisk is below what any write of consequence needs: a disk with less
// free space counts as full.
const minFreeDisk = 64 << 10

// LimitHit implements runtime.Machine.
func (m *machine) LimitHit(ctx context.Context) *api.Error {
	m.mu.Lock()
	limit, seen := m.limit, m.seenHits
	m.limit = nil
	m.mu.Unlock()
	if limit != nil {
		return limit
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := m.stats(ctx)
	if err != nil {
		return nil
	}
	spec := m.rec.Spec
	switch {
	case s.PIDLimitHits > seen:
		m.mu.Lock()
		m.seenHits = s.PIDLimitHits
		m.mu.Unlock()
		return api.Errorf(api.KindPIDLimit, "sandbox %s reached its limit of %d processes", m.ID(), spec.PIDs).
			WithHint("allow more with: --pid-limit %d", 2*spec.PIDs)
	case s.DiskFree < minFreeDisk:
		return api.Errorf(api.KindDiskLimit, "sandbox %s reached its disk limit of %d MiB", m.ID(), spec.DiskBytes>>20).
			WithHint("allow more with: --disk-mib %d", 2*(spec.DiskBytes>>20))
	}
	return nil
}
