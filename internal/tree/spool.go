package tree

import (
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// spoolBuffer is how much file data is gathered before it is written out.
const spoolBuffer = 1 << 20

// spool is the file that holds the data of a tree. It has no name on the host,
// so nothing stays behind when the process dies. Data is only ever added.
type spool struct {
	f *os.File

	mu      sync.Mutex // guards buf and flushed; readers come from several goroutines
	buf     []byte     // data after the flushed part
	flushed int64      // bytes in the file
}

func newSpool(dir string) (*spool, error) {
	f, err := openUnlinked(dir)
	if err != nil {
		return nil, api.Errorf(api.KindStorage, "no spool file can be made in %s: %w", dir, err).
			WithHint("check that the folder exists, is writable and has room")
	}
	return &spool{f: f}, nil
}

// openUnlinked makes a file without a name; where the file system cannot do
// that, one whose name is taken away at once.
func openUnlinked(dir string) (*os.File, error) {
	if f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600); err == nil {
		return f, nil
	}
	f, err := os.CreateTemp(dir, "spool-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// add appends all of r and returns where it begins and how long it is. Errors
// of r are returned as they are; errors of the file are of KindStorage.
func (s *spool) add(r io.Reader) (off, size int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buf == nil {
		s.buf = make([]byte, 0, spoolBuffer)
	}
	off = s.flushed + int64(len(s.buf))
	for idle := 0; ; {
		if len(s.buf) == cap(s.buf) {
			if err := s.flush(); err != nil {
				return 0, 0, err
			}
		}
		n, err := r.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+n]
		size += int64(n)
		if err == io.EOF {
			return off, size, nil
		}
		if err != nil {
			return 0, 0, err
		}
		if n > 0 {
			idle = 0
		} else if idle++; idle == 100 {
			return 0, 0, io.ErrNoProgress
		}
	}
}

// flush writes the buffer out. The caller holds mu.
func (s *spool) flush() error {
	n, err := s.f.WriteAt(s.buf, s.flushed)
	if err != nil {
		return api.Errorf(api.KindStorage, "the spool file cannot take %d bytes more: %w", len(s.buf)-n, err).
			WithHint("make room on the disk, then try again")
	}
	s.flushed += int64(n)
	s.buf = s.buf[:0]
	return nil
}

// ReadAt reads what add has stored.
func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	if off+int64(len(p)) > s.flushed && len(s.buf) > 0 {
		if err := s.flush(); err != nil {
			s.mu.Unlock()
			return 0, err
		}
	}
	s.mu.Unlock()
	return s.f.ReadAt(p, off)
}

func (s *spool) Close() error { return s.f.Close() }
