package holes

import (
	"fmt"
	"io"
	"sort"
)

// File reads a file with holes from what has its data.
type File struct {
	src    io.ReaderAt
	size   int64
	pieces []Placed
}

// Placed is a piece and where its data begins in what has it.
type Placed struct {
	Piece
	At int64
}

// NewFile makes a reader of the file with the map m. The data of its pieces begins
// at off in src, one after the other.
func NewFile(m Map, src io.ReaderAt, off int64) *File {
	pieces := make([]Placed, len(m.Pieces))
	for i, p := range m.Pieces {
		pieces[i] = Placed{p, off}
		off += p.Size
	}
	return NewPlaced(m.Size, pieces, src)
}

// NewPlaced makes a reader of a file whose pieces lie anywhere in src. They are in
// order, do not overlap and end within the file.
func NewPlaced(size int64, pieces []Placed, src io.ReaderAt) *File { return &File{src, size, pieces} }

// find returns the first piece that ends behind off.
func (f *File) find(off int64) int {
	return sort.Search(len(f.pieces), func(i int) bool { return f.pieces[i].End() > off })
}

// NextData implements tree.Sparse.
func (f *File) NextData(off int64) (start, end int64) {
	i := f.find(off)
	if i == len(f.pieces) {
		return f.size, f.size
	}
	return max(off, f.pieces[i].Offset), f.pieces[i].End()
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("offset %d of a file", off)
	}
	if off >= f.size {
		return 0, io.EOF
	}
	var end error
	if left := f.size - off; int64(len(p)) > left {
		p, end = p[:left], io.EOF
	}
	if n, err := f.read(p, off); err != nil {
		return n, err
	}
	return len(p), end
}

// read fills p, which lies in the file.
func (f *File) read(p []byte, off int64) (done int, err error) {
	for i := f.find(off); done < len(p); i++ {
		rest := p[done:]
		if i == len(f.pieces) || f.pieces[i].Offset-off >= int64(len(rest)) {
			clear(rest)
			return len(p), nil
		}
		piece := f.pieces[i]
		if hole := piece.Offset - off; hole > 0 {
			clear(rest[:hole])
			rest, off, done = rest[hole:], piece.Offset, done+int(hole)
		}
		n := int(min(int64(len(rest)), piece.End()-off))
		got, err := f.src.ReadAt(rest[:n], piece.At+off-piece.Offset)
		if got < n {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return done + got, err
		}
		off, done = off+int64(n), done+n
	}
	return done, nil
}

// Expand reads the file front to back: payload is where Read left it.
func (m Map) Expand(payload io.Reader) io.Reader { return &expander{m, payload, 0} }

type expander struct {
	m       Map // of what is left
	payload io.Reader
	at      int64
}

// Read implements io.Reader.
func (e *expander) Read(p []byte) (int, error) {
	for len(e.m.Pieces) > 0 && e.m.Pieces[0].End() == e.at {
		e.m.Pieces = e.m.Pieces[1:]
	}
	end, data := e.m.Size, false
	if len(e.m.Pieces) > 0 {
		if end = e.m.Pieces[0].Offset; end <= e.at {
			end, data = e.m.Pieces[0].End(), true
		}
	}
	p = p[:min(int64(len(p)), end-e.at)]
	n, err := len(p), error(nil)
	switch {
	case e.at == e.m.Size:
		return 0, io.EOF
	case data:
		if n, err = e.payload.Read(p); err == io.EOF && e.at+int64(n) < end {
			err = io.ErrUnexpectedEOF
		} else if err == io.EOF {
			err = nil
		}
	default:
		clear(p)
	}
	e.at += int64(n)
	return n, err
}
