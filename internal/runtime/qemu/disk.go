package qemu

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"

	"pyro/api"
	"pyro/internal/holes"
	"pyro/internal/runtime"
	"pyro/internal/tree"
)

var _ runtime.DiskReader = (*Driver)(nil)

// OpenDisk implements runtime.DiskReader.
func (d *Driver) OpenDisk(dir string) (runtime.Disk, error) { return openDisk(dir) }

// disk is a saved disk. It implements runtime.Disk.
type disk struct {
	dir   string
	sizes map[string]int64
	files map[string]*os.File
}

// maxDiskFile bounds layers.json.
const maxDiskFile = 4 << 10

func openDisk(dir string) (*disk, error) {
	damaged := func(err error) error {
		return api.Errorf(api.KindVerification, "disk snapshot %s cannot be read: %w", dir, err)
	}
	d := &disk{dir: dir, files: map[string]*os.File{}}
	f, err := os.Open(filepath.Join(dir, diskFileName))
	if err != nil {
		return nil, damaged(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxDiskFile))
	if err != nil {
		return nil, damaged(err)
	}
	if d.sizes, err = parseDisk(b); err != nil {
		return nil, damaged(err)
	}
	for mount, size := range d.sizes {
		layer, err := os.Open(filepath.Join(dir, layerFile(mount)))
		if err == nil {
			d.files[mount] = layer
			var st os.FileInfo
			if st, err = layer.Stat(); err == nil && st.Size() != size {
				err = errors.New(layerFile(mount) + " has the wrong size")
			}
		}
		if err != nil {
			d.Close()
			return nil, damaged(err)
		}
	}
	return d, nil
}

// parseDisk reads layers.json.
func parseDisk(b []byte) (map[string]int64, error) {
	var s savedDisk
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return nil, err
	}
	if s.Format != diskFormat && s.Format != diskFormatPlain {
		return nil, errors.New("its format is not known")
	}
	for mount, size := range s.Sizes {
		if mount != runtime.RootMount && mount != runtime.WorkspaceMount || size <= 0 {
			return nil, errors.New("its layers make no sense")
		}
	}
	return s.Sizes, nil
}

// Starts implements runtime.Disk: a tar is what any version takes.
func (d *disk) Starts() bool { return true }

func (d *disk) layer(mount string) (*os.File, error) {
	f := d.files[mount]
	if f == nil {
		return nil, api.Errorf(api.KindVerification, "disk snapshot %s has no layer of %s", d.dir, mount)
	}
	return f, nil
}

// Apply implements runtime.Disk: the root of t is the mount point. No byte is copied: files stay in the tar.
func (d *disk) Apply(ctx context.Context, mount string, t *tree.Tree) error {
	f, err := d.layer(mount)
	if err != nil {
		return err
	}
	at := &reader{ctx, io.NewSectionReader(f, 0, d.sizes[mount])}
	left := maxPieces
	return t.ApplyTar(at, tree.ApplyOptions{
		Name: "disk snapshot " + d.dir, Whiteouts: tree.WhiteoutsOverlay, Limits: tree.Limits{Bytes: math.MaxInt64},
		Data: func(h *tar.Header, payload io.Reader) (io.ReaderAt, int64, int64, error) {
			m, sparse, err := holes.Read(h, payload, left)
			if err != nil {
				return nil, 0, 0, err
			}
			here, err := at.Seek(0, io.SeekCurrent)
			if !sparse || err != nil {
				return f, here, h.Size, err
			}
			left -= len(m.Pieces)
			return holes.NewFile(m, f, here), 0, m.Size, nil
		},
	})
}

// maxPieces bounds the pieces of files that are kept in memory for one layer, at 24
// bytes each.
const maxPieces = holes.MaxPieces

// reader reads a layer until its context is done.
type reader struct {
	ctx context.Context
	*io.SectionReader
}

func (r *reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.SectionReader.Read(b)
}

// WriteLayer implements runtime.Disk.
func (d *disk) WriteLayer(ctx context.Context, mount string, w io.Writer) error {
	f, err := d.layer(mount)
	if err != nil {
		return err
	}
	return plain("disk snapshot "+d.dir, &reader{ctx, io.NewSectionReader(f, 0, d.sizes[mount])}, w)
}

// Close implements runtime.Disk.
func (d *disk) Close() error {
	var errs []error
	for _, f := range d.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
