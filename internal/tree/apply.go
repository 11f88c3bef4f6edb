package tree

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"pyro/api"
)

// ApplyOptions are the ways to read an archive; the zero value reads a plain
// tar with the default limits.
type ApplyOptions struct {
	// Name is what errors call the archive: a digest, a package's file name.
	Name string
	// Whiteouts says how the archive marks deletions. It also settles what a
	// folder does to a symlink to a folder: in a plain archive the link stays (see
	// [Tree.Put]), in a layer the folder replaces it.
	Whiteouts Whiteouts
	// Skip, if set, leaves out the entries it returns true for, whiteouts
	// included. Paths are clean and absolute. The data of a file left out is taken
	// all the same: hard links to it that are not left out get it.
	Skip func(path string) bool
	// Visit, if set, is called for every entry in the archive's order, before
	// Skip. It may change h's PAX records, and must not keep h.
	Visit func(path string, h *tar.Header)
	// Data, if set, is asked where the bytes of each regular file are: size of
	// them, at off in src, which must live as long as the tree. Nothing goes into
	// the spool then. It is for archives that hold something else in the place of
	// the bytes: payload, of which Data may read as much as it likes. Limits.Bytes
	// counts the sizes that it answers, not those of the archive. Its errors are
	// returned as those of the entry.
	Data func(h *tar.Header, payload io.Reader) (src io.ReaderAt, off, size int64, err error)
	// Limits bounds what the archive may make.
	Limits Limits
}

// ApplyTar puts the entries of the tar r into the tree as one layer. r is
// uncompressed and is read up to the archive's end mark. What Data leaves of a
// payload is passed over with Seek if r is an [io.Seeker].
//
// An entry that is dangerous or makes no sense is an error of KindUnsafe which
// names the archive and the entry; r's own errors keep their kind, or become
// KindVerification. After an error the tree holds a part of the archive and is
// only good for Close.
func (t *Tree) ApplyTar(r io.Reader, o ApplyOptions) error {
	if o.Name == "" {
		o.Name = "archive"
	}
	t.layer++
	t.meter = newMeter(o.Limits)
	defer func() { t.meter = unmetered() }()

	src := &source{r: r}
	a := &applier{
		t: t, o: o, tr: tar.NewReader(src.reader()),
		whiteouts: map[string]bool{}, purged: map[*Node]bool{}, skipped: map[string]*Node{},
	}
	last, err := a.run()
	if err == nil {
		return nil
	}
	if src.err != nil {
		return readError(o.Name, src.err)
	}
	return entryError(o.Name, last, err)
}

// source remembers the reader's own error, which archive/tar may disguise.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// reader is what archive/tar is given: it seeks in every reader that says it can.
func (s *source) reader() io.Reader {
	if seeker, ok := s.r.(io.Seeker); ok {
		return struct {
			io.Reader
			io.Seeker
		}{s, seeker}
	}
	return s
}

func readError(archive string, err error) error {
	wrapped := fmt.Errorf("%s: %w", archive, err)
	if _, ok := errors.AsType[*api.Error](err); ok {
		return api.AsError(wrapped)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return api.Errorf(api.KindCanceled, "%w", wrapped)
	}
	return api.Errorf(api.KindVerification, "%s cannot be read: %w", archive, err)
}

func entryError(archive, entry string, err error) error {
	if _, ok := errors.AsType[*api.Error](err); ok { // the spool's
		return api.AsError(fmt.Errorf("%s: entry %q: %w", archive, entry, err))
	}
	return api.Errorf(api.KindUnsafe, "%s: entry %q: %w", archive, entry, err).
		WithHint("the archive is damaged or made to do harm: get it from a source you trust")
}

// applier is one run of ApplyTar.
type applier struct {
	t         *Tree
	o         ApplyOptions
	tr        *tar.Reader
	whiteouts map[string]bool  // overlay whiteouts seen, to tell hard links to them
	purged    map[*Node]bool   // folders without entries of lower layers
	skipped   map[string]*Node // what Skip left out and hard links may want
}

