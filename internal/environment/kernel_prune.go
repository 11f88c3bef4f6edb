package environment

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// prunedKernel is the type of a kernel in [api.PrunedItem].
const prunedKernel = "kernel"

// kernelRecords removes the records of kernels that no machine boots just now.
// A running machine has its kernel in memory and needs the file no more.
func (p *pruner) kernelRecords() error {
	c := p.m.cache
	files, err := filepath.Glob(c.path("kernels", "*.json"))
	if err != nil {
		return err
	}
	for _, path := range files {
		size := diskUsage(path)
		if err := os.Remove(path); err != nil {
			return err
		}
		p.add(prunedKernel, strings.TrimSuffix(filepath.Base(path), ".json"), size)
	}
	return nil
}

// kernels removes the kernels that no record names and nobody holds.
func (p *pruner) kernels() error {
	c := p.m.cache
	used := map[string]bool{}
	files, err := filepath.Glob(c.path("kernels", "*.json"))
	if err != nil {
		return err
	}
	for _, path := range files {
		var r struct {
			Digest string `json:"digest"`
		}
		if data, err := readSmall(path, maxRecordFile); err == nil && json.Unmarshal(data, &r) == nil {
			used[r.Digest] = true
		}
	}
	dirs, err := os.ReadDir(c.kernels())
	if err != nil {
		return err
	}
	for _, d := range dirs {
		digest := "sha256:" + d.Name()
		if used[digest] || !imageDigest.MatchString(digest) {
			continue
		}
		if err := p.deleteKernel(digest); err != nil {
			return err
		}
	}
	return nil
}

func (p *pruner) deleteKernel(digest string) error {
	c := p.m.cache
	lock, err := c.tryLock(kernelKey(digest), exclusive)
	if lock == nil || err != nil {
		return err
	}
	defer lock.Unlock()
	j, err := c.newJob()
	if err != nil {
		return err
	}
	defer j.end()
	size := diskUsage(c.kernel(digest))
	err = os.Rename(c.kernel(digest), j.path("kernel"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	p.add(prunedKernel, digest, size)
	return syncDir(c.kernels())
}
