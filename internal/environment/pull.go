package environment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"pyro/api"
	"pyro/internal/oci"
	"pyro/internal/tree"
)

// Pull makes sure that an environment is installed and whole. An installed one
// is read and compared with its digest, without any network; if it is damaged,
// or not installed, it is made. Two pulls of one environment at once, of whatever
// processes, do the work once: the second waits and says so (phase "wait").
func (m *Manager) Pull(ctx context.Context, name string, progress ProgressFunc) (api.Environment, error) {
	if e := builtin().findKernel(name); e != nil {
		return m.pullKernel(ctx, e, progress)
	}
	t, err := m.lookup(name)
	if err != nil {
		return api.Environment{}, err
	}
	if t.entry != nil {
		if err := t.entry.supports(m.arch); err != nil {
			return api.Environment{}, err
		}
	}
	report := newReporter(t.name, progress)
	report.begin(phaseInstall, "")
	return m.installing(ctx, t.name, report, func() error { return m.pull(ctx, t, report) })
}

// installing runs f alone and describes the environment that came of it.
func (m *Manager) installing(ctx context.Context, name string, report *reporter, f func() error) (env api.Environment, err error) {
	// The process lives on, and a build leaves hundreds of megabytes of garbage.
	defer debug.FreeOSMemory()
	err = m.alone(ctx, name, report, func() error {
		if err := f(); err != nil {
			return err
		}
		rec, err := m.cache.readRecord(name, m.arch)
		if err != nil {
			return storageError(m.cache.dir, err)
		}
		env = m.describe(rec)
		return nil
	})
	if err == nil {
		report.begin(phaseReady, "")
	}
	return env, err
}

// alone runs f while nobody else, here or in another process, installs that
// environment or prunes the cache.
func (m *Manager) alone(ctx context.Context, name string, report *reporter, f func() error) error {
	store, err := m.cache.lock(ctx, storeKey, shared, func() {
		report.begin(phaseWait, "waiting for a prune of the cache to end")
	})
	if err != nil {
		return err
	}
	defer store.Unlock()
	env, err := m.cache.lock(ctx, envKey(name, m.arch), exclusive, func() {
		report.begin(phaseWait, fmt.Sprintf("another pull of %s is running, waiting for it", name))
	})
	if err != nil {
		return err
	}
	defer env.Unlock()
	return f()
}

// pull is Pull under the locks.
func (m *Manager) pull(ctx context.Context, t *target, report *reporter) error {
	whole, err := m.verifyInstalled(ctx, t.name)
	if whole || err != nil {
		return err
	}
	if t.entry == nil && t.ref == nil {
		return api.Errorf(api.KindVerification, "environment %s is damaged and was imported, so there is nowhere to pull it from", t.name).
			WithHint("remove it and import it again: pyro env import %s SOURCE", t.name)
	}
	if err := m.online(t.pullName()); err != nil {
		return err
	}
	for _, l := range m.cache.sweep() {
		m.log.Info("removed what a killed process left", "path", l.path, "bytes", l.bytes)
	}
	return m.make(ctx, t, report, func(ctx context.Context, j *job) (*rootfs, error) {
		return m.source(ctx, j, t, report)
	})
}

// make gets a root file system from source and installs it as t. The caller
// holds the locks of alone.
func (m *Manager) make(ctx context.Context, t *target, report *reporter, source func(context.Context, *job) (*rootfs, error)) error {
	need := int64(64 << 20)
	if t.entry != nil {
		need = max(need, 2*t.entry.ImageBytes) // the image, and the spool it is written from
	}
	if err := m.checkRoom(t.name, need); err != nil {
		return err
	}
	j, err := m.cache.newJob()
	if err != nil {
		return m.installError(ctx, t.name, need, err)
	}
	defer j.end()
	j.need = need
	r, err := source(ctx, j)
	if err != nil {
		return m.installError(ctx, t.name, j.need, err)
	}
	defer r.close()
	j.need = max(j.need, 2*r.tree.Stat().Bytes)
	return m.installError(ctx, t.name, j.need, m.install(ctx, j, t, r, report))
}

