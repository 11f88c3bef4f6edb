package process

import (
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Capabilities are those of the agent's children: what docker grants, plus
// ptrace for debuggers. The drivers of sandboxes give the same to the commands
// that they start themselves.
var Capabilities = []int{
	unix.CAP_AUDIT_WRITE, unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL,
	unix.CAP_MKNOD, unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_RAW, unix.CAP_SETFCAP, unix.CAP_SETGID, unix.CAP_SETPCAP,
	unix.CAP_SETUID, unix.CAP_SYS_CHROOT, unix.CAP_SYS_PTRACE,
}

// spawner is the thread that starts processes.
type spawner struct {
	requests chan request
}

type request struct {
	path  string
	argv  []string
	attr  *syscall.ProcAttr
	reply chan reply
}

type reply struct {
	pid int
	err error
}

func newSpawner() (*spawner, error) {
	s := &spawner{requests: make(chan request)}
	limited := make(chan error)
	go func() {
		// The thread is never unlocked: Go ends it with the goroutine, and takes
		// other threads as the model for new ones.
		runtime.LockOSThread()
		err := limit(Capabilities)
		limited <- err
		if err != nil {
			return
		}
		for r := range s.requests {
			pid, err := syscall.ForkExec(r.path, r.argv, r.attr)
			r.reply <- reply{pid, err}
		}
	}()
	if err := <-limited; err != nil {
		return nil, err
	}
	return s, nil
}

func (s *spawner) start(path string, argv []string, attr *syscall.ProcAttr) (int, error) {
	answer := make(chan reply)
	s.requests <- request{path, argv, attr, answer}
	r := <-answer
	return r.pid, r.err
}

// limit takes all capabilities but those in keep from the calling thread, see
// capabilities(7). A program that a thread of user 0 executes gets what is in
// the bounding set, so that is what counts.
func limit(keep []int) error {
	var mask uint64
	for _, c := range keep {
		mask |= 1 << c
	}
	for c := 0; ; c++ {
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		if err != nil {
			break // no capability has this number or a higher one
		}
		if has == 0 || mask&(1<<c) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	for i := range sets {
		half := uint32(mask >> (32 * i))
		sets[i].Effective &= half
		sets[i].Permitted &= half
		sets[i].Inheritable = 0
	}
	if err := unix.Capset(&header, &sets[0]); err != nil {
		return fmt.Errorf("limit capabilities: %w", err)
	}
	return nil
}
