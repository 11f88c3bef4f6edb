package erofs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"pyro/api"
	"pyro/internal/tree"
)

// WriteOptions are the choices of Write.
type WriteOptions struct {
	// ModTime is the build time of the image, and the latest modification time of
	// anything in it: later ones become ModTime. The zero time means no limit and a
	// build time of 1970.
	ModTime time.Time
}

// Write writes t as an EROFS image to w, front to back, and returns its size in
// bytes. The same tree and options give the same bytes. Extended attributes are
// left out, because gVisor refuses inodes that have any.
//
// A tree too large for the format is of KindUnsupported; errors of w and of the
// tree's data are of KindStorage unless they bring a kind.
func Write(w io.Writer, t *tree.Tree, o WriteOptions) (int64, error) {
	p, err := layOut(t)
	if err != nil {
		return 0, err
	}
	bw := newBlockWriter(w)
	bw.write(p.superblock(o))
	p.writeMeta(bw, o)
	p.writeFiles(bw, t)
	if err := bw.flush(); err != nil {
		if _, ok := errors.AsType[*api.Error](err); ok {
			return bw.written, err
		}
		return bw.written, api.Errorf(api.KindStorage, "the EROFS image cannot be written: %w", err)
	}
	return bw.written, nil
}

// superblock returns block 0.
func (p *plan) superblock(o WriteOptions) []byte {
	built := time.Unix(0, 0)
	if !o.ModTime.IsZero() {
		built = o.ModTime
	}
	s := superblock{
		compat:    compatChecksum | compatMtime,
		blockBits: blockBits,
		root:      uint16(p.inodes[0].nid),
		inodes:    uint64(len(p.inodes)),
		buildTime: built,
		blocks:    uint32(p.blocks),
		uuid:      p.uuid(o),
	}
	b := make([]byte, blockSize)
	s.put(b)
	s.checksum = checksum(b[superOffset:])
	s.put(b)
	return b
}

// uuid derives the image's identity from its metadata: names, attributes, sizes
// and places, not the bytes of files. It is of version 8 of RFC 9562, "custom".
func (p *plan) uuid(o WriteOptions) (u [16]byte) {
	h := sha256.New()
	bw := newBlockWriter(hashWriter{h})
	p.writeMeta(bw, o)
	bw.flush()
	copy(u[:], h.Sum(nil))
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return u
}

// hashWriter is a hash as a plain writer, which cannot fail.
type hashWriter struct{ hash.Hash }

// writeMeta writes the inode table, then the blocks of folders and long symlinks.
func (p *plan) writeMeta(bw *blockWriter, o WriteOptions) {
	var head [inodeSize]byte
	off := uint64(blockSize)
	for k, i := range p.inodes {
		bw.zeros(i.nid*slotSize - off)
		i.raw(k+1, o).put(head[:])
		bw.write(head[:])
		bw.write(i.tailBytes())
		off = i.nid*slotSize + inodeSize + uint64(i.tail)
	}
	bw.zeros(p.data*blockSize - off)
	for _, i := range p.inodes {
		i.writeBlocks(bw)
	}
}

// tailBytes returns the data that stands behind the inode.
func (i *inode) tailBytes() []byte {
	switch {
	case i.tail == 0:
		return nil
	case i.node.Type == tree.Dir:
		return i.dirBlock(len(i.cuts)-1, i.tail)
	}
	return []byte(i.node.Target)
}

// writeBlocks writes the data blocks of a folder or long symlink.
func (i *inode) writeBlocks(bw *blockWriter) {
	switch i.node.Type {
	case tree.Dir:
		for k := range int(i.dataBlocks()) {
			bw.write(i.dirBlock(k, blockSize))
		}
	case tree.Symlink:
		if i.tail == 0 {
			bw.write([]byte(i.node.Target))
			bw.zeros(blockSize - i.size)
		}
	}
}

// dirBlock returns directory block k, padded to size: all entries, then all
// names. A name ends where the next begins, the last at a NUL or the end.
func (i *inode) dirBlock(k, size int) []byte {
	b := make([]byte, size)
	entries := i.block(k)
	nameOff := direntSize * len(entries)
	for n, e := range entries {
		d := b[n*direntSize:]
		le.PutUint64(d[0:], e.to.nid)
		le.PutUint16(d[8:], uint16(nameOff))
		d[10] = kinds[e.to.node.Type].code
		nameOff += copy(b[nameOff:], e.name)
	}
	return b
}

// writeFiles writes the bytes of all regular files.
func (p *plan) writeFiles(bw *blockWriter, t *tree.Tree) {
	for _, i := range p.inodes {
		if i.node.Type != tree.Regular || i.size == 0 {
			continue
		}
		bw.copy(t.Open(i.node), i.size)
		bw.zeros(roundUp(i.size, blockSize) - i.size)
		if bw.err != nil {
			return
		}
	}
}

// writeBuffer is how much of an image goes to its file in one call.
const writeBuffer = 1 << 20

// blockWriter buffers the image. Files are read straight into its buffer. The
// first error sticks and makes everything after it do nothing.
type blockWriter struct {
	w       io.Writer
	buf     []byte
	written int64
	err     error
}

func newBlockWriter(w io.Writer) *blockWriter {
	return &blockWriter{w: w, buf: make([]byte, 0, writeBuffer)}
}

func (b *blockWriter) flush() error {
	if b.err == nil && len(b.buf) > 0 {
		var n int
		n, b.err = b.w.Write(b.buf)
		b.written += int64(n)
		b.buf = b.buf[:0]
	}
	return b.err
}

// room returns up to n bytes of free buffer, at least one.
func (b *blockWriter) room(n uint64) []byte {
	if len(b.buf) == cap(b.buf) {
		b.flush()
		b.buf = b.buf[:0]
	}
	free := b.buf[len(b.buf):cap(b.buf)]
	return free[:min(n, uint64(len(free)))]
}

func (b *blockWriter) write(p []byte) {
	for len(p) > 0 && b.err == nil {
		n := copy(b.room(uint64(len(p))), p)
		b.buf = b.buf[:len(b.buf)+n]
		p = p[n:]
	}
}

func (b *blockWriter) zeros(n uint64) {
	for n > 0 && b.err == nil {
		r := b.room(n)
		clear(r)
		b.buf = b.buf[:len(b.buf)+len(r)]
		n -= uint64(len(r))
	}
}

// copy takes exactly n bytes from r.
func (b *blockWriter) copy(r io.Reader, n uint64) {
	for n > 0 && b.err == nil {
		p := b.room(n)
		if b.err != nil {
			return
		}
		if _, err := io.ReadFull(r, p); err != nil {
			b.err = fmt.Errorf("file data in the tree: %w", err)
			return
		}
		b.buf = b.buf[:len(b.buf)+len(p)]
		n -= uint64(len(p))
	}
}
