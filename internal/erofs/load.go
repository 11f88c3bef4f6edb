package erofs

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"pyro/api"
	"pyro/internal/tree"
)

// Load puts everything in the image into t, which must be empty. The bytes of
// files stay in the image: t reads them from there.
//
// Folders that contain each other, names that cannot be, unsorted folders and
// more than the default limits of package tree are refused as KindUnsafe.
func (im *Image) Load(t *tree.Tree) error {
	for range t.Root().Children() {
		return api.Errorf(api.KindInternal, "an image can be loaded into an empty tree only")
	}
	l := &loader{im: im, t: t, folders: map[uint64]bool{}, links: map[uint64]string{}}
	root := uint64(im.sb.root)
	return l.folder("/", root, root)
}

// loader is one run of Load.
type loader struct {
	im      *Image
	t       *tree.Tree
	folders map[uint64]bool   // nids of the folders seen
	links   map[uint64]string // first path of each file with several
	entries int
	bytes   uint64
}

// folder loads the folder nid as path. Its recursion is bounded by the depth
// that the tree allows.
func (l *loader) folder(path string, nid, parent uint64) error {
	if l.folders[nid] {
		return hostile("the folder %q stands in two places", path)
	}
	l.folders[nid] = true
	i, err := l.im.inode(nid)
	if err != nil {
		return err
	}
	if err := l.t.Put(path, nodeOf(i, tree.Dir), nil); err != nil {
		return err
	}
	last := ""
	buf := make([]byte, blockSize)
	for off := uint64(0); off < i.size; off += blockSize {
		b := buf[:min(blockSize, i.size-off)]
		if err := l.im.data(i, b, off); err != nil {
			return err
		}
		entries, err := direntsOf(b)
		if err != nil {
			return hostile("the folder %q %w", path, err)
		}
		for _, e := range entries {
			if e.name <= last {
				return hostile("the folder %q is not sorted at %q", path, e.name)
			}
			last = e.name
			if err := l.entry(path, nid, parent, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry loads one entry of the folder dir.
func (l *loader) entry(path string, dir, parent uint64, e rawDirent) error {
	if l.entries++; l.entries > tree.DefaultEntries {
		return hostile("more than %d entries", tree.DefaultEntries)
	}
	want, dots := map[string]uint64{".": dir, "..": parent}[e.name]
	if dots {
		if e.nid != want {
			return hostile("the entry %q of %q leads elsewhere", e.name, path)
		}
		return nil
	}
	name := strings.TrimSuffix(path, "/") + "/" + e.name
	i, err := l.im.inode(e.nid)
	if err != nil {
		return err
	}
	typ, ok := typeOf(i.mode)
	if !ok || kinds[typ].code != e.code {
		return hostile("%q has type %#o in its inode and %d in its folder", name, i.mode, e.code)
	}
	if typ == tree.Dir {
		return l.folder(name, e.nid, dir)
	}
	if first, ok := l.links[e.nid]; ok {
		return l.t.Link(first, name)
	}
	if i.nlink > 1 {
		l.links[e.nid] = name
	}
	return l.file(name, i, typ)
}

// file loads something that is not a folder.
func (l *loader) file(name string, i rawInode, typ tree.Type) error {
	n := nodeOf(i, typ)
	switch typ {
	case tree.Regular:
		if i.layout != layoutPlain {
			return unsupported("files inside the inode table (%q)", name)
		}
		if l.bytes += i.size; i.size > tree.DefaultBytes || l.bytes > tree.DefaultBytes {
			return hostile("more than %d bytes of file data", int64(tree.DefaultBytes))
		}
		n.Size = int64(i.size)
		return l.t.PutData(name, n, l.im.r, int64(i.addr)*blockSize)
	case tree.Symlink:
		if i.size == 0 || i.size > maxTarget {
			return hostile("the link %q has a target of %d bytes", name, i.size)
		}
		target := make([]byte, i.size)
		if err := l.im.data(i, target, 0); err != nil {
			return err
		}
		n.Target = string(target)
	case tree.CharDevice, tree.BlockDevice:
		n.Major, n.Minor = decodeDevice(i.addr)
	}
	return l.t.Put(name, n, nil)
}

func nodeOf(i rawInode, typ tree.Type) *tree.Node {
	return &tree.Node{
		Type: typ, Mode: uint32(i.mode & modePerm), UID: i.uid, GID: i.gid,
		ModTime: time.Unix(i.mtime, int64(i.nsec)),
	}
}

// rawDirent is a folder's entry as it stands in the image.
type rawDirent struct {
	name string
	nid  uint64
	code uint8
}

// direntsOf reads a directory block.
func direntsOf(b []byte) ([]rawDirent, error) {
	if len(b) < direntSize {
		return nil, fmt.Errorf("has a block of %d bytes", len(b))
	}
	first := int(le.Uint16(b[8:]))
	if first == 0 || first%direntSize != 0 || first > len(b) {
		return nil, fmt.Errorf("has its names at offset %d", first)
	}
	entries := make([]rawDirent, first/direntSize)
	for k := range entries {
		d := b[k*direntSize:]
		start, end := int(le.Uint16(d[8:])), len(b)
		if k+1 < len(entries) {
			end = int(le.Uint16(d[direntSize+8:]))
		}
		if start < first || start > end || end > len(b) {
			return nil, fmt.Errorf("has a name from %d to %d", start, end)
		}
		name := b[start:end]
		if k+1 == len(entries) {
			name, _, _ = bytes.Cut(name, []byte{0})
		}
		if len(name) == 0 || len(name) > maxName || bytes.ContainsAny(name, "/\x00") {
			return nil, fmt.Errorf("has the name %q", name)
		}
		entries[k] = rawDirent{string(name), le.Uint64(d), d[10]}
	}
	return entries, nil
}
