package debian

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"pyro/internal/tree"
)

// volatile are the folders whose contents in a sandbox are its own: what is in
// them is neither part of the image nor taken from it.
var volatile = []string{"/run", "/tmp", "/dev", "/proc", "/sys"}

// MergeUpper puts an upper layer on top of t: a tar with the whiteouts of
// overlayfs, as a sandbox exports it. Everything in /run, /tmp, /dev, /proc and
// /sys is left out, and so is the root folder's own entry.
func MergeUpper(t *tree.Tree, upper io.Reader) error { return mergeUpper(t, upper, nil) }

// mergeUpper leaves out what skip returns true for as well.
func mergeUpper(t *tree.Tree, upper io.Reader, skip func(path string) bool) error {
	err := t.ApplyTar(upper, tree.ApplyOptions{
		Name:      "upper layer",
		Whiteouts: tree.WhiteoutsOverlay,
		Skip: func(path string) bool {
			return path == "/" || isVolatile(path) || skip != nil && skip(path)
		},
	})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, upper)
	return err
}

func isVolatile(path string) bool {
	return slices.ContainsFunc(volatile, func(dir string) bool {
		return path == dir || strings.HasPrefix(path, dir+"/")
	})
}

// scrubbed are files that say when or how often something ran, and nothing that
// anybody needs: logs, caches that are made again, and the second newest version
// of files.
var scrubbed = []string{
	"/etc/.pwd.lock",
	"/etc/group-",
	"/etc/gshadow-",
	"/etc/passwd-",
	"/etc/shadow-",
	"/etc/subgid-",
	"/etc/subuid-",
	"/var/cache/debconf/config.dat-old",
	"/var/cache/debconf/passwords.dat-old",
	"/var/cache/debconf/templates.dat-old",
	"/var/cache/ldconfig/aux-cache",
	"/var/lib/dpkg/diversions-old",
	"/var/lib/dpkg/statoverride-old",
	"/var/lib/dpkg/status-old",
	"/var/log/alternatives.log",
	"/var/log/apt/history.log",
	"/var/log/apt/term.log",
	"/var/log/bootstrap.log",
	"/var/log/dpkg.log",
	"/var/log/fontconfig.log",
}

// Scrub removes what differs between two builds of the same packages, and sets
// the times of t: files keep theirs, but none is younger than mtime; folders get
// mtime, because theirs tell in which order packages were unpacked.
func Scrub(t *tree.Tree, mtime time.Time) error {
	for _, path := range scrubbed {
		if err := t.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return t.Walk(func(_ string, n *tree.Node) error {
		if n.Type == tree.Dir || n.ModTime.After(mtime) {
			n.ModTime = mtime
		}
		return nil
	})
}
