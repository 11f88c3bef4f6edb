package shell

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal, see pty(7). The agent holds the master end.
type terminal struct {
	*os.File
}

// openTerminal makes a terminal. The replica, the end that processes use, is
// the caller's to close.
func openTerminal(cols, rows int) (t *terminal, replica *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	t = &terminal{os.NewFile(uintptr(fd), "ptmx")}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, fmt.Errorf("unlock terminal: %w", err)
	}
	number, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, fmt.Errorf("name of terminal: %w", err)
	}
	if err := t.resize(cols, rows); err != nil {
		return nil, nil, err
	}
	// So that the eraser takes whole characters away.
	if state, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
		state.Iflag |= unix.IUTF8
		_ = unix.IoctlSetTermios(fd, unix.TCSETS, state)
	}
	// Not by package os, which would make it non-blocking for the shell too.
	name := fmt.Sprintf("/dev/pts/%d", number)
	fd, err = unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", name, err)
	}
	return t, os.NewFile(uintptr(fd), name), nil
}

// control calls f with the master's descriptor.
func (t *terminal) control(f func(fd int) error) error {
	raw, err := t.SyscallConn()
	if err != nil {
		return err
	}
	var done error
	err = raw.Control(func(fd uintptr) { done = f(int(fd)) })
	if err != nil {
		return err
	}
	return done
}

// resize sets the size, of which the kernel tells the foreground processes.
func (t *terminal) resize(cols, rows int) error {
	return t.control(func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(cols), Row: uint16(rows)})
	})
}

// foreground returns the foreground process group. gVisor tells it only to
// processes of the terminal's own session: there it is an error.
func (t *terminal) foreground() (pgid int, err error) {
	err = t.control(func(fd int) error {
		pgid, err = unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		return err
	})
	if err == nil && pgid <= 0 {
		err = unix.ENOTTY
	}
	return pgid, err
}

// unread returns how many bytes of output wait to be read.
func (t *terminal) unread() int {
	n := 0
	_ = t.control(func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.TIOCINQ)
		return err
	})
	return n
}

// strike types a control character that the terminal turns into a signal,
// whatever the program has set the terminal to. index is the character's place
// in the settings, which are as before afterwards.
func (t *terminal) strike(index int, char byte) error {
	return t.control(func(fd int) error {
		before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		state := *before
		state.Lflag |= unix.ISIG | unix.NOFLSH
		state.Lflag &^= unix.ECHO
		state.Cc[index] = char
		if err := unix.IoctlSetTermios(fd, unix.TCSETS, &state); err != nil {
			return err
		}
		defer func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, before) }()
		_, err = unix.Write(fd, []byte{char})
		return err
	})
}
