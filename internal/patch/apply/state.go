package apply

import (
	"bytes"
	"slices"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"

	"pyro/api"
	"pyro/internal/tree"
)

// path is what is known of one path.
type path struct {
	before, now    *Content // nil if nothing is there
	written        bool     // now is what a section has made
	leaves         bool     // a section deletes it or gives it another name
	added, deleted int
}

// state is a tree with what the sections so far have changed.
type state struct {
	tree  *tree.Tree
	paths map[string]*path
	total int64 // bytes read and made
}

// at returns what is known of a name, which it checks.
func (s *state) at(name string) (*path, error) {
	if p := s.paths[name]; p != nil {
		return p, nil
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	c, err := s.read(name)
	if err != nil {
		return nil, err
	}
	p := &path{before: c, now: c}
	s.paths[name] = p
	return p, nil
}

// checkName refuses names that are not below the root.
func checkName(name string) error {
	refuse := func(why string) error {
		return api.Errorf(api.KindUnsafe, "the patch names %q, which %s", name, why).
			WithHint("names are relative to /workspace, behind a/ and b/")
	}
	switch {
	case name == "":
		return api.Errorf(api.KindUsage, "the patch has a file without a name")
	case strings.HasPrefix(name, "/"):
		return refuse("is an absolute path")
	case strings.IndexByte(name, 0) >= 0:
		return refuse("has a NUL byte")
	case len(name) > 4096:
		return refuse("is longer than a path can be")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return refuse("is not a plain path")
		}
		if len(part) > 255 {
			return refuse("has a part that is longer than a name can be")
		}
	}
	return nil
}

// read returns what the tree has at name.
func (s *state) read(name string) (*Content, error) {
	n := s.node(name)
	switch {
	case n == nil || n.Type == tree.Dir:
		return nil, nil
	case n.Type == tree.Symlink:
		return &Content{Link: true, Data: []byte(n.Target), Mode: 0o777, UID: n.UID, GID: n.GID}, nil
	case n.Type != tree.Regular:
		return nil, api.Errorf(api.KindConflict, "%s: it is a %s, and no patch can change that", name, n.Type)
	case n.Size > maxFile:
		return nil, api.Errorf(api.KindConflict, "%s: it has %d bytes, and a patch can change files of %d", name, n.Size, maxFile)
	}
	c := &Content{Data: make([]byte, n.Size), Mode: n.Mode & 0o7777, UID: n.UID, GID: n.GID}
	if err := s.count(name, n.Size); err != nil {
		return nil, err
	}
	if n.Size > 0 {
		if _, err := s.tree.Open(n).ReadAt(c.Data, 0); err != nil {
			return nil, api.Errorf(api.KindStorage, "%s: %w", name, err)
		}
	}
	return c, nil
}

func (s *state) count(name string, bytes int64) error {
	if s.total += bytes; s.total > maxTotal {
		return api.Errorf(api.KindUsage, "%s: the files of the patch have more than %d bytes together", name, maxTotal).
			WithHint("apply it in several parts")
	}
	return nil
}

// node finds what the tree has at name, going through folders only.
func (s *state) node(name string) *tree.Node {
	n := s.tree.Root()
	for part := range strings.SplitSeq(name, "/") {
		if n == nil || n.Type != tree.Dir {
			return nil
		}
		n = n.Child(part)
	}
	return n
}

// leaving notes the names that a section takes away, so that another section,
// before or behind it, can give them to something else.
func (s *state) leaving(f *gitdiff.File) error {
	if !f.IsDelete && !f.IsRename {
		return nil
	}
	p, err := s.at(f.OldName)
	if err == nil {
		p.leaves = true
	}
	return err
}

