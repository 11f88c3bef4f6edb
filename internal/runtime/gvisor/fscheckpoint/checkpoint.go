package fscheckpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"gvisor.dev/gvisor/pkg/sentry/state/checkpointfiles"

	"pyro/api"
)

// Checkpoint is an open checkpoint.
type Checkpoint struct {
	dir     string
	version string
	layers  map[string]*layer // by mount point
	tars    *file
	pages   *file
}

// layer is the layer of one mount.
type layer struct {
	name     string // what errors call it
	tarStart int64
	tarEnd   int64
	memory   *memory
}

// Open opens the checkpoint in the folder dir and checks that its files fit
// together. The caller closes it.
//
// The error is of kind not_found if there is no such folder, unsupported if
// another version of gVisor than this package knows has written it, or on
// another kind of machine, and verification if it is damaged or not whole.
func Open(dir string) (*Checkpoint, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, api.Errorf(api.KindNotFound, "there is no checkpoint %s", dir)
	}
	if err != nil {
		return nil, api.Errorf(api.KindStorage, "checkpoint %s cannot be opened: %w", dir, err)
	}
	defer root.Close()
	c := &Checkpoint{dir: dir}
	if err := c.open(root); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Checkpoint) open(root *os.Root) error {
	manifest, err := c.openFile(root, checkpointfiles.FSCheckpointManifestFileName)
	if err != nil {
		return err
	}
	defer manifest.f.Close()
	metadata, err := c.openFile(root, checkpointfiles.PagesMetadataFileName)
	if err != nil {
		return err
	}
	defer metadata.f.Close()
	if c.tars, err = c.openFile(root, checkpointfiles.FSCheckpointMultiTarFileName); err != nil {
		return err
	}
	if c.pages, err = c.openFile(root, checkpointfiles.PagesFileName); err != nil {
		return err
	}
	m, err := c.readManifest(manifest)
	if err != nil {
		return err
	}
	return c.readLayers(m, metadata)
}

// Version is the version of runsc that wrote the checkpoint, as it says itself.
func (c *Checkpoint) Version() string { return c.version }

// Mounts returns where the saved layers were mounted in the guest, sorted.
func (c *Checkpoint) Mounts() []string { return slices.Sorted(maps.Keys(c.layers)) }

// Close closes the files. Trees that Apply has changed become unreadable.
func (c *Checkpoint) Close() error {
	var err error
	for _, f := range []*file{c.tars, c.pages} {
		if f != nil {
			err = errors.Join(err, f.f.Close())
		}
	}
	if err != nil {
		return api.Errorf(api.KindStorage, "checkpoint %s cannot be closed: %w", c.dir, err)
	}
	return nil
}

// layer finds the layer of a mount.
func (c *Checkpoint) layer(mount string) (*layer, error) {
	l, ok := c.layers[mount]
	if !ok {
		return nil, api.Errorf(api.KindNotFound, "checkpoint %s holds no layer of %s", c.dir, mount).
			WithHint("it holds layers of %q", c.Mounts())
	}
	return l, nil
}

// damaged makes the error of a checkpoint whose parts do not add up.
func damaged(what, format string, args ...any) *api.Error {
	return api.Errorf(api.KindVerification, "%s is damaged: %w", what, fmt.Errorf(format, args...)).
		WithHint("it cannot be used any more: delete it and use another snapshot")
}

// file is one of the checkpoint's files.
type file struct {
	f    *os.File
	name string // what errors call it
	size int64  // when it was opened
}

func (c *Checkpoint) openFile(root *os.Root, name string) (*file, error) {
	before, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damaged("checkpoint "+c.dir, "it has no %s", name)
	}
	if err == nil && !before.Mode().IsRegular() { // opening a fifo would hang
		return nil, damaged("checkpoint "+c.dir, "its %s is no regular file", name)
	}
	var f *os.File
	if err == nil {
		f, err = root.Open(name)
	}
	if err != nil {
		return nil, api.Errorf(api.KindStorage, "checkpoint %s: %s cannot be opened: %w", c.dir, name, err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, api.Errorf(api.KindStorage, "checkpoint %s: %s: %w", c.dir, name, err)
	}
	return &file{f: f, name: name + " of checkpoint " + c.dir, size: st.Size()}, nil
}

// ReadAt reads what must be there: an end of the file is an error of kind
// verification.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.f.ReadAt(p, off)
	switch {
	case n == len(p):
		return n, nil
	case err == io.EOF:
		return n, damaged(f.name, "it ends before byte %d: %w", off+int64(len(p)), io.ErrUnexpectedEOF)
	}
	return n, api.Errorf(api.KindStorage, "%s cannot be read: %w", f.name, err)
}

// readAll reads a file of at most limit bytes.
func (f *file) readAll(limit int64) ([]byte, error) {
	if f.size > limit {
		return nil, damaged(f.name, "it has %d bytes, %d is the most", f.size, limit)
	}
	b := make([]byte, f.size)
	_, err := f.ReadAt(b, 0)
	return b, err
}
