package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// reserve is how much of the disk stays free, at most an eighth of it: enough to
// save what is there, and for the rest of the host to go on.
const reserve = 512 << 20

// room refuses an operation that would write need bytes where there is no room
// for them: beyond the budget of all workspaces, or into the disk's reserve.
func (m *Manager) room(need int64) error {
	if err := os.MkdirAll(m.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return storageError("folder "+m.dir, err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(m.dir, &st); err != nil {
		return storageError("folder "+m.dir, err)
	}
	free, size := int64(st.Bavail)*st.Bsize, int64(st.Blocks)*st.Bsize
	keep := min(reserve, size/8)
	if free-need < keep {
		return api.Errorf(api.KindStorage, "the disk of %s has %d MiB free, %d MiB are needed and %d MiB stay reserved", m.dir, free>>20, need>>20, keep>>20).
			WithHint("see what workspaces take with: pyro workspace list; and free some: pyro workspace delete ID, pyro env prune")
	}
	if m.budget <= 0 {
		return nil
	}
	var used int64
	for _, other := range m.all() {
		other.mu.Lock()
		used += other.size
		other.mu.Unlock()
	}
	if used+need > m.budget {
		more := ""
		if need > 0 {
			more = fmt.Sprintf(" and %d MiB more are needed", need>>20)
		}
		return api.Errorf(api.KindStorage, "the workspaces take %d MiB on the disk%s, their budget is %d MiB", used>>20, more, m.budget>>20).
			WithHint("delete a workspace or a snapshot, see: pyro workspace list; or set PYRO_DISK_BUDGET_MIB higher and restart: pyro daemon stop")
	}
	return nil
}
