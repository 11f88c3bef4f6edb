package erofs

import (
	"cmp"
	"math"
	"slices"

	"pyro/api"
	"pyro/internal/tree"
)

// inode is one node with its place in the image.
type inode struct {
	node   *tree.Node
	parent *inode // of a folder; the root is its own
	nid    uint64
	size   uint64
	nlink  uint32
	tail   int    // bytes of data right behind the inode
	addr   uint32 // first block of the data that is not there

	entries []dirent // of a folder, with "." and "..", in name order
	cuts    []int    // index of the first entry of each directory block
}

// dirent is one name in a folder.
type dirent struct {
	name string
	to   *inode
}

// plan is a whole image before it is written.
type plan struct {
	inodes []*inode // in the order of the inode table; the root is first
	data   uint64   // first block behind the inode table
	blocks uint64   // of the whole image
}

// layOut gives everything its place. The order is that of a walk by name, so
// equal trees give equal plans however they were made.
func layOut(t *tree.Tree) (*plan, error) {
	p := &plan{}
	root := p.collect(t.Root(), nil, map[*tree.Node]*inode{})
	root.parent = root
	for _, i := range p.inodes {
		if i.node.Type == tree.Dir {
			i.finishFolder()
		}
	}
	p.placeInodes()
	return p, p.placeData()
}

// collect adds n and what is below it to the table, folders before their
// entries. Its recursion is as deep as the tree, which limits that.
func (p *plan) collect(n *tree.Node, parent *inode, seen map[*tree.Node]*inode) *inode {
	i := &inode{node: n, parent: parent, nlink: 1}
	p.inodes = append(p.inodes, i)
	if n.Type != tree.Dir {
		seen[n] = i
		return i
	}
	i.nlink = 2 // its name and its own "."
	for name, child := range n.Children() {
		c := seen[child]
		if c != nil {
			c.nlink++
		} else {
			c = p.collect(child, i, seen)
		}
		if child.Type == tree.Dir {
			i.nlink++ // the child's ".."
		}
		i.entries = append(i.entries, dirent{name, c})
	}
	return i
}

// finishFolder adds "." and ".." and divides the entries into directory blocks.
// EROFS searches folders by name, so the order of bytes holds for these two as
// well ("!x" sorts before them).
func (i *inode) finishFolder() {
	i.entries = append(i.entries, dirent{".", i}, dirent{"..", i.parent})
	slices.SortFunc(i.entries, func(a, b dirent) int { return cmp.Compare(a.name, b.name) })
	used := blockSize
	for k, e := range i.entries {
		need := direntSize + len(e.name)
		if used+need > blockSize {
			i.cuts = append(i.cuts, k)
			used = 0
		}
		used += need
	}
	i.size = uint64(len(i.cuts)-1)*blockSize + uint64(used)
	i.setTail(used)
}

// block returns the entries of directory block k.
func (i *inode) block(k int) []dirent {
	if k+1 < len(i.cuts) {
		return i.entries[i.cuts[k]:i.cuts[k+1]]
	}
	return i.entries[i.cuts[k]:]
}

// setTail puts the last n bytes of data behind the inode if the two fit one
// block, which is the format's rule.
func (i *inode) setTail(n int) {
	if inodeSize+n <= blockSize {
		i.tail = n
	}
}

// placeInodes gives out node ids. Inodes begin at block 1 while ids count from
// block 0: then none is 0, which readdir would take for a deleted entry, and the
// root's, which has to fit 16 bits, is always 128.
func (p *plan) placeInodes() {
	off := uint64(blockSize)
	for _, i := range p.inodes {
		switch i.node.Type {
		case tree.Symlink:
			i.size = uint64(len(i.node.Target))
			i.setTail(len(i.node.Target))
		case tree.Regular:
			i.size = uint64(i.node.Size)
		}
		if off%blockSize+inodeSize+uint64(i.tail) > blockSize {
			off = roundUp(off, blockSize)
		}
		i.nid = off / slotSize
		off = roundUp(off+inodeSize+uint64(i.tail), slotSize)
	}
	p.data = roundUp(off, blockSize) / blockSize
}

// placeData gives out blocks: folders and long symlinks first, files behind
// them, so that all metadata of an image lies together.
func (p *plan) placeData() error {
	p.blocks = p.data
	for _, files := range []bool{false, true} {
		for _, i := range p.inodes {
			if (i.node.Type == tree.Regular) != files || i.dataBlocks() == 0 {
				continue
			}
			i.addr = uint32(p.blocks)
			p.blocks += i.dataBlocks()
			if p.blocks >= math.MaxUint32 {
				return api.Errorf(api.KindUnsupported, "the tree needs an image of more than %d blocks of %d bytes, which EROFS cannot address", uint32(math.MaxUint32), blockSize)
			}
		}
	}
	return nil
}

// dataBlocks is how many blocks the inode takes outside of the inode table.
func (i *inode) dataBlocks() uint64 {
	return roundUp(i.size-uint64(i.tail), blockSize) / blockSize
}

// raw returns the inode as it is written. ino is its number, counted from 1.
func (i *inode) raw(ino int, o WriteOptions) rawInode {
	m := i.node.Time(o.ModTime)
	r := rawInode{
		mode: kinds[i.node.Type].mode | uint16(i.node.Mode&modePerm),
		size: i.size, addr: i.addr, ino: uint32(ino),
		uid: i.node.UID, gid: i.node.GID,
		mtime: m.Unix(), nsec: uint32(m.Nanosecond()),
		nlink: i.nlink,
	}
	if i.tail > 0 {
		r.layout = layoutInline
	}
	switch i.node.Type {
	case tree.Symlink:
		r.mode |= 0o777
	case tree.CharDevice, tree.BlockDevice:
		r.addr = encodeDevice(i.node.Major, i.node.Minor)
	}
	return r
}

func roundUp(n, to uint64) uint64 { return (n + to - 1) / to * to }
