package export

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"pyro/api"
	"pyro/internal/tree"
)

// headerRoom is what an entry takes in a tar besides its data.
const headerRoom = 4 << 10

// ReadTar flattens a tar of the guest into a tree, to be exported from there and
// closed by the caller. Its data goes to a nameless file in spoolDir.
//
// Absolute names and "..", in entries and in hard links, are refused by name with
// KindUnsafe, as is whatever package tree refuses, such as sizes that lie and
// more entries or bytes than the options allow. Symbolic links are kept as they
// are; an entry below one goes where it leads inside the tree. r is read up to
// the end mark; name is what errors call it.
func ReadTar(ctx context.Context, r io.Reader, name, spoolDir string, o Options) (*tree.Tree, error) {
	o = o.withDefaults()
	t, err := tree.New(spoolDir)
	if err != nil {
		return nil, err
	}
	var bad error
	in := &boundedReader{ctx: ctx, r: r, left: o.MaxBytes + int64(o.MaxEntries)*headerRoom, stop: &bad}
	err = t.ApplyTar(in, tree.ApplyOptions{
		Name: name,
		Visit: func(_ string, h *tar.Header) {
			if bad == nil {
				bad = judge(name, h)
			}
		},
		Skip:   func(string) bool { return bad != nil },
		Limits: tree.Limits{Entries: o.MaxEntries, Bytes: o.MaxBytes},
	})
	if bad != nil {
		err = bad
	}
	if stop := stopped(ctx, name); stop != nil {
		err = stop
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// judge refuses names that package tree would take for harmless: it has images
// in mind, where absolute names are common.
func judge(archive string, h *tar.Header) error {
	for _, n := range []struct{ what, name string }{{"name", h.Name}, {"hard link target", h.Linkname}} {
		if n.what != "name" && h.Typeflag != tar.TypeLink {
			continue
		}
		if path.IsAbs(n.name) {
			return api.Errorf(api.KindUnsafe, "%s: entry %q: its %s is absolute", archive, h.Name, n.what)
		}
		for part := range strings.SplitSeq(n.name, "/") {
			if part == ".." {
				return api.Errorf(api.KindUnsafe, `%s: entry %q: a ".." in its %s`, archive, h.Name, n.what)
			}
		}
	}
	return nil
}

// boundedReader ends with its context, after left bytes, and once stop is set.
type boundedReader struct {
	ctx  context.Context
	r    io.Reader
	left int64
	stop *error // may be nil
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if b.stop != nil && *b.stop != nil {
		return 0, *b.stop
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, api.Errorf(api.KindUnsafe, "the stream does not end within the limits of entries and bytes")
	}
	return n, err
}

// WriteTar exports as a tar. A folder's names begin with "./", its own entry is
// "./"; a file is one entry with its own name. What is left out or changed is the
// same as for [Write], and so are the errors, of which KindStorage stands for
// those of w.
func WriteTar(ctx context.Context, src Source, w io.Writer, o Options) (Report, error) {
	pl, err := newPlan(src, o)
	if err != nil {
		return Report{}, err
	}
	bw := bufio.NewWriterSize(w, 1<<20)
	tw := &tarWriter{Writer: tar.NewWriter(bw), ctx: ctx, plan: pl, first: map[*tree.Node]string{}, buf: make([]byte, 256<<10)}
	if err = each("", pl.node, tw.entry); err == nil {
		err = tw.Close()
	}
	if err == nil {
		err = bw.Flush()
	}
	if stop := stopped(ctx, pl.name); stop != nil {
		return Report{}, stop
	}
	if _, ok := errors.AsType[*api.Error](err); err != nil && !ok {
		err = api.Errorf(api.KindStorage, "the tar of %s cannot be written: %w", pl.name, err)
	}
	if err != nil {
		return Report{}, err
	}
	return pl.report, nil
}

type tarWriter struct {
	*tar.Writer
	*plan
	ctx   context.Context
	first map[*tree.Node]string
	buf   []byte
}

func (tw *tarWriter) entry(rel string, n *tree.Node) error {
	if left(n) != "" {
		return nil
	}
	if err := tw.ctx.Err(); err != nil {
		return err
	}
	if rel == "" && n.Type != tree.Dir {
		rel = path.Base(tw.name)
	}
	plain := *n
	plain.Xattrs, plain.Mode = nil, n.Mode&0o777
	h := tree.Header("/"+rel, &plain, time.Time{})
	if !tw.report.Folder {
		h.Name = rel
	}
	if other, ok := tw.first[n]; ok {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, other, 0
		return tw.WriteHeader(h)
	}
	if n.Type != tree.Dir {
		tw.first[n] = h.Name
	}
	if err := tw.WriteHeader(h); err != nil {
		return fmt.Errorf("%q: %w", rel, err)
	}
	if n.Type != tree.Regular {
		return nil
	}
	if _, err := io.CopyBuffer(tw.Writer, &boundedReader{ctx: tw.ctx, r: tw.tree.Open(n), left: n.Size}, tw.buf); err != nil {
		return fmt.Errorf("%q: %w", rel, err)
	}
	return nil
}