// apply does what one section says.
func (s *state) apply(f *gitdiff.File) error {
	name := f.NewName
	if f.IsDelete {
		name = f.OldName
	}
	to, err := s.at(name)
	if err != nil {
		return err
	}
	from, err := s.source(f, name, to)
	if err != nil {
		return err
	}
	c := section{name: name, file: f}
	after, err := c.apply(from)
	if err != nil {
		return err
	}
	if after != nil {
		if err := s.count(name, int64(len(after.Data))); err != nil {
			return err
		}
	}
	to.now, to.written = after, true
	to.added, to.deleted = to.added+c.added, to.deleted+c.deleted
	if f.IsRename {
		old := s.paths[f.OldName]
		if !old.written {
			old.now = nil
		}
	}
	return nil
}

// source returns the content that a section is about, nil for a new file.
func (s *state) source(f *gitdiff.File, name string, to *path) (*Content, error) {
	switch {
	case f.IsNew:
		if to.now != nil && (to.written || !to.leaves) {
			return nil, conflict(name, "it is to be made and is there already")
		}
		return nil, nil
	case f.IsRename || f.IsCopy: // of what was there before the patch, whatever else the patch makes of it
		from, err := s.at(f.OldName)
		if err != nil {
			return nil, err
		}
		if f.OldName != name && to.now != nil && (to.written || !to.leaves) {
			return nil, conflict(name, "something is there already, where "+f.OldName+" is to come")
		}
		if from.before == nil {
			return nil, s.absent(f.OldName)
		}
		return from.before, nil
	case to.now == nil:
		return nil, s.absent(name)
	}
	return to.now, nil
}

func (s *state) absent(name string) error {
	if n := s.node(name); n != nil && n.Type == tree.Dir {
		return conflict(name, "it is a folder, not a file")
	}
	return conflict(name, "it does not exist")
}

func conflict(name, fact string) error {
	return api.Errorf(api.KindConflict, "%s: %s; nothing was changed", name, fact).
		WithHint("make the patch anew against what the workspace holds now")
}

// changes lists what is different.
func (s *state) changes() []Change {
	var all []Change
	for name, p := range s.paths {
		if same(p.before, p.now) {
			continue
		}
		n := s.node(name)
		folder := n != nil && n.Type == tree.Dir
		all = append(all, Change{Path: name, Before: p.before, After: p.now, Folder: folder, Added: p.added, Deleted: p.deleted})
	}
	slices.SortFunc(all, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return all
}

func same(a, b *Content) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Link == b.Link && a.Mode == b.Mode && bytes.Equal(a.Data, b.Data)
}

// checkPlaces sees that what is new has a folder to stand in, and nothing else in
// its place.
func (s *state) checkPlaces(changes []Change) error {
	for _, c := range changes {
		if c.After == nil {
			continue
		}
		for i := range len(c.Path) {
			if c.Path[i] == '/' {
				if err := s.checkFolder(c.Path, c.Path[:i]); err != nil {
					return err
				}
			}
		}
		if n := s.node(c.Path); n != nil && n.Type == tree.Dir {
			if err := s.checkEmptied(c.Path, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkFolder sees that dir, on the way to name, is or becomes a folder.
func (s *state) checkFolder(name, dir string) error {
	if p := s.paths[dir]; p != nil {
		if p.now != nil {
			return conflict(name, dir+" is no folder")
		}
		return nil
	}
	n := s.node(dir)
	if n == nil || n.Type == tree.Dir {
		return nil
	}
	if n.Type == tree.Symlink {
		return api.Errorf(api.KindUnsafe, "%s: %s is a symbolic link, and a patch changes nothing beyond one; nothing was changed", name, dir)
	}
	return conflict(name, dir+" is a "+n.Type.String())
}

// checkEmptied sees that a folder in whose place something comes has nothing left
// in it.
func (s *state) checkEmptied(name string, n *tree.Node) error {
	empty := true
	for child, node := range n.Children() {
		empty = false
		below := name + "/" + child
		if node.Type == tree.Dir {
			if err := s.checkEmptied(below, node); err != nil {
				return err
			}
			continue
		}
		if p := s.paths[below]; p == nil || p.now != nil {
			return conflict(name, "a folder is there, with "+below+" in it")
		}
	}
	if empty {
		return conflict(name, "a folder is there")
	}
	return nil
}
