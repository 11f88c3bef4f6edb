package export

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// Temporary names are this around 16 hexadecimal digits.
const (
	tempPrefix = ".pyro-export-"
	tempSuffix = ".tmp"
	tempDigits = 16
)

// place is where an export goes: a temporary name beside the target until
// publish.
type place struct {
	target string // absolute
	parent *os.Root
	handle *os.File // the parent folder
	base   string
	temp   string
	// content is the temporary file or folder. Its lock tells Sweep that this
	// process lives.
	content   *os.File
	published bool
}

// newPlace makes the temporary file or folder for target, which must not exist,
// in a folder that must.
func newPlace(target string, folder bool) (*place, error) {
	if target == "" || strings.IndexByte(target, 0) >= 0 {
		return nil, api.Errorf(api.KindUsage, "%q is not a path to export to", target)
	}
	abs, err := filepath.Abs(target)
	if err != nil {
		return nil, hostError(target, err)
	}
	p := &place{target: abs, base: filepath.Base(abs)}
	if _, err := os.Lstat(abs); err == nil {
		return nil, p.conflict()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, hostError(abs, err)
	}
	dir := filepath.Dir(abs)
	if p.parent, err = os.OpenRoot(dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, api.Errorf(api.KindNotFound, "the folder %s does not exist", dir).WithHint("make it first: mkdir -p '%s'", dir)
		}
		return nil, hostError(dir, err)
	}
	if p.handle, err = p.parent.Open("."); err == nil {
		err = p.create(folder)
	}
	if err != nil {
		p.close()
		return nil, hostError(dir, err)
	}
	return p, nil
}

func (p *place) conflict() error {
	return api.Errorf(api.KindConflict, "%s exists already", p.target).
		WithHint("choose a path that does not exist yet, or remove it first")
}

// create makes and locks the temporary name. A Sweep that meets it between the
// two wins, and another name is tried.
func (p *place) create(folder bool) error {
	for range 10 {
		var random [tempDigits / 2]byte
		rand.Read(random[:])
		temp := tempPrefix + hex.EncodeToString(random[:]) + tempSuffix
		f, err := makeEmpty(p.parent, temp, folder)
		if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if lock(f) != errLocked && isAt(p.parent, temp, f) {
			p.temp, p.content = temp, f
			return nil
		}
		f.Close()
	}
	return errors.New("every temporary name is taken away")
}

func makeEmpty(in *os.Root, name string, folder bool) (*os.File, error) {
	if !folder {
		return in.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err := in.Mkdir(name, 0o700); err != nil {
		return nil, err
	}
	return in.Open(name)
}

var errLocked = errors.New("another process holds the lock")

// lock takes the exclusive lock of f without waiting. File systems that know no
// locks give another error than errLocked.
func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errLocked
	}
	return err
}

// isAt says whether name still is the open file f.
func isAt(in *os.Root, name string, f *os.File) bool {
	now, err := in.Lstat(name)
	if err != nil {
		return false
	}
	open, err := f.Stat()
	return err == nil && os.SameFile(now, open)
}

// publish makes the content durable and gives it its name.
func (p *place) publish(folder bool) error {
	if err := persist(p.content, folder); err != nil {
		return hostError(p.target, err)
	}
	fd := int(p.handle.Fd())
	err := unix.Renameat2(fd, p.temp, fd, p.base, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		err = p.publishOverPlaceholder(folder)
	}
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return p.conflict()
	}
	if err != nil {
		return hostError(p.target, err)
	}
	p.published = true
	// The target is there; should the host lose power now, all of it or nothing
	// of it will be.
	_ = p.handle.Sync()
	return nil
}

// publishOverPlaceholder is for file systems that cannot rename without
// replacing: what is replaced then is an empty placeholder of our own.
func (p *place) publishOverPlaceholder(folder bool) error {
	f, err := makeEmpty(p.parent, p.base, folder)
	if err != nil {
		return err
	}
	f.Close()
	// os.Root would not rename over a folder, not even an empty one.
	fd := int(p.handle.Fd())
	if err := unix.Renameat(fd, p.temp, fd, p.base); err != nil {
		_ = p.parent.Remove(p.base) // fails if somebody uses it, who may keep it
		return err
	}
	return nil
}

// persist waits until the content is on the disk. For a folder the whole file
// system is asked once, which is much quicker than asking for each file.
func persist(f *os.File, folder bool) error {
	if !folder {
		return f.Sync()
	}
	err := unix.Syncfs(int(f.Fd()))
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// close releases the place, and removes what was not published.
func (p *place) close() {
	if p.temp != "" && !p.published {
		_ = removeAll(p.parent, p.temp) // Sweep's, if it fails
	}
	if p.content != nil {
		p.content.Close() // and with it the lock
	}
	if p.handle != nil {
		p.handle.Close()
	}
	p.parent.Close()
}

// removeAll removes name and everything below it, whatever modes folders have
// got meanwhile.
func removeAll(in *os.Root, name string) error {
	if err := in.RemoveAll(name); err == nil {
		return nil
	}
	openUp(in, name)
	return in.RemoveAll(name)
}

// openUp makes folders writable as far as it can.
func openUp(in *os.Root, name string) {
	info, err := in.Lstat(name)
	if err != nil || !info.IsDir() {
		return
	}
	_ = in.Chmod(name, 0o700)
	sub, err := in.OpenRoot(name)
	if err != nil {
		return
	}
	defer sub.Close()
	f, err := sub.Open(".")
	if err != nil {
		return
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	for _, n := range names {
		openUp(sub, n)
	}
}

// hostError makes an error of this package of one of the host's.
func hostError(what string, err error) error {
	if _, ok := errors.AsType[*api.Error](err); ok {
		return err
	}
	cause := err
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		cause = e.Err
	} else if e, ok := errors.AsType[*os.LinkError](err); ok {
		cause = e.Err
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return api.Errorf(api.KindStorage, "%s cannot be written: %w", what, cause).WithHint("make room on the disk, then try again")
	case errors.Is(err, syscall.ENOTDIR):
		return api.Errorf(api.KindUsage, "%s cannot be written: a file stands where a folder is needed", what)
	case errors.Is(err, syscall.ENAMETOOLONG):
		return api.Errorf(api.KindUsage, "%s cannot be written: %w", what, cause)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return api.Errorf(api.KindPermission, "%s cannot be written: %w", what, cause).WithHint("choose a folder that you may write to")
	case errors.Is(err, fs.ErrExist):
		return api.Errorf(api.KindUnsupported, "%s cannot be written: the host's file system takes its name for that of another entry", what)
	}
	return api.Errorf(api.KindStorage, "%s cannot be written: %w", what, cause)
}

// The times that every file system and Go's conversions can tell.
var (
	firstTime = time.Unix(-1<<31, 0)
	lastTime  = time.Unix(1<<33, 0) // in 2242
)

func hostTime(t time.Time) time.Time {
	switch {
	case t.IsZero():
		return time.Unix(0, 0)
	case t.Before(firstTime):
		return firstTime
	case t.After(lastTime):
		return lastTime
	}
	return t
}
