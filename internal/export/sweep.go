package export

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// Sweep removes what exports of killed processes left in the folder dir, and
// returns the names. Only temporary names of this package that belong to the
// caller's user and that no living process has locked are touched. On file
// systems without locks nothing is.
func Sweep(dir string) (removed []string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, hostError(dir, err)
	}
	defer root.Close()
	handle, err := root.Open(".")
	if err != nil {
		return nil, hostError(dir, err)
	}
	defer handle.Close()
	names, err := handle.Readdirnames(-1)
	if err != nil {
		return nil, hostError(dir, err)
	}
	for _, name := range names {
		if !IsTemporary(name) {
			continue
		}
		ok, failed := sweep(root, name)
		if ok {
			removed = append(removed, name)
		}
		if failed != nil && err == nil {
			err = hostError(dir+"/"+name, failed)
		}
	}
	return removed, err
}

// IsTemporary says whether name has the form of a temporary name.
func IsTemporary(name string) bool {
	name, ok := strings.CutPrefix(name, tempPrefix)
	name, ok2 := strings.CutSuffix(name, tempSuffix)
	return ok && ok2 && len(name) == tempDigits && strings.Trim(name, "0123456789abcdef") == ""
}

// sweep removes name if it is left over.
func sweep(in *os.Root, name string) (bool, error) {
	info, err := in.Lstat(name)
	if err != nil || !info.IsDir() && !info.Mode().IsRegular() {
		return false, nil
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
		return false, nil
	}
	f, err := openLeftover(in, name, info)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if lock(f) != nil || !isAt(in, name, f) {
		return false, nil
	}
	return true, removeAll(in, name)
}

// openLeftover opens name although its mode, which may be the guest's already,
// forbids it.
func openLeftover(in *os.Root, name string, info fs.FileInfo) (*os.File, error) {
	const flags = os.O_RDONLY | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	f, err := in.OpenFile(name, flags, 0)
	if !errors.Is(err, fs.ErrPermission) {
		return f, err
	}
	mode := fs.FileMode(0o600)
	if info.IsDir() {
		mode = 0o700
	}
	if err := in.Chmod(name, mode); err != nil {
		return nil, err
	}
	return in.OpenFile(name, flags, 0)
}
