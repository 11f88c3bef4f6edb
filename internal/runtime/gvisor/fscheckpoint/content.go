package fscheckpoint

import (
	"archive/tar"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"pyro/internal/holes"
)

// maxSegments bounds the segments that are kept in memory for one layer, at 24
// bytes each: enough for 16 GiB in single pages.
const maxSegments = 4 << 20

// segmentSize is the size of a segment in the tar: offsets in the file where it
// starts and ends, and where it starts in the memory file, each 8 bytes.
const segmentSize = 24

// segment is a part of a file that is not a hole. Segments of a file are in order.
type segment struct {
	span        // in the file, of whole pages
	value int64 // in the memory file
}

// decoder reads what stands for the bytes of regular files in a layer's tar.
type decoder struct {
	memory   *memory
	left     int // segments that may be kept still
	buf      [segmentSize * 128]byte
	segments []segment // of the file in hand
}

// decode reads one file's payload, and returns where its bytes are.
func (d *decoder) decode(h *tar.Header, payload io.Reader) (src io.ReaderAt, off, size int64, err error) {
	count := (h.Size - 8) / segmentSize
	if h.Typeflag != tar.TypeReg || h.Size < 8 || (h.Size-8)%segmentSize != 0 {
		return nil, 0, 0, fmt.Errorf("%d bytes of type %q are no list of segments", h.Size, h.Typeflag)
	}
	if count > int64(d.left) {
		return nil, 0, 0, fmt.Errorf("more than %d segments in the layer", maxSegments)
	}
	if _, err := io.ReadFull(payload, d.buf[:8]); err != nil {
		return nil, 0, 0, err
	}
	declared := binary.LittleEndian.Uint64(d.buf[:])
	if declared > math.MaxInt64 {
		return nil, 0, 0, fmt.Errorf("a size of %d bytes", declared)
	}
	if err := d.readSegments(int(count), payload); err != nil {
		return nil, 0, 0, err
	}
	src, off = d.place(int64(declared))
	return src, off, int64(declared), nil
}

// readSegments reads and checks count segments.
func (d *decoder) readSegments(count int, payload io.Reader) error {
	d.segments = d.segments[:0]
	for count > 0 {
		n := min(count, len(d.buf)/segmentSize)
		b := d.buf[:n*segmentSize]
		if _, err := io.ReadFull(payload, b); err != nil {
			return err
		}
		for s := range slices.Chunk(b, segmentSize) {
			if err := d.add(binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:]), binary.LittleEndian.Uint64(s[16:])); err != nil {
				return err
			}
		}
		count -= n
	}
	return nil
}

// add checks a segment and appends it, to the one before it if it continues that.
func (d *decoder) add(start, end, value uint64) error {
	if start >= end || end > math.MaxInt64 || (start|end|value)%pageSize != 0 {
		return fmt.Errorf("no segment of a file goes from %d to %d and stands at %d", start, end, value)
	}
	if value > math.MaxInt64-(end-start) || !d.memory.holds(span{int64(value), int64(value + end - start)}) {
		return fmt.Errorf("a segment of %d bytes stands at %d of the memory, which is not in use", end-start, value)
	}
	s := segment{span{int64(start), int64(end)}, int64(value)}
	if last := len(d.segments) - 1; last >= 0 {
		before := &d.segments[last]
		if s.start < before.end {
			return fmt.Errorf("the segment at %d does not follow the one before it", s.start)
		}
		if s.start == before.end && s.value == before.value+before.end-before.start {
			before.end = s.end
			return nil
		}
	}
	d.segments = append(d.segments, s)
	return nil
}

// place returns where the bytes of a file are that has the segments in hand. Most
// files have one, which stands in one piece: nothing is kept for them.
func (d *decoder) place(size int64) (io.ReaderAt, int64) {
	if size == 0 {
		return nil, 0
	}
	if len(d.segments) == 1 && d.segments[0].start == 0 && d.segments[0].end >= size {
		value := d.segments[0].value
		if at, ok := d.memory.direct(span{value, value + size}); ok {
			return d.memory.pages, at
		}
	}
	d.left -= len(d.segments)
	return holes.NewPlaced(size, d.pieces(size), d.memory), 0
}

// pieces are the segments in hand as far as they are within the file: they are
// whole pages.
func (d *decoder) pieces(size int64) []holes.Placed {
	pieces := make([]holes.Placed, 0, len(d.segments))
	for _, s := range d.segments {
		if s.start < size {
			pieces = append(pieces, holes.Placed{Piece: holes.Piece{Offset: s.start, Size: min(s.end, size) - s.start}, At: s.value})
		}
	}
	return pieces
}
