// Package program has this program started again, under other names and by
// other users, to be a part of a machine.
package program

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"pyro/internal/buildid"
)

// Options say which program, and who starts it.
type Options struct {
	// Path is the program. Default: the running one.
	Path string
	// Nobody says that nobody, too, must be able to start it.
	Nobody bool
	// Dir is a folder for a copy, if one is needed. Required; made if absent.
	Dir string
}

// Program is a program that can be started.
type Program struct {
	// Path is what to execute, in this process and its children.
	Path string
	file *os.File // keeps open what Path names; nil if nothing has to be kept
}

// Open makes a program startable. Nobody can often neither walk to it nor execute
// it: a descriptor of the program needs no walking, and a private program is
// copied to one that others may execute. Nobody closes what it returns: it is
// for as long as this process runs.
func Open(o Options) (*Program, error) {
	path := o.Path
	if path == "" {
		path = "/proc/self/exe"
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	othersExecute := st.Mode()&0o005 == 0o005
	if o.Path == "" && (!o.Nobody || othersExecute) {
		return &Program{Path: path}, nil
	}
	if o.Nobody && !othersExecute {
		if path, err = publicCopy(path, o.Dir); err != nil {
			return nil, fmt.Errorf("copy of the program: %w", err)
		}
	}
	low, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(low)
	fd, err := unix.FcntlInt(uintptr(low), unix.F_DUPFD_CLOEXEC, highDescriptor())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &Program{fmt.Sprintf("/proc/self/fd/%d", fd), os.NewFile(uintptr(fd), path)}, nil
}

// aboveDonated is a descriptor far above those that are handed to a new process:
// they, and the duplicates that Go makes of them on the way, are put in place
// before the program is looked up. It grows with the live sandboxes.
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