// verifyInstalled reads the image of an installed environment. It reports false
// when the environment is not installed, or not whole and to be made again.
func (m *Manager) verifyInstalled(ctx context.Context, name string) (bool, error) {
	rec, err := m.cache.readRecord(name, m.arch)
	if err == nil {
		err = m.verifyImage(ctx, rec.Image)
	}
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, api.Errorf(api.KindCanceled, "environment %s: stopped: %w", name, context.Cause(ctx))
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, errDamaged):
		m.log.Warn("environment is damaged and will be made again", "environment", name, "reason", err)
		return false, nil
	}
	return false, storageError(m.cache.dir, err)
}

// verifyImage reads a whole image. errDamaged or fs.ErrNotExist say that it must
// be made again.
func (m *Manager) verifyImage(ctx context.Context, digest string) error {
	if _, err := m.cache.readMeta(digest); err != nil {
		return err
	}
	path := filepath.Join(m.cache.image(digest), imageFile)
	got, err := hashFile(ctx, path)
	if err != nil {
		return err
	}
	if got != digest {
		return fmt.Errorf("%s is %w: its SHA-256 is %s", path, errDamaged, got)
	}
	return nil
}

// online refuses what needs the network when it may not be used.
func (m *Manager) online(name string) error {
	if !m.offline {
		return nil
	}
	return api.Errorf(api.KindNotInstalled, "environment %s is not installed, and pyro is offline", name).
		WithHint("unset PYRO_OFFLINE and run: pyro env pull %s, or bring it here with: pyro env import", name)
}

// source gets the root file system of a target: from its registry if it has one
// that answers, by its recipe otherwise.
func (m *Manager) source(ctx context.Context, j *job, t *target, report *reporter) (*rootfs, error) {
	switch {
	case t.ref != nil:
		return m.pullImage(ctx, j, *t.ref, report)
	case t.entry.OCI != nil:
		ref, err := t.entry.OCI.reference()
		if err != nil {
			return nil, err
		}
		r, err := m.pullImage(ctx, j, ref, report)
		if t.entry.Recipe == nil || api.KindOf(err) != api.KindNetwork {
			return r, err
		}
		report.begin(phaseResolve, fmt.Sprintf("building from packages instead: %v", err))
	}
	return m.build(ctx, j, t.entry, report)
}

// pullImage gets an image from a registry.
func (m *Manager) pullImage(ctx context.Context, j *job, ref oci.Reference, report *reporter) (*rootfs, error) {
	report.begin(phaseResolve, ref.String())
	img, err := m.registry().Resolve(ctx, ref, m.platform())
	if err != nil {
		return nil, err
	}
	if err := m.checkRoom(report.name, 2*img.Size()); err != nil { // the layers, and at least as much again
		return nil, err
	}
	j.need = max(j.need, 5*img.Size()) // with usual compression: the layers, the spool and the image
	if err := img.Fetch(ctx, report.bytes(phaseDownload)); err != nil {
		return nil, err
	}
	return m.flatten(ctx, j, img, Source{Kind: FromOCI, Location: ref.String(), Digest: img.Digest}, report)
}

// flatten makes a root file system of an image's layers.
func (m *Manager) flatten(ctx context.Context, j *job, img *oci.Image, from Source, report *reporter) (*rootfs, error) {
	t, err := tree.New(j.dir)
	if err != nil {
		return nil, err
	}
	whiteouts := tree.WhiteoutsOCI
	if img.Digest == "" && len(img.Layers) == 1 && img.Layers[0].DiffID == "" {
		whiteouts = tree.WhiteoutsNone // a plain root file system has no layers below
	}
	err = img.Flatten(ctx, func(layer string, r io.Reader) error {
		return t.ApplyTar(r, tree.ApplyOptions{Name: layer, Whiteouts: whiteouts})
	}, report.bytes(phaseUnpack))
	if err != nil {
		t.Close()
		return nil, err
	}
	return &rootfs{tree: t, modTime: knownTime(img.Config.Created), meta: Meta{Source: from, Config: img.Config}}, nil
}

// openImage opens an image of the cache as a tree whose data stays in the image.
func (m *Manager) openImage(digest, spoolDir string) (_ *tree.Tree, release func(), err error) {
	f, err := os.Open(filepath.Join(m.cache.image(digest), imageFile))
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	t, err := loadErofs(f, st.Size(), spoolDir)
	return t, func() { f.Close() }, err
}
