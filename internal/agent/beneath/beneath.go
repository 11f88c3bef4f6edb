// Package beneath has the system calls with which the agent moves in folders
// that belong to the guest, who may change them at the same moment: every one
// names a single part of a path, relative to an open folder, and none follows a
// link.
package beneath

import (
	"os"

	"golang.org/x/sys/unix"
)

// Again repeats a system call that a signal interrupted.
func Again(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// OpenFolder opens the folder name in the folder parent. A link is ENOTDIR, as is
// everything else that is no folder.
//
// It takes two steps, because gVisor follows a link that is opened with
// O_DIRECTORY, whatever O_NOFOLLOW says. os.Root relies on those two flags and is
// no safeguard there. O_PATH alone opens the link itself, and without side
// effects whatever else the guest may have put there.
func OpenFolder(parent int, name string) (int, error) {
	place, err := open(parent, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return -1, err
	}
	defer unix.Close(place)
	return open(place, ".", unix.O_RDONLY|unix.O_DIRECTORY)
}

// OpenFile opens the regular file name in the open folder at for reading. What
// else may be there is refused, without waiting for the other end of a fifo and
// without touching a device: ELOOP for a link, EISDIR for a folder, EINVAL for
// the rest.
func OpenFile(at int, name string) (*os.File, error) {
	before, err := Lstat(at, name)
	if err != nil {
		return nil, err
	}
	switch before.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFLNK:
		return nil, unix.ELOOP
	case unix.S_IFDIR:
		return nil, unix.EISDIR
	default:
		return nil, unix.EINVAL
	}
	fd, err := open(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = Again(func() error { return unix.Fstat(fd, &st) })
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = unix.EINVAL
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func open(parent int, name string, flags int) (int, error) {
	fd := -1
	err := Again(func() (err error) {
		fd, err = unix.Openat(parent, name, flags|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// Lstat tells about the name itself, also if it is a link.
func Lstat(parent int, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := Again(func() error { return unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

// ReadLink returns a link's target.
func ReadLink(at int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n := 0
	err := Again(func() (err error) {
		n, err = unix.Readlinkat(at, name, buf)
		return err
	})
	return string(buf[:max(n, 0)]), err
}

// IsFolder says whether a path is a folder.
func IsFolder(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

// TypeName says what a path is, for messages.
func TypeName(st unix.Stat_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "a folder"
	case unix.S_IFREG:
		return "a file"
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFIFO:
		return "a fifo"
	}
	return "a device"
}

// ReadNames reads the names in a folder just opened.
func ReadNames(fd int) ([]string, error) {
	var names []string
	buf := make([]byte, 32<<10)
	for {
		var n int
		err := Again(func() (err error) {
			n, err = unix.ReadDirent(fd, buf)
			return err
		})
		if err != nil || n <= 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}
