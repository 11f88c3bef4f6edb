package fscheckpoint

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"pyro/api"
	"pyro/internal/tree"
)

// xattrRecord is the prefix of PAX records that hold extended attributes.
const xattrRecord = "SCHILY.xattr."

// copyBuffer is how much of a file is read at once.
const copyBuffer = 256 << 10

// WriteLayer writes the saved layer of the mount as a plain tar, the way
// runtime.LayerExporter does: the same entries in the same order, with
// whiteouts, hard links and PAX records as they are, and the bytes of files in
// their place. Holes become zeros.
//
// The layer may have tree.DefaultEntries entries and DefaultBytes bytes of files.
// Names are passed on unseen, whoever reads the tar has to judge them.
func (c *Checkpoint) WriteLayer(ctx context.Context, mount string, w io.Writer) error {
	l, err := c.layer(mount)
	if err != nil {
		return err
	}
	out := &sink{w: w}
	buffered := bufio.NewWriterSize(out, 1<<20)
	cp := &copier{
		ctx: ctx, layer: l, tw: tar.NewWriter(buffered), buf: make([]byte, copyBuffer),
		decoder: decoder{memory: l.memory},
		entries: tree.DefaultEntries, bytes: DefaultBytes,
	}
	a := c.archive(ctx, l)
	err = cp.copy(tar.NewReader(a))
	if err == nil {
		err = a.finished(l)
	}
	if err == nil {
		err = errors.Join(cp.tw.Close(), buffered.Flush())
	}
	switch {
	case out.err != nil:
		return writeError(l, out.err)
	case ctx.Err() != nil:
		return api.Errorf(api.KindCanceled, "%s: %w", l.name, ctx.Err())
	}
	return err
}

// sink remembers the error of the writer, to tell it from those of the layer.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		s.err = err
	}
	return n, err
}

func writeError(l *layer, err error) error {
	wrapped := fmt.Errorf("%s cannot be written as a tar: %w", l.name, err)
	if e := api.AsError(wrapped); e.Kind != api.KindInternal {
		return e
	}
	return api.Errorf(api.KindStorage, "%w", wrapped)
}

// copier is one run of WriteLayer.
type copier struct {
	ctx     context.Context
	layer   *layer
	tw      *tar.Writer
	buf     []byte
	decoder decoder
	entries int   // that may come still
	bytes   int64 // of files that may come still
}

func (cp *copier) copy(tr *tar.Reader) error {
	last := ""
	for {
		h, err := tr.Next()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, tar.ErrInsecurePath) && h != nil: // whoever reads the tar judges names
		case err != nil:
			return damaged(cp.layer.name, "what follows %q is no entry: %w", last, err)
		}
		last = h.Name
		if err := cp.entry(h, tr); err != nil {
			return err
		}
	}
}

func (cp *copier) entry(h *tar.Header, payload io.Reader) error {
	if cp.entries--; cp.entries < 0 {
		return cp.beyond(h, "more than %d entries", tree.DefaultEntries)
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return cp.file(h, payload)
	case tar.TypeDir, tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return cp.header(h, 0)
	}
	return cp.wrong(h, fmt.Errorf("entries of type %q are not allowed", h.Typeflag))
}

func (cp *copier) file(h *tar.Header, payload io.Reader) error {
	cp.decoder.left = maxSegments // nothing is kept
	src, off, size, err := cp.decoder.decode(h, payload)
	if err != nil {
		return cp.wrong(h, err)
	}
	if cp.bytes -= size; cp.bytes < 0 {
		return cp.beyond(h, "more than %d bytes of file data", DefaultBytes)
	}
	if err := cp.header(h, size); err != nil || size == 0 {
		return err
	}
	r := contextReader{cp.ctx, io.NewSectionReader(src, off, size)}
	if _, err := io.CopyBuffer(cp.tw, r, cp.buf); err != nil {
		return cp.wrong(h, err)
	}
	return nil
}

// header writes the entry's header. What is left out is how the reader has found
// it written, so that a size may change; the writer chooses as gVisor's does.
func (cp *copier) header(h *tar.Header, size int64) error {
	out := &tar.Header{
		Typeflag: h.Typeflag, Name: h.Name, Linkname: h.Linkname, Size: size,
		Mode: h.Mode, Uid: h.Uid, Gid: h.Gid, ModTime: h.ModTime,
		Devmajor: h.Devmajor, Devminor: h.Devminor,
	}
	for k, v := range h.PAXRecords {
		if strings.HasPrefix(k, xattrRecord) {
			if out.PAXRecords == nil {
				out.PAXRecords = map[string]string{}
			}
			out.PAXRecords[k] = v
		}
	}
	if err := cp.tw.WriteHeader(out); err != nil {
		return cp.wrong(h, err)
	}
	return nil
}

// wrong is the error of an entry that lies. Errors of files have their kind.
func (cp *copier) wrong(h *tar.Header, err error) error {
	if e := api.AsError(err); e.Kind != api.KindInternal {
		return api.AsError(fmt.Errorf("%s: entry %q: %w", cp.layer.name, h.Name, err))
	}
	return damaged(cp.layer.name, "entry %q: %w", h.Name, err)
}

// beyond is the error of an entry that goes beyond the limits.
func (cp *copier) beyond(h *tar.Header, format string, limit int64) error {
	return unreadable(api.Errorf(api.KindUnsafe, "%s: entry %q: %s", cp.layer.name, h.Name, fmt.Sprintf(format, limit)))
}
