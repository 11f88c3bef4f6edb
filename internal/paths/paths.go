// Package paths names the folders and files that pyro keeps on the host.
//
//	STATE  $PYRO_STATE_DIR, else $XDG_STATE_HOME/pyro, else ~/.local/state/pyro
//	├── daemon.sock        the background process's socket, mode 0600
//	├── daemon.lock        held by the background process while it lives
//	├── daemon.log         its structured log (JSON lines), rotated to daemon.log.1
//	├── secrets.key        encrypts the secrets of workspaces; made for the first one
//	├── pyro.db            SQLite: vms (package store draws the schema)
//	├── gvisor/            the gVisor driver's folder
//	├── qemu/              the microVM driver's folder
//	└── host/              the host-compat driver's folder
//	CACHE  $PYRO_CACHE_DIR, else $XDG_CACHE_HOME/pyro, else ~/.cache/pyro
//	                       environments; package environment draws it
//	CONFIG $PYRO_CONFIG_DIR, else $XDG_CONFIG_HOME/pyro, else ~/.config/pyro
//	└── environments/*.json  the user's own catalogue entries
package paths

import (
	"os"
	"path/filepath"

	"pyro/api"
)

// Dirs are the three root folders, absolute.
type Dirs struct {
	State, Cache, Config string
}

// FromEnv finds the folders from the variables named in the package comment.
func FromEnv(getenv func(string) string) (Dirs, error) {
	var d Dirs
	for _, f := range []struct {
		dst            *string
		own, xdg, home string
	}{
		{&d.State, "PYRO_STATE_DIR", "XDG_STATE_HOME", ".local/state"},
		{&d.Cache, "PYRO_CACHE_DIR", "XDG_CACHE_HOME", ".cache"},
		{&d.Config, "PYRO_CONFIG_DIR", "XDG_CONFIG_HOME", ".config"},
	} {
		dir := getenv(f.own)
		switch {
		case dir != "":
		case filepath.IsAbs(getenv(f.xdg)): // the XDG specification ignores relative ones
			dir = filepath.Join(getenv(f.xdg), "pyro")
		case getenv("HOME") != "":
			dir = filepath.Join(getenv("HOME"), f.home, "pyro")
		default:
			return Dirs{}, api.Errorf(api.KindUnavailable, "neither %s, %s nor HOME is set", f.own, f.xdg).
				WithHint("export HOME, or set %s to a folder of your own", f.own)
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return Dirs{}, api.Errorf(api.KindUnavailable, "folder %s: %w", dir, err)
		}
		*f.dst = abs
	}
	return d, nil
}

// Socket is the background process's socket.
func (d Dirs) Socket() string { return filepath.Join(d.State, "daemon.sock") }

// Lock is held while the background process lives.
func (d Dirs) Lock() string { return filepath.Join(d.State, "daemon.lock") }

// Log is the background process's log.
func (d Dirs) Log() string { return filepath.Join(d.State, "daemon.log") }

// Database is the SQLite file.
func (d Dirs) Database() string { return filepath.Join(d.State, "pyro.db") }

// SecretsKey is the file of the key that secrets of workspaces are sealed with.
func (d Dirs) SecretsKey() string { return filepath.Join(d.State, "secrets.key") }

// Workspaces is the folder of all workspaces.
func (d Dirs) Workspaces() string { return filepath.Join(d.State, "workspaces") }

// Driver is the folder of the named runtime driver.
func (d Dirs) Driver(name string) string { return filepath.Join(d.State, name) }

// Make creates the folders, private to the user.
func (d Dirs) Make() error {
	for _, dir := range []string{d.State, d.Cache, d.Config} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return api.Errorf(api.KindStorage, "folder %s cannot be made: %w", dir, err).
				WithHint("set PYRO_STATE_DIR, PYRO_CACHE_DIR and PYRO_CONFIG_DIR to folders you may write")
		}
	}
	return nil
}
