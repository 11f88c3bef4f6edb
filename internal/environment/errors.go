package environment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// isFull reports whether the disk or the quota is used up.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// storageError gives an error of the host's file system its kind.
func storageError(dir string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*api.Error](err); ok && !isFull(err) {
		return e
	}
	switch {
	case isFull(err):
		return api.Errorf(api.KindStorage, "%s has no room left: %w", dir, err).
			WithHint("free some space, run: pyro env prune, or set PYRO_CACHE_DIR to a folder on another disk")
	case errors.Is(err, fs.ErrPermission):
		return api.Errorf(api.KindPermission, "%s cannot be used: %w", dir, err).
			WithHint("set PYRO_CACHE_DIR to a folder of your own")
	}
	return api.Errorf(api.KindStorage, "%s cannot be used: %w", dir, err)
}

// installError finishes an error of making an environment: a full disk says how
// much is needed, a caller who went away is not a failure of anything.
func (m *Manager) installError(ctx context.Context, name string, need int64, err error) error {
	if err == nil {
		return nil
	}
	if isFull(err) {
		return noRoom(m.cache.dir, name, need, err)
	}
	if ctx.Err() != nil {
		return api.Errorf(api.KindCanceled, "environment %s: stopped: %w", name, context.Cause(ctx))
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		return &api.Error{Kind: e.Kind, Message: fmt.Sprintf("environment %s: %s", name, e.Message), Hint: e.Hint, Err: err}
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return storageError(m.cache.dir, err)
	}
	return api.Errorf(api.KindInternal, "environment %s: %w", name, err)
}

func noRoom(dir, name string, need int64, cause error) error {
	free := "no"
	if n, err := freeBytes(dir); err == nil {
		free = mebibytes(n)
	}
	e := api.Errorf(api.KindStorage, "%s has %s free, installing %s needs about %s", dir, free, name, mebibytes(need))
	e.Err = cause
	return e.WithHint("free some space, run: pyro env prune, or set PYRO_CACHE_DIR to a folder on another disk")
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }

// freeBytes is what a plain user may still write to the file system of dir.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(min(st.Bavail, 1<<40)) * st.Bsize, nil
}

// checkRoom refuses early what cannot fit. need is a lower bound.
func (m *Manager) checkRoom(name string, need int64) error {
	free, err := freeBytes(m.cache.dir)
	if err != nil || free >= need {
		return nil // a file system that does not say is believed to have room
	}
	return noRoom(m.cache.dir, name, need, syscall.ENOSPC)
}
