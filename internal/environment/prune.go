package environment

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pyro/api"
)

// The types of [api.PrunedItem].
const (
	prunedImage       = "image"
	prunedEnvironment = "environment"
	prunedBlob        = "blob"
	prunedTemporary   = "temporary"
)

// Prune frees the cache of downloads, of images that no environment is and no
// sandbox uses, and of what killed processes left; with all, of every
// environment that no sandbox uses as well. It waits for pulls to end. What it
// could not remove is no error; what it removed is told even with an error.
func (m *Manager) Prune(ctx context.Context, all bool) (api.PruneResult, error) {
	res := api.PruneResult{Removed: []api.PrunedItem{}}
	store, err := m.cache.lock(ctx, storeKey, exclusive, nil)
	if err != nil {
		return res, err
	}
	defer store.Unlock()
	p := &pruner{m: m, res: &res}
	steps := []func() error{p.images, p.kernels, p.blobs, p.temporary}
	if all {
		steps = append([]func() error{p.environments, p.kernelRecords}, steps...)
	}
	for _, step := range steps {
		if ctx.Err() != nil {
			return res, canceled(ctx)
		}
		if err := step(); err != nil {
			return res, storageError(m.cache.dir, err)
		}
	}
	return res, nil
}

type pruner struct {
	m   *Manager
	res *api.PruneResult
}

func (p *pruner) add(kind, name string, bytes int64) {
	p.res.Removed = append(p.res.Removed, api.PrunedItem{Type: kind, Name: name, Bytes: bytes})
	p.res.BytesFreed += bytes
}

// environments removes the records whose image nobody uses.
func (p *pruner) environments() error {
	c := p.m.cache
	files, err := os.ReadDir(c.envs())
	if err != nil {
		return err
	}
	for _, f := range files {
		r, err := c.readRecordFile(f.Name())
		name := f.Name()
		if err == nil {
			name = r.Name
			lock, err := c.tryLock(imageKey(r.Image), exclusive)
			if err != nil {
				return err
			}
			if lock == nil {
				continue // in use
			}
			lock.Unlock()
		}
		path := filepath.Join(c.envs(), f.Name())
		size := diskUsage(path)
		if err := os.Remove(path); err != nil {
			return err
		}
		p.add(prunedEnvironment, name, size)
	}
	return syncDir(c.envs())
}

// images removes the images that no record names.
func (p *pruner) images() error {
	c := p.m.cache
	used, err := c.referenced()
	if err != nil {
		return err
	}
	dirs, err := os.ReadDir(c.images())
	if err != nil {
		return err
	}
	for _, d := range dirs {
		digest := "sha256:" + d.Name()
		if used[digest] {
			continue
		}
		if !imageDigest.MatchString(digest) {
			continue // not ours
		}
		size, err := c.deleteImage(digest)
		if err != nil {
			return err
		}
		if size >= 0 {
			p.add(prunedImage, digest, size)
		}
	}
	return nil
}

// deleteImage deletes an image that no record names, unless somebody uses it:
// then it returns -1. The image disappears at once, by a rename.
func (c *cache) deleteImage(digest string) (int64, error) {
	lock, err := c.tryLock(imageKey(digest), exclusive)
	if lock == nil || err != nil {
		return -1, err
	}
	defer lock.Unlock()
	j, err := c.newJob()
	if err != nil {
		return -1, err
	}
	defer j.end()
	size := diskUsage(c.image(digest))
	err = os.Rename(c.image(digest), j.path("image"))
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	return size, syncDir(c.images())
}

// blobs removes all downloads, and the indexes that are only a cache of them.
func (p *pruner) blobs() error {
	c := p.m.cache
	files, err := os.ReadDir(c.blobs())
	if err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(c.blobs(), f.Name())
		size := diskUsage(path)
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		name := "sha256:" + f.Name()
		if strings.HasSuffix(name, partSuffix) {
			name = strings.TrimSuffix(name, partSuffix) + " (incomplete)"
		}
		p.add(prunedBlob, name, size)
	}
	return nil
}

func (p *pruner) temporary() error {
	for _, l := range p.m.cache.sweep() {
		p.add(prunedTemporary, filepath.Base(l.path), l.bytes)
	}
	return nil
}

// Remove makes an environment not installed, and deletes its image if no other
// environment is the same. It refuses while a sandbox uses the image.
func (m *Manager) Remove(ctx context.Context, name string) error {
	t, err := m.lookup(name)
	if err != nil {
		return err
	}
	return m.alone(ctx, t.name, newReporter(t.name, nil), func() error {
		rec, err := m.cache.readRecord(t.name, m.arch)
		if errors.Is(err, fs.ErrNotExist) {
			return m.notUsable(t, err)
		}
		if rec != nil {
			lock, err := m.cache.tryLock(imageKey(rec.Image), exclusive)
			if err != nil {
				return err
			}
			if lock == nil {
				return api.Errorf(api.KindConflict, "environment %s is in use by a sandbox", t.name).
					WithHint("delete the workspaces that use it first: pyro workspace list")
			}
			lock.Unlock()
		}
		if err := os.Remove(m.cache.record(t.name, m.arch)); err != nil {
			return storageError(m.cache.dir, err)
		}
		if rec == nil {
			return nil
		}
		used, err := m.cache.referenced()
		if err == nil && !used[rec.Image] {
			_, err = m.cache.deleteImage(rec.Image)
		}
		return storageError(m.cache.dir, err)
	})
}
