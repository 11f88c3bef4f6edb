package machines

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"pyro/internal/erofs"
	"pyro/internal/tree"
)

// EmptyImage returns the path of an image with nothing but empty folders, on
// which a machine can be tried out because the agent comes by a way of its own.
// It is kept in dir, and made if there is none.
func EmptyImage(dir string) (string, error) {
	path := filepath.Join(dir, "probe.erofs")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	t, err := tree.New(dir)
	if err != nil {
		return "", err
	}
	defer t.Close()
	for _, folder := range []string{"/dev", "/proc", "/sys", "/run", "/tmp", "/workspace"} {
		if err := t.Put(folder, &tree.Node{Type: tree.Dir, Mode: 0o755, ModTime: time.Unix(0, 0)}, nil); err != nil {
			return "", err
		}
	}
	tmp, err := os.CreateTemp(dir, "probe-")
	if err != nil {
		return "", StorageError("probe image", err)
	}
	defer os.Remove(tmp.Name())
	_, err = erofs.Write(tmp, t, erofs.WriteOptions{ModTime: time.Unix(0, 0)})
	if err := errors.Join(err, tmp.Chmod(0o444), tmp.Close()); err != nil {
		return "", StorageError("probe image "+tmp.Name(), err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", StorageError("probe image "+path, err)
	}
	return path, nil
}