// run applies all entries and returns the name of the one it stopped at.
func (a *applier) run() (last string, err error) {
	for {
		h, err := a.tr.Next()
		switch {
		case err == io.EOF:
			return last, nil
		case errors.Is(err, tar.ErrInsecurePath) && h != nil: // judged below, by our own rules
		case errors.Is(err, io.ErrUnexpectedEOF):
			return last, fmt.Errorf("the archive ends in or after it: %w", err)
		case err != nil:
			return last, fmt.Errorf("what follows it is not a tar entry: %w", err)
		}
		last = h.Name
		if err := a.entry(h); err != nil {
			return last, err
		}
	}
}

// entry applies one entry.
func (a *applier) entry(h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader { // git archive's; holds no entry
		return a.t.meter.entry(0)
	}
	name, err := clean(h.Name)
	if err != nil {
		return err
	}
	if err := a.charge(name, h); err != nil {
		return err
	}
	if a.o.Visit != nil {
		a.o.Visit(name, h)
	}
	skip := a.o.Skip != nil && a.o.Skip(name)
	if a.isWhiteout(name, h) {
		if skip {
			return nil
		}
		return a.whiteout(name)
	}
	if h.Typeflag == tar.TypeLink {
		return a.link(name, h.Linkname, skip)
	}
	n, err := nodeOf(h)
	if err != nil {
		return err
	}
	if skip {
		return a.skip(name, n, h)
	}
	if a.o.Whiteouts == WhiteoutsOverlay {
		if err := a.overlayAttrs(name, n); err != nil {
			return err
		}
	}
	return a.put(name, n, h)
}

// charge counts the entry against the limits before anything is done with it.
func (a *applier) charge(name string, h *tar.Header) error {
	if err := a.t.meter.path(strings.Count(name, "/"), len(name)); err != nil {
		return err
	}
	meta := len(name) + len(h.Linkname)
	for k, v := range h.PAXRecords {
		meta += len(k) + len(v)
	}
	if err := a.t.meter.entry(meta); err != nil {
		return err
	}
	if isRegular(h) && a.o.Data == nil {
		return a.t.meter.data(h.Size)
	}
	return nil
}

func isRegular(h *tar.Header) bool {
	return h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeGNUSparse
}

func (a *applier) put(name string, n *Node, h *tar.Header) error {
	rule := replaceLink
	if a.o.Whiteouts == WhiteoutsNone {
		rule = keepLink
	}
	return a.t.put(name, n, rule, a.data(h))
}

// data returns the function that gives a file the entry's data.
func (a *applier) data(h *tar.Header) func(*Node) error {
	if a.o.Data != nil {
		return func(c *Node) error { return a.refer(c, h) }
	}
	return func(c *Node) error {
		if h.Size == 0 {
			return nil
		}
		if err := a.t.spoolData(a.tr)(c); err != nil {
			return err
		}
		if c.Size != h.Size {
			return fmt.Errorf("holds %d bytes of the %d it declares", c.Size, h.Size)
		}
		return nil
	}
}

// refer gives a file the data that the caller knows for it.
func (a *applier) refer(c *Node, h *tar.Header) error {
	src, off, size, err := a.o.Data(h, a.tr)
	if err != nil {
		return err
	}
	if err := a.t.meter.data(size); err != nil {
		return err
	}
	if size == 0 {
		return nil
	}
	if src == nil || off < 0 {
		return api.Errorf(api.KindInternal, "%d bytes at offset %d of nothing cannot be referenced", size, off)
	}
	c.src, c.off, c.Size = src, off, size
	return nil
}

// skip keeps an entry out of the tree but at hand: gVisor, for one, writes the
// names of a file in random order, so that the entry with its data may be the
// one that is left out.
func (a *applier) skip(name string, n *Node, h *tar.Header) error {
	c, err := copyNode(n)
	if err != nil || c.Type == Dir {
		return err
	}
	if c.Type == Regular {
		if err := a.data(h)(c); err != nil {
			return err
		}
	}
	a.skipped[name] = c
	return nil
}

func (a *applier) link(name, target string, skip bool) error {
	target, err := clean(target)
	if err != nil {
		return fmt.Errorf("its hard link target: %w", err)
	}
	n := a.skipped[target]
	if n == nil {
		if n, err = a.t.linkTarget(target); err != nil {
			return err
		}
	}
	if skip {
		a.skipped[name] = n
		return nil
	}
	return a.t.linkNode(n, name)
}
