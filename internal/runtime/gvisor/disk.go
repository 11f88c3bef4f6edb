package gvisor

import (
	"context"
	"io"
	"math"

	"gvisor.dev/gvisor/runsc/version"

	"pyro/internal/runtime"
	"pyro/internal/runtime/gvisor/fscheckpoint"
	"pyro/internal/tree"
)

var _ runtime.DiskReader = (*Driver)(nil)

// OpenDisk implements runtime.DiskReader.
func (d *Driver) OpenDisk(dir string) (runtime.Disk, error) {
	c, err := fscheckpoint.Open(dir)
	if err != nil {
		return nil, err
	}
	return disk{c}, nil
}

// disk is a saved disk. It implements runtime.Disk.
type disk struct{ *fscheckpoint.Checkpoint }

// Starts implements runtime.Disk. gVisor promises that a checkpoint can be
// restored by the version that wrote it, and by no other.
func (d disk) Starts() bool { return d.Version() == version.Version() }

// Apply implements runtime.Disk. No byte is copied, so that sparse files may be
// as large as they say; those who read bound what they read.
func (d disk) Apply(ctx context.Context, mount string, t *tree.Tree) error {
	return d.Checkpoint.Apply(ctx, mount, t, tree.Limits{Bytes: math.MaxInt64})
}

// WriteLayer implements runtime.Disk.
func (d disk) WriteLayer(ctx context.Context, mount string, w io.Writer) error {
	return d.Checkpoint.WriteLayer(ctx, mount, w)
}
