package unpack

import (
	"context"
	"io"
	"path"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/beneath"
)

// Options say where to.
type Options struct {
	// Root is the folder that nothing is written outside of. Required, and not a
	// symbolic link itself.
	Root string
	// Dest is the destination, relative to Root; empty for Root itself. It is made
	// if it does not exist, with what is missing above it, even if the stream is
	// empty.
	Dest string
}

// Run reads a stream and puts what it holds into the tree. After an error, which
// is always an *Error, the tree is as it was. Run heeds ctx until the commit word
// has come, and nothing any more from then on.
func Run(ctx context.Context, o Options, stream io.Reader) (Answer, error) {
	u := &unpacker{rootPath: o.Root, top: &folder{fixed: true}}
	if err := u.run(ctx, o.Dest, stream); err != nil {
		return Answer{}, err
	}
	return u.answer, nil
}

// unpacker is one run.
type unpacker struct {
	root     int // open
	rootPath string
	dest     []string
	top      *folder // of new/, which stands for the root
	staging  *staging
	undo     undoList
	answer   Answer

	conditions []condition // in the order of the stream
	removals   [][]string

	// fail is for tests: it is asked before each change of the file system that
	// is named by op, and its error is taken for the system's.
	fail func(op, path string) error
}

func (u *unpacker) run(ctx context.Context, dest string, stream io.Reader) (err error) {
	if u.dest, err = split(dest); err != nil {
		return err
	}
	if err := u.notOurs(u.dest, dest); err != nil {
		return err
	}
	if u.root, err = beneath.OpenFolder(unix.AT_FDCWD, u.rootPath); err != nil {
		return errorf(Conflict, "%q is not a folder that can be opened: %w", u.rootPath, err)
	}
	defer unix.Close(u.root)
	sweep(u.root)
	if err := u.checkDest(); err != nil {
		return err
	}
	if u.staging, err = newStaging(u.root); err != nil {
		return fault(u.rootPath, err)
	}
	defer u.staging.close()
	err = u.stage(ctx, stream)
	if err == nil {
		err = u.commit()
	}
	if u.undo.failed == nil {
		_ = u.staging.remove() // the next run's, if it fails
	}
	return err
}

// notOurs refuses the names that sweep would remove.
func (u *unpacker) notOurs(parts []string, name string) error {
	if len(parts) > 0 && IsStaging(parts[0]) {
		return errorf(Unsafe, "%q is a name that pyro uses itself", name)
	}
	return nil
}

// checkDest tells early what commit would find: that something else stands where
// the destination or a folder above it is to be.
func (u *unpacker) checkDest() error {
	w := walker{base: u.root}
	defer w.close()
	for i, part := range u.dest {
		at, err := w.at(u.dest[:i])
		if err != nil {
			return fault(u.path(u.dest[:i]...), err)
		}
		st, err := beneath.Lstat(at, part)
		if err == unix.ENOENT {
			return nil
		}
		if err != nil {
			return fault(u.path(u.dest[:i+1]...), err)
		}
		if !beneath.IsFolder(st) {
			return u.inTheWay(u.path(u.dest[:i+1]...), st)
		}
	}
	return nil
}

func (u *unpacker) inTheWay(path string, st unix.Stat_t) error {
	return errorf(Conflict, "%q is %s, not a folder, and stands in the way; nothing was changed", path, beneath.TypeName(st))
}

// path makes the path of parts below the root, for messages.
func (u *unpacker) path(parts ...string) string {
	return path.Join(u.rootPath, path.Join(parts...))
}

// try does f, which changes the file system at path, and again when a signal
// interrupts it.
func (u *unpacker) try(op, path string, f func() error) error {
	if u.fail != nil {
		if err := u.fail(op, path); err != nil {
			return err
		}
	}
	return beneath.Again(f)
}
