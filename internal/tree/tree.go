// Package tree holds a file system of the guest in memory: its metadata as
// nodes, its data in a spool file without a name. Images, layers and packages
// are flattened into a tree and written from it as EROFS or tar; nothing of
// them is ever unpacked to the host, so a hostile archive has nothing to climb
// out of, and owners, devices and setuid bits need no privilege.
//
//	archive ─ ApplyTar ┐                      ┌ WriteTar ─ tar, OCI layer
//	archive ─ ApplyTar ┼→ Tree ── Walk, Open ─┤
//	EROFS ─── PutData ─┘   │                  └ erofs.Write ─ image
//	                       └ spool (unlinked file: bytes of regular files)
//
// Paths are absolute paths of the guest; "a/b", "./a/b" and "/a/b" mean the
// same. Symlinks are resolved inside the tree and never leave it. Each call of
// [Tree.ApplyTar] is one layer: whiteouts of a layer hide entries of the layers
// below it only.
//
// A tree may be changed by one goroutine at a time; any number may read its
// files meanwhile.
package tree

import (
	"bytes"
	"io"
	"io/fs"

	"pyro/api"
)

// maxReadFile bounds what ReadFile takes into memory.
const maxReadFile = 64 << 20

// Tree is a file system in memory. New makes one; Close frees its spool.
type Tree struct {
	root  *Node
	spool *spool
	layer int    // which ApplyTar made an entry; Put between two counts to the earlier
	meter *meter // limits of the running ApplyTar, or the default ones
}

// New returns a tree that holds an empty root folder. The bytes of its files go
// into a nameless file in spoolDir.
func New(spoolDir string) (*Tree, error) {
	s, err := newSpool(spoolDir)
	if err != nil {
		return nil, err
	}
	return &Tree{root: newFolder(), spool: s, meter: unmetered()}, nil
}

// Close gives the data back to the host's disk. Readers from Open fail after it.
func (t *Tree) Close() error { return t.spool.Close() }

// Root returns the root folder.
func (t *Tree) Root() *Node { return t.root }

// Open returns a reader of a regular file's bytes. It is empty for other nodes.
// Readers may be used at the same time as each other.
func (t *Tree) Open(n *Node) *io.SectionReader {
	if n.Type != Regular || n.src == nil {
		return io.NewSectionReader(bytes.NewReader(nil), 0, 0)
	}
	return io.NewSectionReader(n.src, n.off, n.Size)
}

// ReadFile returns the contents of the regular file at path, following
// symlinks. Files of more than 64 MiB are refused.
func (t *Tree) ReadFile(path string) ([]byte, error) {
	n, err := t.Resolve(path)
	if err != nil {
		return nil, err
	}
	if n.Type != Regular {
		return nil, api.Errorf(api.KindConflict, "%s is a %s, not a file to read", path, n.Type)
	}
	if n.Size > maxReadFile {
		return nil, api.Errorf(api.KindUnsafe, "%s has %d bytes, %d is the most that is read at once", path, n.Size, maxReadFile)
	}
	b := make([]byte, n.Size)
	if _, err := io.ReadFull(t.Open(n), b); err != nil {
		return nil, api.Errorf(api.KindStorage, "%s cannot be read: %w", path, err)
	}
	return b, nil
}

// Walk calls fn for every entry, parents before children, children sorted by
// the bytes of their names. The root's path is "/". A hard-linked file is
// visited under each name. fn may return [fs.SkipDir] to pass over what is
// in a folder; any other error ends the walk and is returned.
func (t *Tree) Walk(fn func(path string, n *Node) error) error {
	return walk("/", t.root, fn)
}

// walk recurses no deeper than the limits let a tree grow.
func walk(p string, n *Node, fn func(string, *Node) error) error {
	if err := fn(p, n); err != nil {
		if err == fs.SkipDir {
			return nil
		}
		return err
	}
	if p != "/" {
		p += "/"
	}
	for name, child := range n.Children() {
		if err := walk(p+name, child, fn); err != nil {
			return err
		}
	}
	return nil
}

// Stats is the size of a tree.
type Stats struct {
	Entries int   // names, the root not counted
	Bytes   int64 // of file data, hard links counted once
}

// Stat counts what the tree holds.
func (t *Tree) Stat() Stats {
	s := Stats{Entries: -1}
	seen := map[*Node]bool{}
	_ = t.Walk(func(_ string, n *Node) error { // fails only if the function does
		s.Entries++
		if n.Type == Regular && !seen[n] {
			seen[n] = true
			s.Bytes += n.Size
		}
		return nil
	})
	return s
}
