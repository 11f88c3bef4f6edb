package patch

import (
	"bytes"
	"io"

	"pyro/api"
	"pyro/internal/tree"
)

const (
	chunkBytes = 128 << 10 // of two large files that are compared
	sniffBytes = 8000      // in which git looks for a NUL
)

// reader reads files of one tree, one at a time, into memory that it uses again.
type reader struct {
	tree *tree.Tree
	node *tree.Node // whose bytes data holds
	data []byte
}

// load returns the bytes of a link's target, or of a file that is small enough.
// They stand until the next load.
func (r *reader) load(path string, n *tree.Node) ([]byte, error) {
	if n.Type == tree.Symlink {
		return []byte(n.Target), nil
	}
	if r.node == n {
		return r.data, nil
	}
	return r.head(path, n, n.Size)
}

// head returns the first size bytes of a file.
func (r *reader) head(path string, n *tree.Node, size int64) ([]byte, error) {
	r.node = nil
	r.data = sized(r.data, size)
	if _, err := io.ReadFull(r.tree.Open(n), r.data); err != nil {
		return nil, unreadable(path, err)
	}
	if size == n.Size {
		r.node = n
	}
	return r.data, nil
}

// sized returns a slice of size bytes, b if that has room.
func sized(b []byte, size int64) []byte {
	if int64(cap(b)) < size {
		return make([]byte, size)
	}
	return b[:size]
}

func unreadable(path string, err error) error {
	return api.Errorf(api.KindStorage, "%s cannot be read to compare it: %w", path, err)
}

// isBinary decides as git does.
func isBinary(data []byte) bool {
	return bytes.IndexByte(data[:min(len(data), sniffBytes)], 0) >= 0
}

// differ reports whether two regular files hold different bytes. Small ones stay
// loaded, since a text is made of those that do.
func (w *walker) differ(path string, a, b *tree.Node) (bool, error) {
	if a.Size != b.Size {
		return true, nil
	}
	if a.Size == 0 || w.options.Same(a, b) {
		return false, nil
	}
	if a.Size > w.options.MaxFileBytes {
		return w.differLarge(path, a, b)
	}
	before, err := w.before.load(path, a)
	if err != nil {
		return false, err
	}
	after, err := w.after.load(path, b)
	return !bytes.Equal(before, after), err
}

// differLarge compares a piece at a time, up to the first difference. What is a hole
// in both is not read.
func (w *walker) differLarge(path string, a, b *tree.Node) (bool, error) {
	before, after := w.before.tree.Open(a), w.after.tree.Open(b)
	var x, y [chunkBytes]byte
	for at := int64(0); ; {
		if w.ctx.Err() != nil {
			return false, canceled(w.ctx)
		}
		inA, _ := a.NextData(at)
		inB, _ := b.NextData(at)
		if at = min(inA, inB); at == a.Size {
			return false, nil
		}
		n := min(a.Size-at, chunkBytes)
		if err := readAt(before, x[:n], at); err != nil {
			return false, unreadable(path, err)
		}
		if err := readAt(after, y[:n], at); err != nil {
			return false, unreadable(path, err)
		}
		if !bytes.Equal(x[:n], y[:n]) {
			return true, nil
		}
		at += n
	}
}

// readAt fills p.
func readAt(r io.ReaderAt, p []byte, at int64) error {
	n, err := r.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	return err
}
