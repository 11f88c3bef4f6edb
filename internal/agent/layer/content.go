package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"pyro/internal/holes"
)

// shortHole is the size of holes that are not worth a piece of their own: they are
// read. Restore makes them again, since they are zeros.
const shortHole = 16 << 10

// statBlock is the unit of a file's blocks, see stat(2).
const statBlock = 512

// file writes the entry of a regular file, of which holes are not read. h is its
// header without what depends on them.
func (e *exporter) file(path string, h *tar.Header, st *syscall.Stat_t) error {
	if st.Size == 0 {
		return e.tar.WriteHeader(h)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	m := holes.Map{Size: st.Size, Pieces: []holes.Piece{{Size: st.Size}}}
	if st.Blocks*statBlock < st.Size { // else there is nothing to be saved
		if m, err = mapOf(f, st.Size); err != nil {
			return err
		}
	}
	whole := m.Zeros() == 0
	if h.Size = st.Size; !whole {
		m.Mark(h)
	}
	if err := e.tar.WriteHeader(h); err != nil {
		return err
	}
	if !whole {
		if err := m.Write(e.tar); err != nil {
			return err
		}
	}
	for _, p := range m.Pieces {
		if err := e.bytes(io.NewSectionReader(f, p.Offset, p.Size)); err != nil {
			return err
		}
	}
	return nil
}

// mapOf finds the holes of a file. Nobody changes it meanwhile.
func mapOf(f *os.File, size int64) (holes.Map, error) {
	m := holes.Map{Size: size}
	for at := int64(0); at < size; {
		start, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // a hole up to the end
			return m, nil
		}
		if err != nil {
			return m, err
		}
		end, err := f.Seek(start, unix.SEEK_HOLE)
		if err != nil {
			return m, err
		}
		start, end = min(start, size), min(end, size)
		if last := len(m.Pieces) - 1; last >= 0 && start-m.Pieces[last].End() < shortHole {
			m.Pieces[last].Size = end - m.Pieces[last].Offset
		} else if start < end {
			m.Pieces = append(m.Pieces, holes.Piece{Offset: start, Size: end - start})
		}
		if len(m.Pieces) > holes.MaxPieces {
			return m, fmt.Errorf("it has more than %d pieces with holes between them", holes.MaxPieces)
		}
		at = end
	}
	return m, nil
}

func (e *exporter) bytes(r *io.SectionReader) error {
	n, err := io.CopyBuffer(struct{ io.Writer }{e.tar}, struct{ io.Reader }{r}, e.buf)
	if err == nil && n != r.Size() {
		err = io.ErrUnexpectedEOF
	}
	return err
}
