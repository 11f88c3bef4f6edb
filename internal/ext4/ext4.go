// Package ext4 makes empty ext4 file systems, without root and without mke2fs.
//
// They are disks that a machine writes to and that nobody keeps: there is no
// journal, no reserved space and no copy of the superblock. A new one is a
// sparse file of a few written blocks, whatever its size, because the kernel
// takes the tables of a block group for empty when its descriptor says so.
//
// The layout is that of https://docs.kernel.org/filesystems/ext4/:
//
//	group 0: superblock | group descriptors | block bitmap | inode bitmap | inode table | root folder
//	group n:                                  block bitmap | inode bitmap | inode table
package ext4

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// The shape of every file system.
const (
	blockSize      = 4096
	blocksPerGroup = 8 * blockSize // what one bitmap has room for
	inodesPerGroup = 16384         // one for 8 KiB: node_modules has many small files
	inodeSize      = 256           // with room for overlayfs's extended attributes
	tableBlocks    = inodesPerGroup * inodeSize / blockSize
	groupBlocks    = 2 + tableBlocks // bitmaps and table
	descriptorSize = 32

	rootInode   = 2
	firstInode  = 11 // those before are reserved
	lostInode   = 11
	maxGroups   = 1 << 16
	folderMode  = 0o040755
	extentsFlag = 0x80000
)

// MinSize is the smallest size that Format takes, in bytes.
const MinSize = 8 << 20

// File is what Format needs of a file.
type File interface {
	io.WriterAt
	Truncate(size int64) error
}

// Format makes f, which must be empty, a file system of size bytes, rounded down
// to whole blocks. What is usable is about 3 % less: the tables of the files.
func Format(f File, size int64) error {
	l, err := plan(size)
	if err != nil {
		return err
	}
	if err := f.Truncate(l.blocks * blockSize); err != nil {
		return err
	}
	for _, part := range []struct {
		block int64
		data  []byte
	}{
		{0, l.superblock()},
		{1, l.descriptors()},
		{l.blockBitmap(0), l.firstBlockBitmap()},
		{l.blockBitmap(0) + 1, firstInodeBitmap()},
		{l.table(0), l.firstInodes()},
		{l.rootBlock(), rootFolder()},
		{l.rootBlock() + 1, lostFolder()},
	} {
		if _, err := f.WriteAt(part.data, part.block*blockSize); err != nil {
			return err
		}
	}
	if tail := l.lastBlockBitmap(); tail != nil {
		_, err = f.WriteAt(tail, l.blockBitmap(l.groups-1)*blockSize)
	}
	return err
}

// layout is where everything is, in blocks.
type layout struct {
	blocks, groups int64
	gdtBlocks      int64
	uuid           [16]byte
	now            uint32
}

func plan(size int64) (*layout, error) {
	l := &layout{blocks: size / blockSize, now: uint32(time.Now().Unix())}
	rand.Read(l.uuid[:])
	l.groups = (l.blocks + blocksPerGroup - 1) / blocksPerGroup
	if rest := l.blocks % blocksPerGroup; l.groups > 1 && rest > 0 && rest < groupBlocks+64 {
		l.blocks -= rest // a last group with hardly more than its own tables
		l.groups--
	}
	if size < MinSize || l.groups > maxGroups {
		return nil, fmt.Errorf("a disk of %d bytes cannot be made: at least %d, at most %d are possible", size, MinSize, int64(maxGroups)*blocksPerGroup*blockSize)
	}
	l.gdtBlocks = (l.groups*descriptorSize + blockSize - 1) / blockSize
	return l, nil
}

// head is how many blocks of a group come before its bitmaps.
func (l *layout) head(group int64) int64 {
	if group == 0 {
		return 1 + l.gdtBlocks
	}
	return 0
}

func (l *layout) blockBitmap(group int64) int64 { return group*blocksPerGroup + l.head(group) }
func (l *layout) table(group int64) int64       { return l.blockBitmap(group) + 2 }
func (l *layout) rootBlock() int64              { return l.table(0) + tableBlocks }

