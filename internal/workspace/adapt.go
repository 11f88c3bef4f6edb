package workspace

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"pyro/api"
	agentlayer "pyro/internal/agent/layer"
	"pyro/internal/erofs"
	"pyro/internal/runtime"
	"pyro/internal/tree"
)

// adapt turns a disk that the driver does not take, since another one or another
// version of it wrote it, into what any takes: the layer of the root as a tar, that
// of /workspace in an image. Both are in dir, which is "" if nothing had to be done.
func (m *Manager) adapt(ctx context.Context, in *instance, driver runtime.Driver, st state, spec *runtime.Spec) (dir string, err error) {
	if st.disk == "" {
		return "", nil
	}
	disk, err := st.open()
	if err != nil {
		return "", err
	}
	defer disk.Close()
	if st.driver.Name() == driver.Name() && disk.Starts() {
		return "", nil
	}
	m.log.Info("a saved disk is converted", "workspace", in.id, "disk", st.disk, "from", st.driver.Name(), "to", driver.Name())
	made, err := in.newTemp()
	if err != nil {
		return "", err
	}
	defer func() {
		if err == nil {
			return
		}
		m.removeAll(made)
		if api.KindOf(err) == api.KindDiskLimit && st.driver.Name() == driver.Name() && in.currentLife() == nil { // no command can run to change it
			err = api.AsError(err).WithHint("take out what you need, then go back to another state: pyro workspace export %s . --output DIR; pyro workspace reset %s", in.id, in.id)
		}
	}()
	spec.Disk, spec.Layer, spec.Workspace = "", filepath.Join(made, "root.tar"), filepath.Join(made, ownBase)
	if err := in.writeLayer(ctx, disk, spec.Layer); err != nil {
		return "", err
	}
	if err := m.hit("adapt"); err != nil {
		return "", err
	}
	nodes := driver.Name() == st.driver.Name() || driver.Features().ImageDevices // what is of the same runtime has to go on
	if err := in.mergeBase(ctx, st, nodes, spec.Workspace); err != nil {
		return "", err
	}
	return made, m.hit("adapt-written")
}

// keepAdapted saves what a machine begins with that was made by adapt, so that
// the record names a disk that fits it from its first moment on.
func (m *Manager) keepAdapted(ctx context.Context, in *instance, l *life) error {
	if err := in.lock(ctx, in.disk); err != nil {
		return err
	}
	defer in.disk.unlock()
	id, _, err := m.keep(ctx, in, l)
	if err != nil {
		return err
	}
	l.disk = id
	in.rebase(l, id)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.coming = id
	return nil
}

// diskBytes is the limit of each of the layers.
func (in *instance) diskBytes() int64 { return int64(in.record().DiskMiB) << 20 }

// tooLong is the error of a layer whose files are longer than its limit together:
// what they do not take on the disk are holes, which would be written out.
func (in *instance) tooLong(path string, size int64) error {
	mib := in.record().DiskMiB
	return api.Errorf(api.KindDiskLimit, "%s cannot be converted: with their holes the files in it are longer than its disk limit of %d MiB, %s alone is %d MiB", in.what(), mib, validText(path), size>>20).
		WithHint("delete or shorten such files and take another snapshot; find them with: pyro workspace exec %s -- find / %s -xdev -type f -size +%dM", in.id, api.WorkspacePath, mib/2)
}

// writeLayer writes the layer of the root as a tar, with holes where it has zeros.
func (in *instance) writeLayer(ctx context.Context, disk runtime.Disk, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return storageError(in.what(), err)
	}
	defer f.Close()
	r, w := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		w.CloseWithError(disk.WriteLayer(ctx, runtime.RootMount, w))
	}()
	out := newSparseFile(ctx, f)
	err = in.checkLayer(io.TeeReader(r, out))
	r.CloseWithError(err)
	<-written
	if err == nil {
		err = out.end()
	}
	return storageErrorOrNil(in.what(), err)
}

// checkLayer reads a layer to its end, and no further than its limit.
func (in *instance) checkLayer(r io.Reader) error {
	left := in.diskBytes()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		switch {
		case errors.Is(err, io.EOF):
			_, err := io.Copy(io.Discard, r) // what pads it
			return err
		case errors.Is(err, tar.ErrHeader), errors.Is(err, io.ErrUnexpectedEOF):
			return api.Errorf(api.KindVerification, "a saved disk of %s is damaged: its layer is no tar: %w", in.what(), err)
		case err != nil:
			return err
		}
		if left -= h.Size; left < 0 {
			return in.tooLong("/"+h.Name, h.Size)
		}
	}
}

// sparseFile is a file with holes for zeros, that is written until its context is
// done.
type sparseFile struct {
	ctx context.Context
	f   *os.File
	agentlayer.Zeros
}

func newSparseFile(ctx context.Context, f *os.File) *sparseFile {
	skip := func(n int64) error { _, err := f.Seek(n, io.SeekCurrent); return err }
	return &sparseFile{ctx, f, agentlayer.Zeros{W: f, Skip: skip}}
}

func (s *sparseFile) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.Zeros.Write(p)
}

// end gives the file its size, which a hole at its end has not.
func (s *sparseFile) end() error {
	size, err := s.f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	return s.f.Truncate(size)
}

// mergeBase writes what /workspace is in a state as an image. It may hold device
// nodes only if nodes says so.
func (in *instance) mergeBase(ctx context.Context, st state, nodes bool, path string) error {
	v, err := in.view(ctx, st)
	if err != nil {
		return err
	}
	defer v.Close()
	if err := in.checkView(v, nodes); err != nil {
		return err
	}
	return v.writeImage(ctx, path)
}

// checkView is checkLayer for /workspace: what is not of its image.
func (in *instance) checkView(v *view, nodes bool) error {
	left := in.diskBytes()
	seen := map[*tree.Node]bool{} // by hard links
	return v.tree.Walk(func(path string, n *tree.Node) error {
		if (n.Type == tree.CharDevice || n.Type == tree.BlockDevice) && !nodes {
			return api.Errorf(api.KindUnsupported, "%s cannot change its runtime: %s is a %s, which would be lost", in.what(), validText(path), n.Type).
				WithHint("delete it and take another snapshot, or keep it outside of %s", api.WorkspacePath)
		}
		from, _ := n.Data()
		if n.Type != tree.Regular || from == v.image.Data || seen[n] {
			return nil
		}
		seen[n] = true
		if left -= n.Size; left < 0 {
			return in.tooLong(path, n.Size)
		}
		return nil
	})
}

// writeImage writes the view's /workspace as an image, with holes where it has zeros.
func (v *view) writeImage(ctx context.Context, path string) error {
	sub, err := v.tree.Sub(api.WorkspacePath)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return storageError("image "+path, err)
	}
	defer f.Close()
	out := newSparseFile(ctx, f)
	if _, err := erofs.Write(out, sub, erofs.WriteOptions{}); err != nil {
		return err
	}
	return storageErrorOrNil("image "+path, out.end()) // describe syncs it
}
