package spool

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Pump carries output from file descriptors to where it is kept. All that one
// Pump carries goes through one buffer, one piece at a time: a hundred idle
// streams cost no buffer each, and a hundred busy ones need no hundred threads,
// which an agent at the limit of processes could not have.
//
// The zero value is ready for use.
type Pump struct {
	mu  sync.Mutex // guards buf, and is held while keep runs
	buf [32 << 10]byte
}

// Run calls keep with each piece that comes out of f, which must not block,
// until f ends. A terminal ends with an error when its last process has closed
// it, so an error counts as the end.
func (p *Pump) Run(f *os.File, keep func([]byte)) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	for ended := false; !ended; {
		err := raw.Read(func(fd uintptr) bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			n, err := unix.Read(int(fd), p.buf[:])
			switch {
			case err == unix.EAGAIN:
				return false
			case err == unix.EINTR:
				return true
			case n <= 0:
				ended = true
				return true
			}
			keep(p.buf[:n])
			return true
		})
		if err != nil {
			return // f was closed
		}
	}
}

// CatchUp calls keep with what f holds at this moment and Run has not taken yet.
// So a reader gets all that was written before it asked, however busy Run is.
// The two may be called at the same time.
func (p *Pump) CatchUp(f *os.File, keep func([]byte)) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // if f was closed, Run has taken all
		p.mu.Lock()
		defer p.mu.Unlock()
		left, _ := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		for left > 0 {
			n, err := unix.Read(int(fd), p.buf[:min(left, len(p.buf))])
			if err == unix.EINTR {
				continue
			}
			if n <= 0 {
				return
			}
			keep(p.buf[:n])
			left -= n
		}
	})
}
