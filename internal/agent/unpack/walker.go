package unpack

import (
	"golang.org/x/sys/unix"

	"pyro/internal/agent/beneath"
)

// walker opens folders below a base, part by part and never through a link. It
// keeps those on the way to the last one open, so that going through a tree in
// order opens each folder once.
type walker struct {
	base  int // not the walker's to close
	parts []string
	fds   []int
}

// at returns the open folder at parts. It is good until the next call.
func (w *walker) at(parts []string) (int, error) {
	same := 0
	for same < len(parts) && same < len(w.parts) && parts[same] == w.parts[same] {
		same++
	}
	w.cut(same)
	for _, part := range parts[same:] {
		fd, err := beneath.OpenFolder(w.last(), part)
		if err != nil {
			return -1, err
		}
		w.parts, w.fds = append(w.parts, part), append(w.fds, fd)
	}
	return w.last(), nil
}

func (w *walker) last() int {
	if len(w.fds) == 0 {
		return w.base
	}
	return w.fds[len(w.fds)-1]
}

func (w *walker) cut(n int) {
	for _, fd := range w.fds[n:] {
		unix.Close(fd)
	}
	w.parts, w.fds = w.parts[:n], w.fds[:n]
}

func (w *walker) close() { w.cut(0) }
