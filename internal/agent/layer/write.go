package layer

import (
	"archive/tar"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"pyro/internal/holes"
)

// copyBuffer is how much of a file is read at once.
const copyBuffer = 256 << 10

// writeFile writes a new file, leaving out its holes and what is zero.
func (s *restorer) writeFile(parent int, base string, h *tar.Header, data io.Reader) error {
	m, sparse, err := holes.Read(h, data, holes.MaxPieces)
	if err != nil {
		return err
	}
	if !sparse {
		m = holes.Map{Size: h.Size, Pieces: []holes.Piece{{Size: h.Size}}}
	}
	fd, err := unix.Openat(parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	return errors.Join(s.fill(f, m, data), f.Close())
}

// fill writes the pieces that follow each other in data.
func (s *restorer) fill(f *os.File, m holes.Map, data io.Reader) error {
	skip := func(n int64) error { _, err := f.Seek(n, io.SeekCurrent); return err }
	out := &Zeros{W: f, Skip: skip}
	for _, p := range m.Pieces {
		if _, err := f.Seek(p.Offset, io.SeekStart); err != nil {
			return err
		}
		n, err := io.CopyBuffer(out, struct{ io.Reader }{io.LimitReader(data, p.Size)}, s.buf)
		if err != nil {
			return err
		}
		if n < p.Size {
			return io.ErrUnexpectedEOF
		}
	}
	return f.Truncate(m.Size)
}
