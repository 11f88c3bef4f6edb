package environment

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"pyro/api"
	"pyro/internal/erofs"
	"pyro/internal/tree"
)

// rootfs is a finished root file system on its way into the cache.
type rootfs struct {
	tree    *tree.Tree
	modTime time.Time // build time of the image, latest time of anything in it
	meta    Meta      // what only the source knows; the rest is filled in
	release func()    // frees what tree reads from, may be nil
}

func (r *rootfs) close() {
	r.tree.Close()
	if r.release != nil {
		r.release()
	}
}

// install writes the image of a root file system, and then the record that makes
// name an installed environment. The caller holds the store and the env lock.
func (m *Manager) install(ctx context.Context, j *job, t *target, r *rootfs, report *reporter) error {
	report.begin(phaseImage, "")
	meta, err := m.writeImage(ctx, j, r, report)
	if err != nil {
		return err
	}
	if err := m.publish(j, meta); err != nil {
		return err
	}
	record := Record{
		Format: formatVersion, Name: t.name, Arch: m.arch, Image: meta.Digest,
		Source: meta.Source, Installed: time.Now().UTC().Truncate(time.Second),
	}
	if t.entry != nil {
		record.Version, record.Description = t.entry.Version, t.entry.Description
	}
	return writeJSON(j.dir, m.cache.record(t.name, m.arch), record)
}

// writeImage writes rootfs.erofs and meta.json into the folder "image" of a job.
func (m *Manager) writeImage(ctx context.Context, j *job, r *rootfs, report *reporter) (*Meta, error) {
	dir := j.path("image")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, imageFile)
	total := r.tree.Stat().Bytes
	digest, size, err := writeErofs(ctx, path, r.tree, r.modTime, func(done int64) {
		report.step(phaseImage, min(done, total), total, "bytes", "")
	})
	if err != nil {
		return nil, err
	}
	// A time of whole seconds survives being cached and restored as a tar.
	stamp := time.Unix(max(r.modTime.Unix(), 0), 0).UTC()
	if err := errors.Join(os.Chtimes(path, stamp, stamp), os.Chmod(path, 0o444)); err != nil {
		return nil, err
	}
	st, err := os.Stat(path) // the file system may not know that year
	if err != nil {
		return nil, err
	}
	meta := r.meta
	meta.Format, meta.Digest, meta.SizeBytes, meta.ModTime = formatVersion, digest, size, st.ModTime().UTC()
	meta.Arch, meta.Builder, meta.Created = m.arch, builderFormat, time.Now().UTC().Truncate(time.Second)
	if err := writeJSON(j.dir, filepath.Join(dir, metaFile), meta); err != nil {
		return nil, err
	}
	return &meta, nil
}

// writeErofs writes an image file, synced, and hashes it on the way.
func writeErofs(ctx context.Context, path string, t *tree.Tree, modTime time.Time, progress func(int64)) (digest string, size int64, err error) {
	h := sha256.New()
	size, err = writeFile(path, func(f *os.File) (int64, error) {
		w := &progressWriter{w: &ctxWriter{ctx, io.MultiWriter(f, h)}, report: progress}
		n, err := erofs.Write(w, t, erofs.WriteOptions{ModTime: modTime})
		if err == nil {
			err = f.Sync()
		}
		return n, err
	})
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), size, err
}

// writeStage writes an image file that is used once and by this process only.
func writeStage(ctx context.Context, path string, t *tree.Tree) (int64, error) {
	return writeFile(path, func(f *os.File) (int64, error) {
		return erofs.Write(&ctxWriter{ctx, f}, t, erofs.WriteOptions{})
	})
}

func writeFile(path string, write func(*os.File) (int64, error)) (int64, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := write(f)
	return n, errors.Join(err, f.Close())
}

type progressWriter struct {
	w      io.Writer
	n      int64
	report func(int64)
}

func (p *progressWriter) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.n += int64(n)
	p.report(p.n)
	return n, err
}

// publish moves a finished image to its place. If an image of that digest is
// there already, its two files are replaced one by one: sandboxes that use the
// old file keep it, whole or damaged as it is.
func (m *Manager) publish(j *job, meta *Meta) error {
	from, to := j.path("image"), m.cache.image(meta.Digest)
	if err := syncDir(from); err != nil {
		return err
	}
	err := os.Rename(from, to)
	if errors.Is(err, fs.ErrExist) { // also says "not empty"
		for _, name := range []string{imageFile, metaFile} {
			if err := os.Rename(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
				return err
			}
		}
		err = syncDir(to)
	}
	if err != nil {
		return err
	}
	return syncDir(m.cache.images())
}

// recipeDigest identifies a build: what was asked for, with which builder, and
// the exact packages that came of it.
func recipeDigest(r *Recipe, arch string, lock []api.Package) string {
	data, err := json.Marshal(struct {
		Builder int
		Arch    string
		Recipe  *Recipe
		Lock    []api.Package
	}{builderFormat, arch, r.normalised(), lock})
	if err != nil {
		panic(err) // strings only
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// builderFormat is raised when the same packages would give another image.
const builderFormat = 1

// loadErofs reads an image into a new tree. The data stays in r.
func loadErofs(r io.ReaderAt, size int64, spoolDir string) (*tree.Tree, error) {
	img, err := erofs.Open(r, size)
	if err != nil {
		return nil, err
	}
	t, err := tree.New(spoolDir)
	if err != nil {
		return nil, err
	}
	if err := img.Load(t); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}
