package gvisor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"pyro/internal/erofs"
	"pyro/internal/tree"
)

// probeImage returns the path of an image with nothing but empty folders, on
// which a machine can boot because the agent comes by a mount of its own.
func (d *Driver) probeImage() (string, error) {
	path := filepath.Join(d.dir, "probe.erofs")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	t, err := tree.New(d.dir)
	if err != nil {
		return "", err
	}
	defer t.Close()
	for _, dir := range []string{"/dev", "/proc", "/sys", "/run", "/tmp", "/workspace"} {
		if err := t.Put(dir, &tree.Node{Type: tree.Dir, Mode: 0o755, ModTime: time.Unix(0, 0)}, nil); err != nil {
			return "", err
		}
	}
	tmp, err := os.CreateTemp(d.dir, "probe-")
	if err != nil {
		return "", storageError("probe image", err)
	}
	defer os.Remove(tmp.Name())
	_, err = erofs.Write(tmp, t, erofs.WriteOptions{ModTime: time.Unix(0, 0)})
	if err := errors.Join(err, tmp.Chmod(0o444), tmp.Close()); err != nil {
		return "", storageError("probe image "+tmp.Name(), err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", storageError("probe image "+path, err)
	}
	return path, nil
}
