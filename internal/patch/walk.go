package patch

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"pyro/api"
	"pyro/internal/tree"
)

// errStop ends a walk whose consumer has had enough.
var errStop = errors.New("stop")

// walker goes through two trees side by side.
type walker struct {
	ctx           context.Context
	options       Options
	yield         func(Entry, error) bool
	before, after reader

	text  []byte // of the entry at hand; its room is used again
	spent int64  // bytes of all texts so far
	full  bool   // a text did not fit: none follows
}

// pair is what the two trees have under one name; one of both may be nil.
type pair struct {
	name          string
	before, after *tree.Node
	// closed says that the patch leaves something other than a folder here,
	// so that it cannot put anything below.
	closed bool
}

func (w *walker) run(root string) error {
	var top pair
	for _, side := range []struct {
		tree *tree.Tree
		node **tree.Node
	}{{w.before.tree, &top.before}, {w.after.tree, &top.after}} {
		n, err := side.tree.Lookup(root)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		case n.Type != tree.Dir:
			return api.Errorf(api.KindConflict, "%s is a %s, only folders can be compared", root, n.Type)
		}
		*side.node = n
	}
	return w.inside("", &top)
}

// inside visits what is in the folders of p, in the order of whole paths: a
// folder's contents come after all names that sort before the folder's with a
// slash ("a", "a-b", "a/b"). prefix is "" or ends in a slash. The depth of a
// tree bounds the recursion.
func (w *walker) inside(prefix string, p *pair) error {
	pairs := merge(folder(p.before), folder(p.after))
	type stop struct {
		key  string // the name, with a slash for the contents
		pair *pair
	}
	stops := make([]stop, 0, len(pairs))
	for i := range pairs {
		q := &pairs[i]
		q.closed = p.closed
		stops = append(stops, stop{q.name, q})
		if folder(q.before) != folder(q.after) { // never so for two names of the same node
			stops = append(stops, stop{q.name + "/", q})
		}
	}
	slices.SortFunc(stops, func(a, b stop) int { return strings.Compare(a.key, b.key) })
	for _, s := range stops {
		var err error
		if strings.HasSuffix(s.key, "/") {
			err = w.inside(prefix+s.key, s.pair)
		} else {
			err = w.visit(prefix+s.key, s.pair)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// folder returns n if it is a folder, else nil.
func folder(n *tree.Node) *tree.Node {
	if n != nil && n.Type == tree.Dir {
		return n
	}
	return nil
}

// merge pairs the names of two folders, sorted by nothing.
func merge(before, after *tree.Node) []pair {
	var pairs []pair
	if before != nil {
		for name, n := range before.Children() {
			p := pair{name: name, before: n}
			if after != nil {
				p.after = after.Child(name)
			}
			pairs = append(pairs, p)
		}
	}
	if after != nil {
		for name, n := range after.Children() {
			if before == nil || before.Child(name) == nil {
				pairs = append(pairs, pair{name: name, after: n})
			}
		}
	}
	return pairs
}

// visit yields the entry of one path, if it differs.
func (w *walker) visit(path string, p *pair) error {
	if w.ctx.Err() != nil {
		return canceled(w.ctx)
	}
	status, dataChanged, err := w.status(path, p)
	if err != nil || status == "" {
		return err
	}
	e := Entry{Path: path, Status: status, Before: stateOf(p.before), After: stateOf(p.after)}
	if err := w.patch(&e, p, dataChanged); err != nil {
		return err
	}
	if status == TypeChanged && e.Type() == Directory && e.Reason != ReasonNone {
		p.closed = true
	}
	if !w.yield(e, nil) {
		return errStop
	}
	return nil
}

// status says what happened at path, "" for nothing, and whether the data of a
// file or the target of a link changed.
func (w *walker) status(path string, p *pair) (s Status, dataChanged bool, err error) {
	a, b := p.before, p.after
	switch {
	case a == b:
		return "", false, nil
	case a == nil:
		return Added, true, nil
	case b == nil:
		return Deleted, true, nil
	case a.Type != b.Type:
		return TypeChanged, true, nil
	case a.Type == tree.Regular:
		if dataChanged, err = w.differ(path, a, b); err != nil {
			return "", false, err
		}
	case a.Type == tree.Symlink:
		dataChanged = a.Target != b.Target
	}
	if dataChanged || a.Mode != b.Mode || a.Major != b.Major || a.Minor != b.Minor {
		return Modified, dataChanged, nil
	}
	return "", false, nil
}

func canceled(ctx context.Context) error {
	return api.Errorf(api.KindCanceled, "the comparison was canceled: %w", context.Cause(ctx))
}
