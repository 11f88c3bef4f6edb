package fscheckpoint

import (
	"bufio"
	"context"
	"io"
)

// endMark is the length of the zeros that end a tar.
const endMark = 1024

// archive reads the tar of one layer, and knows how far.
type archive struct {
	section *io.SectionReader
	r       *bufio.Reader // of section
	read    int64
}

func (c *Checkpoint) archive(ctx context.Context, l *layer) *archive {
	section := io.NewSectionReader(c.tars, l.tarStart, l.tarEnd-l.tarStart)
	return &archive{section: section, r: bufio.NewReaderSize(contextReader{ctx, section}, 256<<10)}
}

func (a *archive) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	a.read += int64(n)
	return n, err
}

// finished checks that the tar's end mark was where it ends: one in the middle
// is the zeros of a file that lost what was written into it.
func (a *archive) finished(l *layer) error {
	var end [endMark]byte
	if _, err := a.section.ReadAt(end[:], max(0, a.section.Size()-endMark)); err != nil && err != io.EOF {
		return err
	}
	if a.section.Size() < endMark || end != [endMark]byte{} || a.read != a.section.Size() {
		return damaged(l.name, "its tar has no end mark at its end: %d of %d bytes were read", a.read, a.section.Size())
	}
	return nil
}

// contextReader fails when its context is done.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
