package qemu

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	guestagent "pyro/internal/agent"
	"pyro/internal/agent/embedded"
	"pyro/internal/initramfs"
)

// initrd returns the path of the initramfs with the embedded agent and the
// modules of a kernel, which it makes if there is none.
func (d *Driver) initrd(k Kernel) (string, error) {
	agent, err := embedded.Agent()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write(agent)
	h.Write([]byte(k.ID))
	dir := filepath.Join(d.bootDir(), hex.EncodeToString(h.Sum(nil)[:8]))
	path := filepath.Join(dir, "initrd")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", storageError("initramfs", err)
	}
	modules, err := modulesOf(k)
	if err != nil {
		return "", storageError("kernel modules", err)
	}
	if err := writeInitrd(dir, path, append(agentArchive(agent), modules...)); err != nil {
		return "", storageError("initramfs "+path, err)
	}
	return path, nil
}

func modulesOf(k Kernel) ([]byte, error) {
	if k.Modules == "" {
		return nil, nil
	}
	return os.ReadFile(k.Modules)
}

// agentArchive holds the agent under the name that it has in the guest, too.
func agentArchive(agent []byte) []byte {
	var a initramfs.Archive
	for _, dir := range []string{"run", "run/pyro", "run/pyro/bin", "dev", "proc", "sys"} {
		a.Dir(dir)
	}
	a.CharDevice("dev/console", 5, 1)
	a.File(strings.TrimPrefix(guestagent.Path, "/"), 0o755, agent)
	return a.Bytes()
}

func writeInitrd(dir, path string, data []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "new-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	// It is no secret, and QEMU opens it as nobody.
	if err := errors.Join(err, tmp.Chmod(0o444), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
