package tree

import "io"

// Sparse is what a source of file data may be that knows of holes: parts that
// nobody wrote and that read as zeros. Whoever reads files can pass over them.
type Sparse interface {
	io.ReaderAt
	// NextData returns where the next data at or behind off begins and ends. Both
	// are the size of the file if nothing follows but a hole.
	NextData(off int64) (start, end int64)
}

// NextData returns where the next bytes of a regular file at or behind off are that
// have to be read: [off, start) reads as zeros. Both are the file's size if there
// are none. Of a file whose source does not know, every byte has to be read.
func (n *Node) NextData(off int64) (start, end int64) {
	s, ok := n.src.(Sparse)
	if !ok || off >= n.Size {
		return min(off, n.Size), n.Size
	}
	start, end = s.NextData(n.off + off)
	return min(start-n.off, n.Size), min(end-n.off, n.Size)
}
