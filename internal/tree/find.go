package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

var (
	errLoop = errors.New("too many symbolic links on the way")
	// errNotFolder counts as absent too: nothing is there.
	errNotFolder = fmt.Errorf("a file stands where a folder is needed: %w", fs.ErrNotExist)
)

// level is one folder on the way down a path, or the node at its end.
type level struct {
	node  *Node
	depth int // parts of its real path
	len   int // bytes of its real path
}

// find walks path from the root and returns the node it ends at. Symlinks on
// the way are followed inside the tree: an absolute target starts at its root
// and ".." never climbs above it. The last part is followed when follow is set.
// Absent folders are made when create is set.
//
// The limits count the real path, after symlinks: they bound the depth of the
// tree, and with it the recursion of everybody who walks it.
func (t *Tree) find(path string, follow, create bool) (level, error) {
	cur := level{node: t.root}
	var above []level
	hops := 0
	for {
		var name string
		if name, path = cutPath(path); name == "" {
			return cur, nil
		}
		if cur.node.Type != Dir {
			return level{}, errNotFolder
		}
		if name == ".." {
			if len(above) > 0 {
				cur, above = above[len(above)-1], above[:len(above)-1]
			}
			continue
		}
		next := level{cur.node.kids[name].node, cur.depth + 1, cur.len + 1 + len(name)}
		if next.node == nil && create {
			var err error
			if next.node, err = t.makeFolder(cur.node, name, next); err != nil {
				return level{}, err
			}
		}
		if next.node == nil {
			return level{}, fs.ErrNotExist
		}
		if next.node.Type == Symlink && (follow || path != "") {
			if hops++; hops > maxHops {
				return level{}, errLoop
			}
			if strings.HasPrefix(next.node.Target, "/") {
				cur, above = level{node: t.root}, above[:0]
			}
			path = next.node.Target + "/" + path
			continue
		}
		above = append(above, cur)
		cur = next
	}
}

// makeFolder adds an absent parent folder at the place at.
func (t *Tree) makeFolder(parent *Node, name string, at level) (*Node, error) {
	if len(name) > maxName {
		return nil, fmt.Errorf("a part of %d bytes in the name, %d is the most", len(name), maxName)
	}
	if err := t.meter.path(at.depth, at.len); err != nil {
		return nil, err
	}
	if err := t.meter.entry(len(name)); err != nil {
		return nil, err
	}
	n := newFolder()
	t.attach(parent, name, n)
	return n, nil
}

// cutPath takes the first real component off path. rest is "" when no other
// real one follows.
func cutPath(path string) (name, rest string) {
	skip := func(s string) string {
		for {
			if s = strings.TrimLeft(s, "/"); s != "." && !strings.HasPrefix(s, "./") {
				return s
			}
			s = s[1:]
		}
	}
	name, rest, _ = strings.Cut(skip(path), "/")
	return name, skip(rest)
}

// folder finds or makes the folder path. It is where a new entry goes, so a
// symlink at its end is followed.
func (t *Tree) folder(path string, create bool) (*Node, error) {
	l, err := t.find(path, true, create)
	if err != nil {
		return nil, err
	}
	if l.node.Type != Dir {
		return nil, errNotFolder
	}
	return l.node, nil
}

func newFolder() *Node {
	return &Node{Type: Dir, Mode: 0o755, ModTime: time.Unix(0, 0), kids: map[string]edge{}}
}

// Lookup returns the node at path. Symlinks on the way are followed inside the
// tree, one at the end is returned itself. errors.Is(err, os.ErrNotExist) says
// that nothing is there.
func (t *Tree) Lookup(path string) (*Node, error) { return t.get(path, false) }

// Resolve is Lookup that follows a symlink at the end as well.
func (t *Tree) Resolve(path string) (*Node, error) { return t.get(path, true) }

func (t *Tree) get(path string, follow bool) (*Node, error) {
	l, err := t.find(path, follow, false)
	if err != nil {
		return nil, named(path, err)
	}
	return l.node, nil
}
