package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"pyro/api"
)

// folderRule says what a folder does to a symlink to a folder in its place.
type folderRule int

const (
	keepLink    folderRule = iota // packages: the folder is there already, through the link
	replaceLink                   // layers: the folder takes the link's place
)

// Put stores a copy of n at path, with data as the bytes of a regular file (nil
// for an empty one), and sets n.Size. Missing parents are made as root's folders
// of mode 0755. What stood at path is replaced with everything below it, with
// two exceptions: a folder put over a folder only updates its metadata, and a
// folder put over a symlink to a folder keeps the link as it is, which is how
// packages that ship /lib live on a system where that is a link to /usr/lib.
func (t *Tree) Put(path string, n *Node, data io.Reader) error {
	return named(path, t.put(path, n, keepLink, t.spoolData(data)))
}

// PutFile stores data at path as root's regular file. A symlink at path is
// replaced, not followed.
func (t *Tree) PutFile(path string, mode uint32, mtime time.Time, data []byte) error {
	return t.Put(path, &Node{Mode: mode, ModTime: mtime}, bytes.NewReader(data))
}

// PutData stores n, a regular file, at path. Its n.Size bytes stay where they
// are, at off in src, which must live as long as the tree.
func (t *Tree) PutData(path string, n *Node, src io.ReaderAt, off int64) error {
	if n.Type != Regular || n.Size < 0 || off < 0 {
		return api.Errorf(api.KindInternal, "%s: a %s of %d bytes at offset %d cannot be referenced", path, n.Type, n.Size, off)
	}
	size := n.Size
	return named(path, t.put(path, n, keepLink, func(c *Node) error {
		c.Size, c.src, c.off = size, src, off
		return nil
	}))
}

// Link gives the node at oldpath the second name newpath. A symlink at oldpath
// is not followed. Folders cannot be linked; an absent oldpath is os.ErrNotExist.
func (t *Tree) Link(oldpath, newpath string) error {
	n, err := t.linkTarget(oldpath)
	if err == nil {
		err = t.linkNode(n, newpath)
	}
	return named(newpath, err)
}

// Remove takes away path and everything below it. A symlink at path is removed,
// not followed. That nothing is there is not an error. Removing "/" empties the tree.
func (t *Tree) Remove(path string) error {
	name, err := clean(path)
	if err != nil {
		return named(path, err)
	}
	if name == "/" {
		clear(t.root.kids)
		return nil
	}
	parent, base, err := t.parent(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return named(path, err)
	}
	delete(parent.kids, base)
	return nil
}

// named gives a plain error of this package its object and kind.
func named(path string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*api.Error](err); ok {
		return err
	}
	kind := api.KindUnsafe
	if errors.Is(err, fs.ErrNotExist) {
		kind = api.KindNotFound
	}
	return api.Errorf(kind, "%s: %w", path, err)
}

// spoolData returns the function that moves data to the spool for a new file.
func (t *Tree) spoolData(data io.Reader) func(*Node) error {
	return func(c *Node) (err error) {
		if data == nil {
			return nil
		}
		c.src = t.spool
		c.off, c.Size, err = t.spool.add(data)
		return err
	}
}

// put stores a checked copy of n. fill gives a regular file its data; it is
// called once everything else is known to be in order.
func (t *Tree) put(name string, n *Node, rule folderRule, fill func(*Node) error) error {
	name, err := clean(name)
	if err != nil {
		return err
	}
	c, err := copyNode(n)
	if err != nil {
		return err
	}
	if name == "/" {
		if c.Type != Dir {
			return fmt.Errorf("a %s cannot take the place of the root folder", c.Type)
		}
		t.root.setMeta(c)
		return nil
	}
	parent, base, err := t.makeParent(name)
	if err != nil {
		return err
	}
	if c.Type == Dir && t.merge(parent, name, base, c, rule) {
		return nil
	}
	if c.Type == Regular {
		if err := fill(c); err != nil {
			return err
		}
	}
	n.Size = c.Size
	t.attach(parent, base, c)
	return nil
}

// merge handles a folder put where one is already, and reports whether it did.
func (t *Tree) merge(parent *Node, name, base string, c *Node, rule folderRule) bool {
	old := parent.kids[base].node
	if old == nil {
		return false
	}
	if old.Type == Symlink && rule == keepLink {
		_, err := t.folder(name, false)
		return err == nil
	}
	if old.Type != Dir {
		return false
	}
	old.setMeta(c)
	t.attach(parent, base, old)
	return true
}

// attach sets the entry base of parent and marks it as the current layer's.
func (t *Tree) attach(parent *Node, base string, n *Node) {
	parent.kids[strings.Clone(base)] = edge{n, t.layer}
}

// linkTarget finds the node that a hard link to path shares.
func (t *Tree) linkTarget(path string) (*Node, error) {
	old, err := t.find(path, false, false)
	if err != nil {
		return nil, fmt.Errorf("hard link to %s: %w", path, err)
	}
	if old.node.Type == Dir {
		return nil, fmt.Errorf("hard link to the folder %s", path)
	}
	return old.node, nil
}

// linkNode gives n the name newpath.
func (t *Tree) linkNode(n *Node, newpath string) error {
	name, err := clean(newpath)
	if err != nil {
		return err
	}
	if name == "/" {
		return errors.New("a hard link cannot take the place of the root folder")
	}
	parent, base, err := t.makeParent(name)
	if err != nil {
		return err
	}
	t.attach(parent, base, n)
	return nil
}

// parent finds the folder that holds or would hold the clean path name.
func (t *Tree) parent(name string) (*Node, string, error) {
	dir, base := path.Split(name)
	n, err := t.folder(dir, false)
	return n, base, err
}

// makeParent finds or makes the folder for the clean path name, and checks that
// an entry there keeps within the limits.
func (t *Tree) makeParent(name string) (*Node, string, error) {
	dir, base := path.Split(name)
	l, err := t.find(dir, true, true)
	if err != nil {
		return nil, "", err
	}
	if l.node.Type != Dir {
		return nil, "", errNotFolder
	}
	return l.node, base, t.meter.path(l.depth+1, l.len+1+len(base))
}