// length is how many blocks a group has.
func (l *layout) length(group int64) int64 {
	return min(blocksPerGroup, l.blocks-group*blocksPerGroup)
}

// used is how many of them are taken.
func (l *layout) used(group int64) int64 {
	if group == 0 {
		return l.head(0) + groupBlocks + 2 // with the two folders
	}
	return groupBlocks
}

var le = binary.LittleEndian

// Features, see "The Super Block" of the documentation.
const (
	compatExtAttr      = 0x8
	compatDirIndex     = 0x20
	compatSparseSuper2 = 0x200 // with no copy named there is none
	incompatFiletype   = 0x2
	incompatExtents    = 0x40
	roSparseSuper      = 0x1
	roLargeFile        = 0x2
	roHugeFile         = 0x8
	roGdtCsum          = 0x10
	roDirNlink         = 0x20
	roExtraIsize       = 0x40
)

func (l *layout) superblock() []byte {
	b := make([]byte, blockSize)
	s := b[1024:]
	var free int64
	for g := range l.groups {
		free += l.length(g) - l.used(g)
	}
	le.PutUint32(s[0x00:], uint32(l.groups*inodesPerGroup))
	le.PutUint32(s[0x04:], uint32(l.blocks))
	le.PutUint32(s[0x0c:], uint32(free))
	le.PutUint32(s[0x10:], uint32(l.groups*inodesPerGroup-firstInode))
	le.PutUint32(s[0x18:], 2) // log2 of the block size, less 10
	le.PutUint32(s[0x1c:], 2) // of the cluster size
	le.PutUint32(s[0x20:], blocksPerGroup)
	le.PutUint32(s[0x24:], blocksPerGroup)
	le.PutUint32(s[0x28:], inodesPerGroup)
	le.PutUint32(s[0x30:], l.now)
	le.PutUint16(s[0x36:], 0xffff) // no check after so many mounts
	le.PutUint16(s[0x38:], 0xef53)
	le.PutUint16(s[0x3a:], 1) // clean
	le.PutUint16(s[0x3c:], 2) // errors: go read-only, rather than on with a damaged disk
	le.PutUint32(s[0x40:], l.now)
	le.PutUint32(s[0x4c:], 1) // dynamic inode sizes
	le.PutUint32(s[0x54:], firstInode)
	le.PutUint16(s[0x58:], inodeSize)
	le.PutUint32(s[0x5c:], compatExtAttr|compatDirIndex|compatSparseSuper2)
	le.PutUint32(s[0x60:], incompatFiletype|incompatExtents)
	le.PutUint32(s[0x64:], roSparseSuper|roLargeFile|roHugeFile|roGdtCsum|roDirNlink|roExtraIsize)
	copy(s[0x68:], l.uuid[:])
	copy(s[0x78:], "pyro")
	rand.Read(s[0xec:0xfc]) // seed of the folders' hashes
	s[0xfc] = 1             // half MD4
	le.PutUint16(s[0xfe:], descriptorSize)
	le.PutUint32(s[0x108:], l.now)
	le.PutUint16(s[0x15c:], 32) // extra bytes of inodes, at least
	le.PutUint16(s[0x15e:], 32)
	return b
}

// Flags of a group's descriptor.
const (
	inodeUninit = 1 // its inode bitmap is to be taken for empty
	blockUninit = 2 // its block bitmap holds its own tables only
	inodeZeroed = 4 // its inode table is zero
)

func (l *layout) descriptors() []byte {
	b := make([]byte, l.gdtBlocks*blockSize)
	for g := range l.groups {
		d := b[g*descriptorSize:][:descriptorSize]
		le.PutUint32(d[0x00:], uint32(l.blockBitmap(g)))
		le.PutUint32(d[0x04:], uint32(l.blockBitmap(g)+1))
		le.PutUint32(d[0x08:], uint32(l.table(g)))
		le.PutUint16(d[0x0c:], uint16(l.length(g)-l.used(g)))
		free, flags := uint16(inodesPerGroup), uint16(inodeUninit|inodeZeroed)
		switch {
		case g == 0:
			free, flags = inodesPerGroup-firstInode, inodeZeroed
			le.PutUint16(d[0x10:], 2) // folders
		case g < l.groups-1:
			flags |= blockUninit // the last group's bitmap is written: it may be shorter
		}
		le.PutUint16(d[0x0e:], free)
		le.PutUint16(d[0x12:], flags)
		le.PutUint16(d[0x1c:], free) // unused inodes at the end of the table
		le.PutUint16(d[0x1e:], l.checksum(uint32(g), d))
	}
	return b
}

