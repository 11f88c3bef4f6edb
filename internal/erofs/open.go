package erofs

import (
	"io"

	"pyro/api"
	"pyro/internal/tree"
)

// Image is an open image: the superblock, checked, and the file it stands in.
type Image struct {
	r    io.ReaderAt
	size uint64
	sb   superblock
}

// Open checks the superblock of the image of size bytes in r. The image must
// stay readable as long as it, or a tree loaded from it, is used.
//
// What is not a whole EROFS image is of KindVerification, one that uses parts of
// the format which we do not is of KindUnsupported.
func Open(r io.ReaderAt, size int64) (*Image, error) {
	first := make([]byte, blockSize)
	if size < blockSize {
		return nil, damaged("it has only %d bytes", size)
	}
	im := &Image{r: r, size: uint64(size)}
	if err := im.read(first, 0); err != nil {
		return nil, err
	}
	sb, ok := superblockOf(first)
	switch {
	case !ok:
		return nil, damaged("it does not begin as one")
	case sb.blockBits != blockBits:
		return nil, unsupported("blocks of 2^%d bytes", sb.blockBits)
	case sb.incompat != 0:
		return nil, unsupported("features %#x", sb.incompat)
	case sb.compat&compatChecksum != 0 && sb.checksum != checksumOf(first):
		return nil, damaged("the checksum of its superblock is wrong")
	case uint64(sb.blocks)*blockSize > im.size:
		return nil, damaged("it has %d bytes of %d", size, uint64(sb.blocks)*blockSize)
	}
	im.sb = sb
	root, err := im.inode(uint64(sb.root))
	if err != nil {
		return nil, err
	}
	if root.mode&modeType != modeDir {
		return nil, damaged("its root is not a folder")
	}
	return im, nil
}

// checksumOf computes the checksum of the superblock in the image's first block.
func checksumOf(first []byte) uint32 {
	b := append([]byte(nil), first[superOffset:]...)
	le.PutUint32(b[4:], 0)
	return checksum(b)
}

// inode reads the inode nid and checks that its data lies in the image.
func (im *Image) inode(nid uint64) (rawInode, error) {
	off, ok := im.offset(nid)
	if !ok {
		return rawInode{}, damaged("inode %d lies outside", nid)
	}
	var b [inodeSize]byte
	if err := im.read(b[:compactSize], off); err != nil {
		return rawInode{}, err
	}
	if extended(b[:]) {
		if err := im.read(b[compactSize:], off+compactSize); err != nil {
			return rawInode{}, err
		}
	}
	i := inodeOf(b[:], im.sb)
	i.off = off
	switch {
	case i.xattrs != 0:
		return i, unsupported("extended attributes (inode %d)", nid)
	case i.layout != layoutPlain && i.layout != layoutInline:
		return i, unsupported("data layout %d (inode %d)", i.layout, nid)
	case !im.holds(i):
		return i, damaged("the data of inode %d lies outside", nid)
	}
	return i, nil
}

// offset returns where inode nid begins.
func (im *Image) offset(nid uint64) (uint64, bool) {
	if nid > im.size/slotSize {
		return 0, false
	}
	off := uint64(im.sb.metaBlock)*blockSize + nid*slotSize
	return off, off < im.size
}

// holds says whether the inode's data lies in the image, and its tail, if it is
// behind the inode, in the inode's block.
func (im *Image) holds(i rawInode) bool {
	t, ok := typeOf(i.mode)
	if !ok || (t != tree.Regular && t != tree.Dir && t != tree.Symlink) {
		return true // no data
	}
	plain := i.size
	if i.layout == layoutInline {
		tail := i.size % blockSize
		start := i.off + uint64(i.head)
		if tail == 0 || start%blockSize+tail > blockSize || start+tail > im.size {
			return false
		}
		plain -= tail
	}
	start := uint64(i.addr) * blockSize
	return plain == 0 || start < im.size && plain <= im.size-start
}

// data reads n bytes of the inode's data from off on. The caller stays within
// its size and within one block.
func (im *Image) data(i rawInode, p []byte, off uint64) error {
	if i.layout == layoutInline && off >= i.size-i.size%blockSize {
		return im.read(p, i.off+uint64(i.head)+off%blockSize)
	}
	return im.read(p, uint64(i.addr)*blockSize+off)
}

func (im *Image) read(p []byte, off uint64) error {
	if off > im.size || uint64(len(p)) > im.size-off {
		return damaged("it ends too early")
	}
	if n, err := im.r.ReadAt(p, int64(off)); n < len(p) {
		return api.Errorf(api.KindStorage, "the EROFS image cannot be read: %w", err)
	}
	return nil
}

func damaged(format string, args ...any) error {
	return api.Errorf(api.KindVerification, "the EROFS image is damaged: "+format, args...)
}

func hostile(format string, args ...any) error {
	return api.Errorf(api.KindUnsafe, "the EROFS image is not safe: "+format, args...)
}

func unsupported(format string, args ...any) error {
	return api.Errorf(api.KindUnsupported, "the EROFS image uses "+format+", which is not supported", args...)
}
