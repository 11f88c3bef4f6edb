package unpack

import (
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// again repeats a system call that a signal interrupted.
func again(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// openFolder opens the folder name in the folder parent. A link is ENOTDIR, as is
// everything else that is no folder.
//
// It takes two steps, because gVisor follows a link that is opened with
// O_DIRECTORY, whatever O_NOFOLLOW says. os.Root relies on those two flags and is
// no safeguard there. O_PATH alone opens the link itself, and without side
// effects whatever else the guest may have put there.
func openFolder(parent int, name string) (int, error) {
	place, err := open(parent, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return -1, err
	}
	defer unix.Close(place)
	return open(place, ".", unix.O_RDONLY|unix.O_DIRECTORY)
}

func open(parent int, name string, flags int) (int, error) {
	fd := -1
	err := again(func() (err error) {
		fd, err = unix.Openat(parent, name, flags|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

func lstat(parent int, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := again(func() error { return unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

func isFolder(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

// typeName says what a path is, for messages.
func typeName(st unix.Stat_t) string {
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

// readNames reads the names in a folder just opened.
func readNames(fd int) ([]string, error) {
	var names []string
	buf := make([]byte, 32<<10)
	for {
		var n int
		err := again(func() (err error) {
			n, err = unix.ReadDirent(fd, buf)
			return err
		})
		if err != nil || n <= 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// removeAll removes name and all below it. What is gone already is no error.
func removeAll(parent int, name string) error {
	err := again(func() error { return unix.Unlinkat(parent, name, 0) })
	if err == nil || err == unix.ENOENT {
		return nil
	}
	fd, openErr := openFolder(parent, name)
	if openErr == unix.ENOTDIR || openErr == unix.ELOOP {
		return err
	}
	if openErr != nil {
		return openErr
	}
	names, err := readNames(fd)
	for _, n := range names {
		err = errors.Join(err, removeAll(fd, n))
	}
	unix.Close(fd)
	if err != nil {
		return err
	}
	return again(func() error { return unix.Unlinkat(parent, name, unix.AT_REMOVEDIR) })
}

// attr is what a folder or file has besides its content.
type attr struct {
	mode     uint32 // 07777
	uid, gid int
	mtime    unix.Timespec
}

func attrOf(st unix.Stat_t) attr {
	return attr{st.Mode & 0o7777, int(st.Uid), int(st.Gid), st.Mtim}
}

// setMtime sets the time of a name, and of a link itself.
func setMtime(parent int, name string, t unix.Timespec) error {
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, t}
	return again(func() error { return unix.UtimesNanoAt(parent, name, ts, unix.AT_SYMLINK_NOFOLLOW) })
}

// setOpenMtime sets the time of an open file. The kernel takes no name for that,
// which package unix cannot express.
func setOpenMtime(fd int, t unix.Timespec) error {
	ts := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, t}
	return again(func() error {
		_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
		if e != 0 {
			return e
		}
		return nil
	})
}

// setFolder gives an open folder what a says; the time last, since nothing else
// must touch the folder after that.
func setFolder(fd int, a attr) error {
	var st unix.Stat_t
	if err := again(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return err
	}
	now := attrOf(st)
	if a.uid != now.uid || a.gid != now.gid {
		if err := again(func() error { return unix.Fchown(fd, a.uid, a.gid) }); err != nil {
			return err
		}
	}
	if a.mode != now.mode {
		if err := again(func() error { return unix.Fchmod(fd, a.mode) }); err != nil {
			return err
		}
	}
	return setOpenMtime(fd, a.mtime)
}

// keepMtime runs f, which does something in the open folder that is not to show
// in its time.
func keepMtime(fd int, f func() error) error {
	var st unix.Stat_t
	statErr := again(func() error { return unix.Fstat(fd, &st) })
	err := f()
	if statErr == nil {
		_ = setOpenMtime(fd, st.Mtim) // a wrong time is no reason to fail
	}
	return err
}

// The times that file systems and the kernels' conversions can tell.
var (
	firstTime = time.Unix(-1<<31, 0)
	lastTime  = time.Unix(1<<33, 0) // in 2242
)

func timespec(t time.Time) unix.Timespec {
	switch {
	case t.Before(firstTime):
		t = firstTime
	case t.After(lastTime):
		t = lastTime
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}
