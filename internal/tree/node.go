package tree

import (
	"io"
	"iter"
	"maps"
	"slices"
	"time"
)

// Type is what a node is. The set is closed: sockets, for one, are not kept.
type Type uint8

// The node types.
const (
	Regular Type = iota
	Dir
	Symlink
	CharDevice
	BlockDevice
	Fifo
)

var typeNames = [...]string{"regular file", "folder", "symbolic link", "character device", "block device", "fifo"}

func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "unknown type"
}

// Node is one inode of a tree: metadata, and for a regular file the place of
// its bytes. Two names of one hard-linked file share one Node, so comparing
// pointers tells hard links.
//
// Metadata of a node that stands in a tree may be changed in place. Type and
// Size may not: they belong to the data.
type Node struct {
	Type     Type
	Mode     uint32    // permission bits with setuid, setgid and sticky (07777); always 0777 for a symlink
	UID, GID uint32    // of the guest, never looked up on the host
	ModTime  time.Time // the zero value counts as 1970
	Target   string    // what a symlink holds, 1 to 4095 bytes
	// Major and Minor are a device's numbers, at most 12 and 20 bits, which is
	// what Linux and EROFS keep.
	Major, Minor uint32
	Size         int64             // bytes of a regular file; 0 for everything else
	Xattrs       map[string]string // extended attributes by full name ("security.capability")

	src  io.ReaderAt // holds the file's bytes at [off, off+Size)
	off  int64
	kids map[string]edge // of a folder
}

// edge is one name in a folder. The layer stands here and not in the node: a
// hard link made by an upper layer to a file of a lower one is an entry of the
// upper layer.
type edge struct {
	node  *Node
	layer int
}

// Children yields the entries of a folder sorted by the bytes of their names.
// It yields nothing for a node of another type.
func (n *Node) Children() iter.Seq2[string, *Node] {
	return func(yield func(string, *Node) bool) {
		for _, name := range slices.Sorted(maps.Keys(n.kids)) {
			if e, ok := n.kids[name]; ok && !yield(name, e.node) {
				return
			}
		}
	}
}

// Child returns the entry of a folder with that name, or nil.
func (n *Node) Child(name string) *Node { return n.kids[name].node }

// Data returns where the Size bytes of a regular file are: at off in src, which
// is nil for an empty file and for every other type. Nodes that agree in source,
// offset and size hold the same bytes without being read.
func (n *Node) Data() (src io.ReaderAt, off int64) { return n.src, n.off }

// setMeta takes over everything of m but its type and contents.
func (n *Node) setMeta(m *Node) {
	n.Mode, n.UID, n.GID, n.ModTime, n.Xattrs = m.Mode, m.UID, m.GID, m.ModTime, cloneXattrs(m.Xattrs)
}

// Time returns the node's time as an image or archive stores it: not later than
// clamp, unless that is the zero time.
func (n *Node) Time(clamp time.Time) time.Time {
	m := saneTime(n.ModTime)
	if !clamp.IsZero() && m.After(clamp) {
		return saneTime(clamp)
	}
	return m
}