// checksum is that of a group's descriptor: CRC-16 of the file system's id, the
// group's number and the descriptor up to the checksum itself.
func (l *layout) checksum(group uint32, d []byte) uint16 {
	crc := crc16(0xffff, l.uuid[:])
	crc = crc16(crc, le.AppendUint32(nil, group))
	return crc16(crc, d[:0x1e])
}

// crc16 is the kernel's: polynomial x^16 + x^15 + x^2 + 1, bits reversed.
func crc16(crc uint16, p []byte) uint16 {
	for _, c := range p {
		crc ^= uint16(c)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xa001
			} else {
				crc >>= 1
			}
		}
	}
	return crc
}

func setBits(b []byte, from, to int64) {
	for i := from; i < to; i++ {
		b[i/8] |= 1 << (i % 8)
	}
}

func (l *layout) firstBlockBitmap() []byte {
	b := make([]byte, blockSize)
	setBits(b, 0, l.used(0))
	setBits(b, l.length(0), blocksPerGroup) // beyond the end
	return b
}

// lastBlockBitmap is that of the last group, nil if that is the first.
func (l *layout) lastBlockBitmap() []byte {
	last := l.groups - 1
	if last == 0 {
		return nil
	}
	b := make([]byte, blockSize)
	setBits(b, 0, l.used(last))
	setBits(b, l.length(last), blocksPerGroup)
	return b
}

func firstInodeBitmap() []byte {
	b := make([]byte, blockSize)
	setBits(b, 0, firstInode)
	setBits(b, inodesPerGroup, 8*blockSize)
	return b
}

// firstInodes is the beginning of the inode table: up to that of lost+found.
func (l *layout) firstInodes() []byte {
	b := make([]byte, firstInode*inodeSize)
	l.folder(b[(rootInode-1)*inodeSize:], 3, l.rootBlock())
	l.folder(b[(lostInode-1)*inodeSize:], 2, l.rootBlock()+1)
	return b
}

// folder fills the inode of a folder of one block.
func (l *layout) folder(i []byte, links uint16, block int64) {
	le.PutUint16(i[0x00:], folderMode)
	le.PutUint32(i[0x04:], blockSize)
	for _, at := range []int{0x08, 0x0c, 0x10, 0x90} { // times
		le.PutUint32(i[at:], l.now)
	}
	le.PutUint16(i[0x1a:], links)
	le.PutUint32(i[0x1c:], blockSize/512)
	le.PutUint32(i[0x20:], extentsFlag)
	extents := i[0x28:]
	le.PutUint16(extents[0:], 0xf30a) // magic
	le.PutUint16(extents[2:], 1)      // entries
	le.PutUint16(extents[4:], 4)      // at most
	le.PutUint16(extents[16:], 1)     // blocks of the first extent
	le.PutUint32(extents[20:], uint32(block))
	le.PutUint16(i[0x80:], 32) // extra bytes
}

func rootFolder() []byte {
	b := make([]byte, blockSize)
	n := entry(b, rootInode, ".", 12)
	n += entry(b[n:], rootInode, "..", 12)
	entry(b[n:], lostInode, "lost+found", blockSize-n)
	return b
}

func lostFolder() []byte {
	b := make([]byte, blockSize)
	n := entry(b, lostInode, ".", 12)
	entry(b[n:], rootInode, "..", blockSize-n)
	return b
}

// entry writes an entry of a folder that takes length bytes.
func entry(b []byte, inode uint32, name string, length int) int {
	le.PutUint32(b, inode)
	le.PutUint16(b[4:], uint16(length))
	b[6], b[7] = byte(len(name)), 2 // a folder
	copy(b[8:], name)
	return length
}
