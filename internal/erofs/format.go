package erofs

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"pyro/internal/tree"
)

// The layout of the format, from the Linux kernel's fs/erofs/erofs_fs.h.
const (
	magic       = 0xE0F5E1E2
	superOffset = 1024
	superSize   = 128
	blockBits   = 12
	blockSize   = 1 << blockBits
	slotSize    = 32 // a node id (nid) counts slots
	compactSize = 32
	inodeSize   = 64 // of an extended inode
	direntSize  = 12

	compatChecksum = 1 << 0 // the superblock has a checksum
	compatMtime    = 1 << 1 // inodes hold modification times, not change times

	layoutExtended = 1 << 0 // in i_format
	layoutPlain    = 0      // data layouts, i_format >> 1
	layoutInline   = 2

	maxName   = 255
	maxTarget = 4095
)

// castagnoli is the checksum's polynomial. EROFS starts with all ones, as Go
// does, and leaves out the final inversion.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return ^crc32.Checksum(b, castagnoli) }

// superblock is the part of the superblock that we use.
type superblock struct {
	checksum  uint32
	compat    uint32
	blockBits uint8
	root      uint16 // nid
	inodes    uint64
	buildTime time.Time
	blocks    uint32 // of the whole image
	metaBlock uint32 // where nid 0 would be
	uuid      [16]byte
	incompat  uint32
}

var le = binary.LittleEndian

// put writes the superblock to b, the first block of the image.
func (s superblock) put(b []byte) {
	sb := b[superOffset:]
	le.PutUint32(sb[0:], magic)
	le.PutUint32(sb[4:], s.checksum)
	le.PutUint32(sb[8:], s.compat)
	sb[12] = s.blockBits
	le.PutUint16(sb[14:], s.root)
	le.PutUint64(sb[16:], s.inodes)
	le.PutUint64(sb[24:], uint64(s.buildTime.Unix()))
	le.PutUint32(sb[32:], uint32(s.buildTime.Nanosecond()))
	le.PutUint32(sb[36:], s.blocks)
	le.PutUint32(sb[40:], s.metaBlock)
	copy(sb[48:64], s.uuid[:])
	le.PutUint32(sb[80:], s.incompat)
}

// superblockOf reads the superblock from b, the first block of the image.
func superblockOf(b []byte) (s superblock, ok bool) {
	sb := b[superOffset:]
	s = superblock{
		checksum:  le.Uint32(sb[4:]),
		compat:    le.Uint32(sb[8:]),
		blockBits: sb[12],
		root:      le.Uint16(sb[14:]),
		inodes:    le.Uint64(sb[16:]),
		buildTime: time.Unix(int64(le.Uint64(sb[24:])), int64(le.Uint32(sb[32:]))),
		blocks:    le.Uint32(sb[36:]),
		metaBlock: le.Uint32(sb[40:]),
		uuid:      [16]byte(sb[48:64]),
		incompat:  le.Uint32(sb[80:]),
	}
	return s, le.Uint32(sb[0:]) == magic
}

// rawInode is an inode as it stands in the image.
type rawInode struct {
	layout uint16 // of the data
	mode   uint16 // type and permissions
	size   uint64
	addr   uint32 // first data block, or device number
	ino    uint32
	uid    uint32
	gid    uint32
	mtime  int64
	nsec   uint32
	nlink  uint32

	xattrs uint16 // read only: we write none
	head   int    // read only: bytes of the inode itself
	off    uint64 // read only: where it begins in the image
}

// put writes the inode in its extended form to b.
func (i rawInode) put(b []byte) {
	le.PutUint16(b[0:], layoutExtended|i.layout<<1)
	le.PutUint16(b[4:], i.mode)
	le.PutUint64(b[8:], i.size)
	le.PutUint32(b[16:], i.addr)
	le.PutUint32(b[20:], i.ino)
	le.PutUint32(b[24:], i.uid)
	le.PutUint32(b[28:], i.gid)
	le.PutUint64(b[32:], uint64(i.mtime))
	le.PutUint32(b[40:], i.nsec)
	le.PutUint32(b[44:], i.nlink)
}

// extended says whether the inode that begins with b is an extended one.
func extended(b []byte) bool { return le.Uint16(b)&layoutExtended != 0 }

// inodeOf reads the inode from b, 32 or 64 bytes. A compact one has no time of
// its own: it is the superblock's.
func inodeOf(b []byte, s superblock) rawInode {
	format := le.Uint16(b[0:])
	i := rawInode{
		layout: format >> 1,
		xattrs: le.Uint16(b[2:]),
		mode:   le.Uint16(b[4:]),
		addr:   le.Uint32(b[16:]),
		ino:    le.Uint32(b[20:]),
	}
	if !extended(b) {
		i.head = compactSize
		i.nlink = uint32(le.Uint16(b[6:]))
		i.size = uint64(le.Uint32(b[8:]))
		i.uid, i.gid = uint32(le.Uint16(b[24:])), uint32(le.Uint16(b[26:]))
		i.mtime, i.nsec = s.buildTime.Unix(), uint32(s.buildTime.Nanosecond())
		return i
	}
	i.head = inodeSize
	i.size = le.Uint64(b[8:])
	i.uid, i.gid = le.Uint32(b[24:]), le.Uint32(b[28:])
	i.mtime, i.nsec = int64(le.Uint64(b[32:])), le.Uint32(b[40:])
	i.nlink = le.Uint32(b[44:])
	return i
}

// kinds maps a node's type to its bits in i_mode and its code in a folder entry.
var kinds = [...]struct {
	mode uint16
	code uint8
}{
	tree.Regular:     {0o100000, 1},
	tree.Dir:         {0o040000, 2},
	tree.CharDevice:  {0o020000, 3},
	tree.BlockDevice: {0o060000, 4},
	tree.Fifo:        {0o010000, 5},
	tree.Symlink:     {0o120000, 7},
}

const (
	modeType = 0o170000
	modeDir  = 0o040000
	modePerm = 0o7777
)

// typeOf is the reverse of kinds for i_mode. Sockets and nonsense are not ok.
func typeOf(mode uint16) (t tree.Type, ok bool) {
	for i, k := range kinds {
		if k.mode == mode&modeType {
			return tree.Type(i), true
		}
	}
	return 0, false
}

// encodeDevice packs device numbers as Linux's new_encode_dev: 12 bits of major
// between 8 low and 12 high bits of minor.
func encodeDevice(major, minor uint32) uint32 {
	return minor&0xff | major&0xfff<<8 | minor&0xfff00<<12
}

func decodeDevice(d uint32) (major, minor uint32) {
	return d >> 8 & 0xfff, d&0xff | d>>12&0xfff00
}
