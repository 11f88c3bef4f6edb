package unpack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/beneath"
)

// Names in the root and in the staging folder.
const (
	stagePrefix = ".pyro-sync-"
	keptPrefix  = ".pyro-kept-"
	stageDigits = 16
	newName     = "new"
	oldName     = "old"
)

// staging is a staging folder of this process.
type staging struct {
	root     int // open; the caller's
	name     string
	dir      int // open and locked
	new, old int // open; old is -1 until something is put there
}

// newStaging makes the staging folder in root. A sweep of another process that
// meets it before it is locked wins, and another name is tried.
func newStaging(root int) (*staging, error) {
	for range 10 {
		name := fmt.Sprintf("%s%0*x", stagePrefix, stageDigits, rand.Uint64()) // need not be hard to guess
		s := &staging{root: root, name: name, dir: -1, new: -1, old: -1}
		err := keepMtime(root, s.make)
		if err == nil {
			return s, nil
		}
		s.close()
		if err != unix.EEXIST && err != unix.ENOENT && err != unix.EWOULDBLOCK {
			_ = s.remove()
			return nil, err
		}
	}
	return nil, errors.New("every staging folder is taken away")
}

func (s *staging) make() (err error) {
	if err := beneath.Again(func() error { return unix.Mkdirat(s.root, s.name, 0o700) }); err != nil {
		return err
	}
	if s.dir, err = beneath.OpenFolder(s.root, s.name); err != nil {
		return err
	}
	if err := lock(s.dir); err == unix.EWOULDBLOCK {
		return err // others: a file system without locks, where nothing is swept
	}
	if err := plain(s.dir); err != nil {
		return err
	}
	s.new, err = makeFolder(s.dir, newName)
	return err
}

// plain undoes what a folder inherits from one with a setgid bit, so that what is
// made in it inherits nothing.
func plain(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if int(st.Gid) != unix.Getegid() {
		if err := unix.Fchown(fd, -1, unix.Getegid()); err != nil {
			return err
		}
	}
	return unix.Fchmod(fd, 0o700)
}

func makeFolder(parent int, name string) (int, error) {
	if err := beneath.Again(func() error { return unix.Mkdirat(parent, name, 0o700) }); err != nil {
		return -1, err
	}
	return beneath.OpenFolder(parent, name)
}

// needOld makes the folder old, if it is not there yet.
func (s *staging) needOld() (err error) {
	if s.old < 0 {
		s.old, err = makeFolder(s.dir, oldName)
	}
	return err
}

// remove removes the staging folder. What cannot be removed is swept by the next
// run.
func (s *staging) remove() error {
	return keepMtime(s.root, func() error { return removeAll(s.root, s.name) })
}

// keep gives the staging folder a name that no sweep removes, and returns that.
func (s *staging) keep() string {
	kept := keptPrefix + strings.TrimPrefix(s.name, stagePrefix)
	if beneath.Again(func() error { return unix.Renameat(s.root, s.name, s.root, kept) }) != nil {
		return s.name
	}
	return kept
}

// close lets go of the folder and of its lock.
func (s *staging) close() {
	for _, fd := range []*int{&s.old, &s.new, &s.dir} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
}

func lock(fd int) error {
	return beneath.Again(func() error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
}

// IsStaging says whether a name in the root is that of a staging folder, one that a
// push which was cut off may have left.
func IsStaging(name string) bool {
	digits, ok := strings.CutPrefix(name, stagePrefix)
	return ok && len(digits) == stageDigits && strings.Trim(digits, "0123456789abcdef") == ""
}

// sweep removes the staging folders of processes that are gone: those whose lock
// is free. A failure is no reason to refuse the next push.
func sweep(root int) {
	fd, err := beneath.OpenFolder(root, ".")
	if err != nil {
		return
	}
	names, _ := beneath.ReadNames(fd)
	unix.Close(fd)
	for _, name := range names {
		if IsStaging(name) {
			sweepOne(root, name)
		}
	}
}

func sweepOne(root int, name string) {
	fd, err := beneath.OpenFolder(root, name)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if lock(fd) != nil {
		return
	}
	_ = keepMtime(root, func() error { return removeAll(root, name) })
}
