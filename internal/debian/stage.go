package debian

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"pyro/internal/tree"
)

// stageDir is where the stage tree keeps what only the configuration needs:
//
//	/.pyro/
//	  configure     the script
//	  real/NAME     a file that something else stands in for meanwhile
//	  log           what the script printed (in the upper layer)
//	  units         systemd units to be enabled (in the upper layer)
const stageDir = "/.pyro"

// stage prepares a tree for its configuration, and puts everything back after
// it. Files of the tree that are slow to run in a sandbox, or that would do
// things an image must not contain, are stood in for; see standins.go.
type stage struct {
	tree     *tree.Tree
	mtime    time.Time
	replaced []replaced
}

// replaced is a file of the tree that something stands in for.
type replaced struct {
	path string // real, without symlinks on the way
	real string // its place in stageDir, or "" if there was no file
}

// put writes a file into stageDir.
func (s *stage) put(name string, mode uint32, text string) error {
	return s.tree.PutFile(stageDir+"/"+name, mode, s.mtime, []byte(text))
}

// standIn puts text in the place of the file at path until restore.
func (s *stage) standIn(path string, mode uint32, text string) error {
	r := replaced{path: path}
	if _, err := s.tree.Lookup(path); err == nil {
		r.real = s.realPath(path)
		if err := s.tree.Link(path, r.real); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.replaced = append(s.replaced, r)
	return s.tree.PutFile(path, mode, s.mtime, []byte(text))
}

// realPath is where the file that path stands for is kept meanwhile.
func (s *stage) realPath(p string) string { return stageDir + "/real/" + path.Base(p) }

// standsIn reports whether path is one that belongs to the stage alone. Changes
// to it in the sandbox are not taken over.
func (s *stage) standsIn(path string) bool {
	return path == stageDir || strings.HasPrefix(path, stageDir+"/") ||
		slices.ContainsFunc(s.replaced, func(r replaced) bool { return r.path == path })
}

// restore makes the tree what it was before.
func (s *stage) restore() error {
	for _, r := range s.replaced {
		err := s.tree.Remove(r.path)
		if err == nil && r.real != "" {
			err = s.tree.Link(r.real, r.path)
		}
		if err != nil {
			return err
		}
	}
	s.replaced = nil
	return s.tree.Remove(stageDir)
}
