// Package holes is how the tar of a saved layer has a file with holes.
//
// A hole is a part of a file that was never written: it reads as zeros, and takes
// no room. A file of a terabyte may be nothing else. A plain tar has all those
// zeros; GNU's sparse entries have not, but archive/tar neither writes them nor
// tells where the holes are. So a layer has entries of its own for such files. One
// is a regular file for whoever does not know them, with the record [Record], which
// is the size of the file, and as its data
//
//	count    8 bytes, little endian
//	pieces   count times the offset in the file and the size, 8 bytes each
//	data     of all pieces, one after the other
//
// Pieces are in order, do not overlap and end within the file.
package holes

import (
	"archive/tar"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Record is the PAX record that marks an entry. Its value is the size of the file
// in bytes, a decimal number.
const Record = "PYRO.holes.size"

// MaxPieces is how many pieces a file may have: enough for 16 GiB in single pages.
const MaxPieces = 4 << 20

const (
	countSize = 8
	pieceSize = 16
)

// Piece is a part of a file that is not a hole.
type Piece struct{ Offset, Size int64 }

// End is where the piece ends in the file.
func (p Piece) End() int64 { return p.Offset + p.Size }

// Map says where a file has data.
type Map struct {
	Size   int64 // of the file
	Pieces []Piece
}

// Stored is the size of the entry in the tar.
func (m Map) Stored() int64 {
	n := int64(countSize + pieceSize*len(m.Pieces))
	for _, p := range m.Pieces {
		n += p.Size
	}
	return n
}

// Zeros is how many bytes the holes have.
func (m Map) Zeros() int64 {
	n := m.Size
	for _, p := range m.Pieces {
		n -= p.Size
	}
	return n
}

// Mark makes h the header of the file's entry.
func (m Map) Mark(h *tar.Header) {
	if h.PAXRecords == nil {
		h.PAXRecords = map[string]string{}
	}
	h.PAXRecords[Record] = strconv.FormatInt(m.Size, 10)
	h.Size = m.Stored()
}

// Write writes what precedes the data of the pieces.
func (m Map) Write(w io.Writer) error {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(m.Pieces)))
	for pieces := range slices.Chunk(m.Pieces, chunk) {
		for _, p := range pieces {
			b = binary.LittleEndian.AppendUint64(b, uint64(p.Offset))
			b = binary.LittleEndian.AppendUint64(b, uint64(p.Size))
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		b = b[:0]
	}
	_, err := w.Write(b)
	return err
}

// chunk is how many pieces are read or written at once.
const chunk = 256

// Read reads the map of an entry, and leaves payload where the data of its pieces
// begins. For an entry without [Record], ok is false and nothing is read. A map that
// makes no sense, does not fit its entry or has more than limit pieces is an error,
// and so is an entry with holes in GNU's form, which archive/tar makes zeros of
// without end.
func Read(h *tar.Header, payload io.Reader, limit int) (m Map, ok bool, err error) {
	size, ok := h.PAXRecords[Record]
	if !ok {
		return m, false, notGNU(h)
	}
	if m.Size, err = strconv.ParseInt(size, 10, 64); err != nil || m.Size < 0 || h.Typeflag != tar.TypeReg {
		return Map{}, true, fmt.Errorf("an entry of type %q with holes, of %q bytes", h.Typeflag, size)
	}
	var b [pieceSize * chunk]byte
	if _, err := io.ReadFull(payload, b[:countSize]); err != nil {
		return Map{}, true, fmt.Errorf("the number of its pieces: %w", err)
	}
	count := binary.LittleEndian.Uint64(b[:])
	if count > uint64(limit) || count > uint64(h.Size-countSize)/pieceSize {
		return Map{}, true, fmt.Errorf("%d pieces in %d bytes, %d is the most", count, h.Size, limit)
	}
	m.Pieces = make([]Piece, 0, min(count, chunk)) // grows with what is really there
	for left := int(count); left > 0; {
		n := min(left, chunk)
		if _, err := io.ReadFull(payload, b[:n*pieceSize]); err != nil {
			return Map{}, true, fmt.Errorf("the list of its pieces: %w", err)
		}
		for p := range slices.Chunk(b[:n*pieceSize], pieceSize) {
			if err := m.add(binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])); err != nil {
				return Map{}, true, err
			}
		}
		left -= n
	}
	if m.Stored() != h.Size {
		return Map{}, true, fmt.Errorf("%d bytes for pieces of %d", h.Size, m.Stored())
	}
	return m, true, nil
}

func notGNU(h *tar.Header) error {
	foreign := h.Typeflag == tar.TypeGNUSparse
	for k := range h.PAXRecords {
		foreign = foreign || strings.HasPrefix(k, "GNU.sparse.")
	}
	if foreign {
		return errors.New("a sparse entry of GNU's")
	}
	return nil
}

// add checks a piece that was read.
func (m *Map) add(offset, size uint64) error {
	end := int64(0)
	if n := len(m.Pieces); n > 0 {
		end = m.Pieces[n-1].End()
	}
	if offset < uint64(end) || size == 0 || offset > uint64(m.Size) || size > uint64(m.Size)-offset {
		return fmt.Errorf("a piece of %d bytes at %d, after one that ends at %d, in %d bytes", size, offset, end, m.Size)
	}
	m.Pieces = append(m.Pieces, Piece{int64(offset), int64(size)})
	return nil
}
