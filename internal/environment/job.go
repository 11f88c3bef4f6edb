package environment

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// staleAfter is when a file in tmp/, which can have no lock, counts as left behind.
const staleAfter = time.Hour

// job is a folder in tmp/ for one piece of work. Its lock is held as long as the
// work goes on, so that leftovers of a killed process can be told.
type job struct {
	dir  string
	lock *os.File
	// need is about how many bytes of the disk the work takes, as far as is
	// known. It is told when the disk is full.
	need int64
}

func (c *cache) newJob() (*job, error) {
	for {
		dir, err := os.MkdirTemp(c.tmp(), "job-")
		if err != nil {
			return nil, err
		}
		f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
		if os.IsNotExist(err) {
			continue // taken for a leftover before it had its lock
		}
		if err != nil {
			return nil, err
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && stillThere(f, f.Name()) {
			return &job{dir: dir, lock: f}, nil
		}
		f.Close()
	}
}

func (j *job) path(name string) string { return filepath.Join(j.dir, name) }

// end removes the folder and lets go of it.
func (j *job) end() {
	os.RemoveAll(j.dir)
	j.lock.Close()
}

// leftover is something in tmp/ that nobody works on.
type leftover struct {
	path  string
	bytes int64
}

// sweep removes what killed processes left in tmp/. A folder is taken by its
// lock and renamed before it is emptied, so that a process which is just making
// it, and does not hold the lock yet, finds it gone and makes another.
func (c *cache) sweep() []leftover {
	entries, err := os.ReadDir(c.tmp())
	if err != nil {
		return nil
	}
	var removed []leftover
	for _, e := range entries {
		path := filepath.Join(c.tmp(), e.Name())
		release, stale := claim(path)
		if !stale {
			continue
		}
		var err error
		trash := path
		if !strings.HasPrefix(e.Name(), trashPrefix) { // it may be there from a sweep that was killed
			trash = filepath.Join(c.tmp(), trashPrefix+e.Name())
			err = os.Rename(path, trash)
		}
		if err == nil {
			size := diskUsage(trash)
			if os.RemoveAll(trash) == nil {
				removed = append(removed, leftover{path, size})
			}
		}
		release()
	}
	return removed
}

// trashPrefix starts the name of a folder that is being removed.
const trashPrefix = "trash-"

// claim decides whether an entry of tmp/ is left behind, and holds its lock if so.
func claim(path string) (release func(), stale bool) {
	release = func() {}
	st, err := os.Lstat(path)
	if err != nil {
		return release, false
	}
	if !st.IsDir() { // nothing of ours has no folder
		return release, time.Since(st.ModTime()) > staleAfter
	}
	f, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return release, false
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil || !stillThere(f, f.Name()) {
		f.Close()
		return release, false
	}
	return func() { f.Close() }, true
}

// diskUsage adds up the bytes that the files below path occupy.
func diskUsage(path string) (n int64) {
	_ = filepath.WalkDir(path, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if st, err := d.Info(); err == nil {
			n += fileUsage(st)
		}
		return nil
	})
	return n
}

// fileUsage is what deleting a file frees.
func fileUsage(st fs.FileInfo) int64 {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * 512
	}
	return st.Size()
}
