package gvisor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"pyro/internal/buildid"
)

// executable returns the path by which runsc starts sandboxes, and the open
// file behind it, which must stay open. As root a sandbox is started by nobody,
// who can often neither walk to the program nor execute it: a descriptor of the
// program needs no walking, and a private program is copied to one that others
// may execute.
func executable(o Options, rootless bool) (string, *os.File, error) {
	path := o.Executable
	if path == "" {
		path = "/proc/self/exe"
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", nil, err
	}
	othersExecute := st.Mode()&0o005 == 0o005
	if o.Executable == "" && (rootless || othersExecute) {
		return path, nil, nil
	}
	if !rootless && !othersExecute {
		if path, err = publicCopy(path, filepath.Join(o.Dir, "bin")); err != nil {
			return "", nil, storageError("copy of the program", err)
		}
	}
	low, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(low)
	fd, err := unix.FcntlInt(uintptr(low), unix.F_DUPFD_CLOEXEC, highDescriptor())
	if err != nil {
		return "", nil, fmt.Errorf("open %s: %w", path, err)
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), os.NewFile(uintptr(fd), path), nil
}

// aboveDonated is a descriptor far above those that runsc hands to a new
// process: they, and the duplicates that Go makes of them on the way, are put in
// place before the program is looked up. It grows with the live sandboxes.
const aboveDonated = 8192

// highDescriptor is aboveDonated, or less where fewer descriptors are allowed.
func highDescriptor() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return aboveDonated / 16
	}
	return int(min(aboveDonated, limit.Cur-limit.Cur/8))
}

// publicCopy copies the program once for each build.
func publicCopy(path, dir string) (string, error) {
	id, err := buildid.Of(path)
	if err != nil {
		return "", err
	}
	copied := filepath.Join(dir, id)
	if _, err := os.Stat(copied); err == nil {
		return copied, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	from, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := os.CreateTemp(dir, "new-")
	if err != nil {
		return "", err
	}
	defer os.Remove(to.Name())
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Chmod(0o755), to.Close()); err != nil {
		return "", err
	}
	return copied, os.Rename(to.Name(), copied)
}
