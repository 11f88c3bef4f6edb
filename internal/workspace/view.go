package workspace

import (
	"context"
	"errors"
	"io"
	"os"

	"pyro/api"
	"pyro/internal/agent/unpack"
	"pyro/internal/erofs"
	"pyro/internal/runtime"
	"pyro/internal/seed"
	"pyro/internal/tree"
)

// view is a state's /workspace as a tree. File data stays where it is: in the
// base image and in the saved disk.
type view struct {
	tree    *tree.Tree
	image   seed.Image // what files that were never changed are read from
	closers []io.Closer
}

// sameData returns a function that knows of files that they have their bytes in
// the same place of the same image.
func sameData(before, after *view) func(a, b *tree.Node) bool {
	same := before.image.ID == after.image.ID
	return func(a, b *tree.Node) bool {
		from, at := a.Data()
		to, there := b.Data()
		return same && a.Size == b.Size && at == there && from != nil && from == before.image.Data && to == after.image.Data
	}
}

// Close releases the files of the view.
func (v *view) Close() error {
	var errs []error
	for i := len(v.closers) - 1; i >= 0; i-- {
		errs = append(errs, v.closers[i].Close())
	}
	return errors.Join(errs...)
}

// view reads a state. The tree holds one folder, /workspace.
func (in *instance) view(ctx context.Context, st state) (_ *view, err error) {
	v := &view{}
	defer func() {
		if err != nil {
			v.Close()
		}
	}()
	if v.tree, err = tree.New(in.tmp()); err != nil {
		return nil, err
	}
	v.closers = append(v.closers, v.tree)
	if err := v.tree.Put(api.WorkspacePath, &tree.Node{Type: tree.Dir, Mode: 0o755}, nil); err != nil {
		return nil, err
	}
	sub, err := v.tree.Sub(api.WorkspacePath)
	if err != nil {
		return nil, err
	}
	if err := v.loadBase(sub, st.base); err != nil {
		return nil, err
	}
	if st.disk == "" {
		return v, nil
	}
	disk, err := st.open()
	if err != nil {
		return nil, err
	}
	v.closers = append(v.closers, disk)
	if err := disk.Apply(ctx, runtime.WorkspaceMount, sub); err != nil {
		return nil, err
	}
	return v, hideStaging(sub)
}

// hideStaging takes out what the agent had unpacked of a push that was cut off;
// the next push removes it from the guest.
func hideStaging(sub *tree.Tree) error {
	for name := range sub.Root().Children() {
		if unpack.IsStaging(name) {
			if err := sub.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// open opens the saved disk for reading.
func (st state) open() (runtime.Disk, error) {
	reader, ok := st.driver.(runtime.DiskReader)
	if !ok {
		return nil, api.Errorf(api.KindUnsupported, "the runtime %s cannot read saved disks", st.driver.Name())
	}
	return reader.OpenDisk(st.disk)
}

func (v *view) loadBase(sub *tree.Tree, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return storageError("image "+path, err)
	}
	v.closers = append(v.closers, f)
	st, err := f.Stat()
	if err != nil {
		return storageError("image "+path, err)
	}
	image, err := erofs.Open(f, st.Size())
	if err != nil {
		return err
	}
	if v.image, err = imageOf(f); err != nil {
		return storageError("image "+path, err)
	}
	return image.Load(sub)
}

// closeFunc makes an io.Closer.
type closeFunc func()

func (f closeFunc) Close() error { f(); return nil }

// present reads what the machine's /workspace holds now. The caller holds in.disk.
func (m *Manager) present(ctx context.Context, in *instance, l *life) (*view, error) {
	dir, err := in.newTemp()
	if err != nil {
		return nil, err
	}
	gone := closeFunc(func() { m.removeAll(dir) })
	if err := l.machine.(runtime.DiskSaver).SaveDisk(ctx, dir, runtime.WorkspaceMount); err != nil {
		gone()
		return nil, l.orCause(err)
	}
	v, err := in.view(ctx, state{base: l.base(), disk: dir, driver: l.driver})
	if err != nil {
		gone()
		return nil, l.orCause(err)
	}
	v.closers = append([]io.Closer{gone}, v.closers...)
	return v, nil
}

// current is present for a workspace in any state: one that is stopped, or whose
// machine has just died, holds what it was saved with.
func (m *Manager) current(ctx context.Context, in *instance) (*view, error) {
	for {
		l := in.currentLife()
		if l == nil {
			v, err := m.stopped(ctx, in)
			if v == nil && err == nil {
				continue
			}
			return v, err
		}
		v, err := m.currentOf(ctx, in, l)
		if err == nil || !in.replaced(ctx, l) {
			return v, err
		}
	}
}

// stopped reads what a workspace without a machine holds, or returns nil if it
// has got one. Nobody starts or stops it meanwhile.
func (m *Manager) stopped(ctx context.Context, in *instance) (*view, error) {
	if err := in.lock(ctx, in.act); err != nil {
		return nil, err
	}
	defer in.act.unlock()
	if in.currentLife() != nil {
		return nil, nil
	}
	return m.viewOf(ctx, in, in.record().Disk)
}

func (m *Manager) currentOf(ctx context.Context, in *instance, l *life) (*view, error) {
	if err := in.lock(ctx, in.disk); err != nil {
		return nil, err
	}
	defer in.disk.unlock()
	return m.present(ctx, in, l)
}

// viewOf reads a saved disk, or the baseline if id is "".
func (m *Manager) viewOf(ctx context.Context, in *instance, id string) (*view, error) {
	st, err := m.stateOf(in, id)
	if err != nil {
		return nil, err
	}
	return in.view(ctx, st)
}
