package environment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pyro/api"
	"pyro/internal/debian"
	"pyro/internal/oci"
)

// Image is an image in use. As long as it is held, nobody deletes it.
type Image struct {
	// Path is the EROFS file, to be opened read-only.
	Path string
	// Digest is its SHA-256, "sha256:HEX".
	Digest    string
	SizeBytes int64
	// Config says how the image's author meant processes to start. It is empty
	// for images built from packages.
	Config oci.Config
	// AptSources is a sources.list(5) with which apt finds the archive that the
	// image was built from, at the mirror that is used now. Images hold none, so
	// that they are the same whatever the mirror; it is empty for images that were
	// not built from packages.
	AptSources string

	lock *held
	once sync.Once
}

// Release ends the use. It may be called more than once.
func (i *Image) Release() { i.once.Do(i.lock.Unlock) }

// Acquire returns the image of an installed environment for use. It never
// touches the network: an environment that is known but not installed is an
// error of KindNotInstalled. The file is compared with its size and time, not
// read; if they are wrong it is read, and if it is damaged the error is of
// KindVerification. A pull repairs that.
func (m *Manager) Acquire(ctx context.Context, name string) (*Image, error) {
	if builtin().findKernel(name) != nil {
		return nil, api.Errorf(api.KindUsage, "%s is a kernel, and no environment that a sandbox could start from", name).
			WithHint("choose an environment: pyro env list")
	}
	t, err := m.lookup(name)
	if err != nil {
		return nil, err
	}
	// A pull or a prune may replace what the record names between two steps
	// here. Then the record has changed too, and is read again.
	for {
		rec, err := m.cache.readRecord(t.name, m.arch)
		if err != nil {
			return nil, m.notUsable(t, err)
		}
		img, err := m.AcquireDigest(ctx, rec.Image)
		if err == nil {
			return img, nil
		}
		if now, readErr := m.cache.readRecord(t.name, m.arch); readErr == nil && now.Image == rec.Image {
			return nil, m.notUsable(t, incomplete(rec, err))
		}
	}
}

// AcquireDigest is Acquire for an image whose digest is known, such as that of a
// sandbox which outlived the process that started it. An image that is not in
// the cache is an error of KindNotFound.
func (m *Manager) AcquireDigest(ctx context.Context, digest string) (*Image, error) {
	if !imageDigest.MatchString(digest) {
		return nil, api.Errorf(api.KindUsage, "image %q is not a sha256 digest", clip(digest))
	}
	lock, err := m.cache.lock(ctx, imageKey(digest), shared, nil)
	if err != nil {
		return nil, err
	}
	meta, err := m.cache.readMeta(digest)
	if err == nil {
		err = m.checkImage(ctx, meta)
	}
	if err != nil {
		lock.Unlock()
		return nil, imageError(digest, err)
	}
	return &Image{
		Path: filepath.Join(m.cache.image(digest), imageFile), Digest: digest,
		SizeBytes: meta.SizeBytes, Config: meta.Config, AptSources: m.aptSources(meta), lock: lock,
	}, nil
}

func (m *Manager) aptSources(meta *Meta) string {
	if meta.Source.Kind != FromDebian {
		return ""
	}
	var suites []string
	for _, r := range meta.Releases {
		suites = append(suites, r.Suite)
	}
	mirrors, err := debian.FindMirrors(os.DirFS("/"), m.getenv)
	if err != nil {
		return ""
	}
	return mirrors.SourcesList(suites)
}

// incomplete says that what is missing should be there, for there is a record of it.
func incomplete(rec *Record, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return api.Errorf(api.KindVerification, "its image %s is incomplete: %w", rec.Image, err)
	}
	return err
}

func imageError(digest string, err error) error {
	switch {
	case errors.Is(err, errDamaged):
		return api.Errorf(api.KindVerification, "image %s cannot be used: %w", digest, err)
	case errors.Is(err, fs.ErrNotExist):
		return api.Errorf(api.KindNotFound, "image %s is not in the cache: %w", digest, err)
	}
	return api.AsError(err)
}

// notUsable explains why an environment cannot be used and what helps.
func (m *Manager) notUsable(t *target, err error) error {
	kind := api.KindOf(err)
	switch {
	case errors.Is(err, errDamaged) || kind == api.KindVerification:
		return api.Errorf(api.KindVerification, "environment %s: %w", t.name, err).WithHint("pyro env pull %s", t.pullName())
	case errors.Is(err, fs.ErrNotExist) || kind == api.KindNotFound:
		return api.Errorf(api.KindNotInstalled, "environment %s is not installed", t.name).WithHint("pyro env pull %s", t.pullName())
	case kind == api.KindCanceled:
		return err
	}
	return storageError(m.cache.dir, err)
}

// checkImage compares the file with what meta says of it. A time that differs
// alone proves nothing (a cache that was copied has new times), so the file is
// read before it is called damaged.
func (m *Manager) checkImage(ctx context.Context, meta *Meta) error {
	path := filepath.Join(m.cache.image(meta.Digest), imageFile)
	st, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() || st.Size() != meta.SizeBytes {
		return fmt.Errorf("%s is %w: it has %d bytes and should have %d", path, errDamaged, st.Size(), meta.SizeBytes)
	}
	if st.ModTime().Equal(meta.ModTime) {
		return nil
	}
	got, err := hashFile(ctx, path)
	if err != nil {
		return err
	}
	if got != meta.Digest {
		return fmt.Errorf("%s is %w: somebody wrote to it at %s", path, errDamaged, st.ModTime().UTC().Format(time.RFC3339))
	}
	return os.Chtimes(path, meta.ModTime, meta.ModTime)
}
