package environment

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"pyro/internal/oci"
)

// The cache is the blob store of packages oci and debian.

// Path is where package debian keeps the blob with that SHA-256.
func (c *cache) Path(sha256 string) string { return filepath.Join(c.blobs(), sha256) }

func (c *cache) blob(digest string) string { return c.Path(strings.TrimPrefix(digest, "sha256:")) }

// Open opens a blob, for package oci.
func (c *cache) Open(digest string) (*os.File, error) { return os.Open(c.blob(digest)) }

// Remove deletes a blob, for package oci.
func (c *cache) Remove(digest string) error {
	if err := os.Remove(c.blob(digest)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Partial opens the unfinished download of a blob, for package oci.
func (c *cache) Partial(ctx context.Context, digest string) (oci.Partial, error) {
	path := c.blob(digest)
	for {
		f, err := os.OpenFile(path+partSuffix, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := lockFd(ctx, f); err != nil {
			f.Close()
			return nil, err
		}
		// While we waited its holder may have renamed or removed it.
		if stillThere(f, path+partSuffix) {
			return &partial{file: f, path: path}, nil
		}
		f.Close()
	}
}

// stillThere reports whether path still names the open file.
func stillThere(f *os.File, path string) bool {
	mine, err1 := f.Stat()
	there, err2 := os.Lstat(path)
	return err1 == nil && err2 == nil && os.SameFile(mine, there)
}

// partial implements oci.Partial. Closing the file lets go of its lock.
type partial struct {
	file *os.File
	path string
}

func (p *partial) File() *os.File { return p.file }

func (p *partial) Commit() error {
	if err := p.file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(p.path+partSuffix, p.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(p.path))
}

func (p *partial) Close() error {
	if err := p.file.Close(); !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil
}

// lockFd takes the exclusive lock of an open file, waiting for it.
func lockFd(ctx context.Context, f *os.File) error {
	return poll(ctx, func() (bool, error) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
			return false, nil
		}
		return err == nil, err
	})
}
