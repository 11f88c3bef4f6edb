package fscheckpoint

import (
	"archive/tar"
	"cmp"
	"context"
	"io"

	"pyro/api"
	"pyro/internal/tree"
)

// DefaultBytes is what stands for a zero Limits.Bytes in this package: 16 GiB of
// file data in a layer. Holes count as what they are read as, so this bounds the
// work of whoever reads the files; a layer as such takes no room beyond its disk
// limit.
const DefaultBytes = 16 << 30

// Access control lists, which gVisor writes in a form of its own.
const (
	accessACL  = "SCHILY.xattr.system.posix_acl_access"
	defaultACL = "SCHILY.xattr.system.posix_acl_default"
)

// Apply lays the saved layer of the mount over what t holds, which is what the
// mount's image holds: the root of t is the mount point. Deleted files are gone
// afterwards, replaced folders hold nothing of the image.
//
// The bytes of files stay in the checkpoint: t can be read until it is closed.
// Access control lists are left out.
//
// A layer that is damaged is an error of kind verification; one that holds more
// than the limits or what no tree can hold, of kind unsafe_content. After an error
// t is only good for Close.
func (c *Checkpoint) Apply(ctx context.Context, mount string, t *tree.Tree, o tree.Limits) error {
	l, err := c.layer(mount)
	if err != nil {
		return err
	}
	o.Bytes = cmp.Or(o.Bytes, DefaultBytes)
	a := c.archive(ctx, l)
	d := &decoder{memory: l.memory, left: maxSegments}
	err = t.ApplyTar(a, tree.ApplyOptions{
		Name:      l.name,
		Whiteouts: tree.WhiteoutsOverlay,
		Limits:    o,
		Visit: func(_ string, h *tar.Header) {
			delete(h.PAXRecords, accessACL)
			delete(h.PAXRecords, defaultACL)
		},
		Data: func(h *tar.Header, payload io.Reader) (io.ReaderAt, int64, int64, error) {
			src, off, size, err := d.decode(h, payload)
			if err != nil {
				err = lies(err)
			}
			return src, off, size, err
		},
	})
	if err != nil {
		return unreadable(err)
	}
	return a.finished(l)
}

// lies gives an error of the decoder its kind. Errors of files have theirs.
func lies(err error) error {
	if e := api.AsError(err); e.Kind != api.KindInternal {
		return err
	}
	return damaged("its list of segments", "%w", err)
}

// unreadable changes the hint of an error of package tree, which thinks of
// archives that somebody got from somewhere.
func unreadable(err error) error {
	e := api.AsError(err)
	if e.Kind == api.KindUnsafe {
		return e.WithHint("the sandbox holds files that pyro does not read on the host: use the sandbox itself, or another snapshot")
	}
	return e
}
