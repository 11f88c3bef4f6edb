package hostprocess

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Watch waits for the end of a process, and takes no thread for it. It must be
// closed.
type Watch struct{ pidfd *os.File }

// Watch begins to watch the process. It fails if that has ended.
func (p Process) Watch() (*Watch, error) {
	fd, err := p.Open()
	if err != nil {
		return nil, err
	}
	_ = unix.SetNonblock(fd, true) // makes it one of those that Go polls
	return &Watch{os.NewFile(uintptr(fd), "pidfd")}, nil
}

// Ended returns true when the process has ended, false when the watch was
// stopped or closed before.
func (w *Watch) Ended() bool {
	raw, err := w.pidfd.SyscallConn()
	if err != nil {
		return false
	}
	ended := false
	_ = raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		ended = err == nil && n == 1
		return ended
	})
	return ended
}

// Stop lets Ended return, now and from here on. The process is left alone.
func (w *Watch) Stop() { _ = w.pidfd.SetReadDeadline(time.Unix(1, 0)) }

// Close frees the watch.
func (w *Watch) Close() error { return w.pidfd.Close() }
