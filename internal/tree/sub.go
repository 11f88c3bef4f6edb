package tree

import "pyro/api"

// Sub returns the folder at path as a tree of its own: its root is that folder,
// and a change of one is a change of the other. Both have the same spool, which
// belongs to t; the returned tree is not closed. Only one of them may be
// changed at a time.
func (t *Tree) Sub(path string) (*Tree, error) {
	n, err := t.Lookup(path)
	if err != nil {
		return nil, api.Errorf(api.KindNotFound, "%s: %w", path, err)
	}
	if n.Type != Dir {
		return nil, api.Errorf(api.KindConflict, "%s is a %s, not a folder", path, n.Type)
	}
	return &Tree{root: n, spool: t.spool, meter: unmetered()}, nil
}
