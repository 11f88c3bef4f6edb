package agent

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/wire"
)

// memory measures the memory of a guest with a kernel of its own.
func memory(s *wire.StatsResult) (err error) {
	if s.OutOfMemory, err = numberIn("/proc/vmstat", "oom_kill"); err != nil {
		return err
	}
	total, err1 := numberIn("/proc/meminfo", "MemTotal:")
	available, err2 := numberIn("/proc/meminfo", "MemAvailable:")
	if err1 != nil || err2 != nil {
		return fmt.Errorf("memory: %w, %w", err1, err2)
	}
	s.MemoryBytes = max(0, total-available) << 10
	var fs unix.Statfs_t
	s.MemoryFilesFull = unix.Statfs("/dev/shm", &fs) == nil && fs.Blocks > 0 && fs.Bavail == 0
	return nil
}

// numberIn returns the number behind a name in a file of the kernel.
func numberIn(path, name string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no line %q", path, name)
}
