package qemu

import (
	"archive/tar"
	"bufio"
	"errors"
	"io"
	"strings"

	"pyro/api"
	"pyro/internal/holes"
)

// maxPlainZeros bounds the zeros that are written for the holes of a layer. What reads
// the plain form keeps them, so that more would fill any disk.
const maxPlainZeros = 16 << 30

// plain writes the layer in from as runtime.LayerExporter has it: holes become
// zeros. what is what errors call the layer.
func plain(what string, from io.Reader, to io.Writer) error {
	buffered := bufio.NewWriterSize(to, 1<<20)
	p := &plainer{what: what, in: tar.NewReader(from), out: tar.NewWriter(buffered), zeros: maxPlainZeros, buf: make([]byte, 256<<10)}
	for {
		h, err := p.in.Next()
		if err == io.EOF {
			break
		}
		if err != nil && (h == nil || !errors.Is(err, tar.ErrInsecurePath)) { // whoever reads the layer judges names
			return p.damaged("the tar", err)
		}
		if err := p.entry(h); err != nil {
			return err
		}
	}
	return p.written(errors.Join(p.out.Close(), buffered.Flush()))
}

type plainer struct {
	what  string
	in    *tar.Reader
	out   *tar.Writer
	zeros int64 // that may come still
	buf   []byte
}

func (p *plainer) damaged(name string, err error) error {
	if e := api.AsError(err); e.Kind != api.KindInternal {
		return e
	}
	return api.Errorf(api.KindVerification, "%s: %s: %w", p.what, name, err)
}

func (p *plainer) written(err error) error {
	if err == nil {
		return nil
	}
	if e := api.AsError(err); e.Kind != api.KindInternal {
		return e
	}
	return storageError(p.what+": its layer as a tar", err)
}

func (p *plainer) entry(h *tar.Header) error {
	m, sparse, err := holes.Read(h, p.in, holes.MaxPieces)
	if err != nil {
		return p.damaged(h.Name, err)
	}
	var data io.Reader = p.in
	size := h.Size
	if sparse {
		size = m.Size
		if p.zeros -= m.Zeros(); p.zeros < 0 {
			return api.Errorf(api.KindUnsupported, "%s: %s has %d bytes, most of them a hole: files with holes of more than %d bytes cannot be moved to another runtime or version",
				p.what, strings.TrimPrefix(h.Name, "."), m.Size, int64(maxPlainZeros)).
				WithHint("remove the file, or make it smaller, and take another snapshot")
		}
		data = m.Expand(p.in)
	}
	if err := p.out.WriteHeader(plainHeader(h, size)); err != nil {
		return p.damaged(h.Name, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	in := &readError{r: data}
	if _, err := io.CopyBuffer(struct{ io.Writer }{p.out}, in, p.buf); in.err != nil {
		return p.damaged(h.Name, in.err)
	} else if err != nil {
		return p.written(err)
	}
	return nil
}

// plainHeader is the header of an entry with so many bytes.
func plainHeader(h *tar.Header, size int64) *tar.Header {
	out := &tar.Header{
		Typeflag: h.Typeflag, Name: h.Name, Linkname: h.Linkname, Size: size, Mode: h.Mode, Uid: h.Uid, Gid: h.Gid,
		ModTime: h.ModTime, Devmajor: h.Devmajor, Devminor: h.Devminor, Format: tar.FormatPAX, PAXRecords: map[string]string{},
	}
	for k, v := range h.PAXRecords {
		if strings.HasPrefix(k, "SCHILY.xattr.") {
			out.PAXRecords[k] = v
		}
	}
	return out
}

// readError remembers the reader's error, to tell it from the writer's.
type readError struct {
	r   io.Reader
	err error
}

func (r *readError) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}
