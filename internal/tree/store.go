package tree

import "io"

// Store adds all of r to the tree's spool without giving it a name, and returns
// what [Tree.PutData] takes to do that later: where the bytes are and how many.
// It is the one change that several goroutines may make at the same time, so
// that many files can be read at once; small readers that are in memory already
// keep the others waiting least.
//
// Errors of r are returned as they are, those of the spool are of KindStorage.
// What was read before an error stays in the spool until Close.
func (t *Tree) Store(r io.Reader) (src io.ReaderAt, off, size int64, err error) {
	off, size, err = t.spool.add(r)
	return t.spool, off, size, err
}
