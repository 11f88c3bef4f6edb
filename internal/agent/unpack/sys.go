package unpack

import (
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/beneath"
)

// removeAll removes name and all below it. What is gone already is no error.
func removeAll(parent int, name string) error {
	err := beneath.Again(func() error { return unix.Unlinkat(parent, name, 0) })
	if err == nil || err == unix.ENOENT {
		return nil
	}
	fd, openErr := beneath.OpenFolder(parent, name)
	if openErr == unix.ENOTDIR || openErr == unix.ELOOP {
		return err
	}
	if openErr != nil {
		return openErr
	}
	names, err := beneath.ReadNames(fd)
	for _, n := range names {
		err = errors.Join(err, removeAll(fd, n))
	}
	unix.Close(fd)
	if err != nil {
		return err
	}
	return beneath.Again(func() error { return unix.Unlinkat(parent, name, unix.AT_REMOVEDIR) })
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
	return beneath.Again(func() error { return unix.UtimesNanoAt(parent, name, ts, unix.AT_SYMLINK_NOFOLLOW) })
}

// setOpenMtime sets the time of an open file. The kernel takes no name for that,
// which package unix cannot express.
func setOpenMtime(fd int, t unix.Timespec) error {
	ts := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, t}
	return beneath.Again(func() error {
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
	if err := beneath.Again(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return err
	}
	now := attrOf(st)
	if a.uid != now.uid || a.gid != now.gid {
		if err := beneath.Again(func() error { return unix.Fchown(fd, a.uid, a.gid) }); err != nil {
			return err
		}
	}
	if a.mode != now.mode {
		if err := beneath.Again(func() error { return unix.Fchmod(fd, a.mode) }); err != nil {
			return err
		}
	}
	return setOpenMtime(fd, a.mtime)
}

// keepMtime runs f, which does something in the open folder that is not to show
// in its time.
func keepMtime(fd int, f func() error) error {
	var st unix.Stat_t
	statErr := beneath.Again(func() error { return unix.Fstat(fd, &st) })
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
