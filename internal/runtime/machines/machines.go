// Package machines is what drivers keep of their machines in the same way: a
// folder with a folder for each, a record in that, those that this process
// holds, and how each of them ends.
//
//	DIR/
//	├── ID/
//	│   ├── machine.json    what a later process must know of the machine
//	│   └── ...             the driver's
//	└── ...
//
// A driver writes machine.json before it starts anything, so that every trace of
// a machine has its folder, and removes that folder last.
package machines

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// Dir is the folder with a folder for each machine.
type Dir string

// Of returns the machine's folder.
func (d Dir) Of(id string) string { return filepath.Join(string(d), id) }

// List returns the ids of all machines that have a folder.
func (d Dir) List() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, StorageError("folder "+string(d), err)
	}
	ids := make([]string, 0, len(entries))
	for _, e := range entries {
		ids = append(ids, e.Name())
	}
	return ids, nil
}

const recordFile = "machine.json"

// ReadRecord reads the record in a machine's folder.
func ReadRecord[R any](dir string) (R, error) {
	var r R
	b, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	return r, err
}

// WriteRecord replaces the record in a machine's folder. It is not synced: after
// a power cut the machine is gone and any content, or none, leads to its removal.
func WriteRecord[R any](dir string, r R) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, recordFile+".new")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, recordFile))
}

// StorageError says that what cannot be kept in the driver's folder, and what
// there is to do about it.
func StorageError(what string, err error) *api.Error {
	e := api.Errorf(api.KindStorage, "%s: %w", what, err)
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return e.WithHint("free space on the host, for example with: pyro env prune")
	case errors.Is(err, fs.ErrPermission):
		return e.WithHint("set PYRO_STATE_DIR to a folder you may write")
	}
	return e
}
