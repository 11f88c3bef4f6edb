package seed

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"pyro/internal/tree"
)

// archiveRun is one reading of an archive.
type archiveRun struct {
	st    *stage
	tr    *tar.Reader
	most  int64 // file data that is in proportion to the archive's size
	names map[string]*inode
}

func readArchive(ctx context.Context, s *Source, st *stage) error {
	u, err := s.unpack(ctx, st.limits)
	if err != nil {
		return err
	}
	defer u.close()
	a := &archiveRun{st: st, tr: tar.NewReader(u), most: s.mostBytes(), names: map[string]*inode{}}
	st.mtime = s.mtime
	last, err := a.run()
	if err == nil {
		err = u.finish()
	}
	switch {
	case u.over():
		return refused(s.Path, last, u.err)
	case u.err != nil:
		return damaged(s.Path, u.err)
	case err != nil:
		return refused(s.Path, last, err)
	}
	for p, in := range a.names {
		st.names = append(st.names, staged{path: p, node: in})
	}
	if err := st.checkLinks(s.Path, false); err != nil || st.guest == nil {
		return err
	}
	return st.compareAll(ctx)
}

// run stages all entries and returns the name of the one it stopped at.
func (a *archiveRun) run() (last string, err error) {
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

// entryTypes are the types of what may be in an archive, besides hard links.
var entryTypes = map[byte]tree.Type{
	tar.TypeReg:       tree.Regular,
	tar.TypeGNUSparse: tree.Regular,
	tar.TypeDir:       tree.Dir,
	tar.TypeSymlink:   tree.Symlink,
}

func (a *archiveRun) entry(h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader { // git archive's; holds no entry
		return a.st.chargeName("", "")
	}
	p, err := relative(h.Name)
	if err != nil {
		return err
	}
	if err := a.charge(p, h); err != nil {
		return err
	}
	if h.Mode&0o6000 != 0 && (h.Typeflag != tar.TypeDir || h.Mode&0o4000 != 0) {
		return fmt.Errorf("mode %04o, with a setuid or setgid bit", h.Mode&0o7777)
	}
	if h.Typeflag == tar.TypeLink {
		return a.link(p, h.Linkname)
	}
	typ, ok := entryTypes[h.Typeflag]
	if !ok {
		return fmt.Errorf("it is %s, which is not copied", typeflagWords(h.Typeflag))
	}
	if p == "" {
		if typ != tree.Dir {
			return errors.New("it takes the place of the archive's root folder")
		}
		a.st.mtime = h.ModTime
		return nil
	}
	if err := a.makeWay(p, typ, h.ModTime); err != nil {
		return err
	}
	in := &inode{typ: typ, mode: uint32(h.Mode & 0o777), mtime: h.ModTime}
	if h.Mode&0o7000 != 0 && typ != tree.Symlink {
		a.st.warnings = append(a.st.warnings, Warning{Path: p, Reason: fmt.Sprintf("had mode %04o; its special bits are cleared", h.Mode&0o7777)})
	}
	switch typ {
	case tree.Symlink:
		in.mode, in.target = 0o777, strings.Clone(h.Linkname)
		if n := len(in.target); n == 0 || n > maxTarget || strings.IndexByte(in.target, 0) >= 0 {
			return fmt.Errorf("a symbolic link to %d bytes, or with a NUL byte; 1 to %d are possible", n, maxTarget)
		}
	case tree.Regular:
		if err := a.data(in, h.Size); err != nil {
			return err
		}
	}
	a.names[p] = in
	return nil
}

// charge counts the entry against the limits before anything is done with it.
func (a *archiveRun) charge(p string, h *tar.Header) error {
	if err := a.st.chargeName(p, h.Linkname); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse {
		return nil
	}
	if err := a.st.chargeData(h.Size); err != nil {
		return err
	}
	// Holes of sparse files are made of nothing, so that the stream does not show them.
	if a.st.bytes.Load() > a.most {
		return errBomb
	}
	return nil
}

// data moves the entry's data to the spool.
func (a *archiveRun) data(in *inode, size int64) (err error) {
	if size == 0 {
		return nil
	}
	in.src, in.off, in.size, err = a.st.spool.Store(a.tr)
	if err == io.ErrUnexpectedEOF {
		return fmt.Errorf("it holds less than the %d bytes it declares: %w", size, err)
	}
	if err == nil && in.size != size {
		return fmt.Errorf("it holds %d bytes of the %d it declares", in.size, size)
	}
	return err
}

// makeWay looks that p can become a name of type typ, and makes its parents.
func (a *archiveRun) makeWay(p string, typ tree.Type, mtime time.Time) error {
	if old := a.names[p]; old != nil && old.typ != typ {
		return fmt.Errorf("a second entry of this name, now a %s, before a %s", typ, old.typ)
	}
	return a.makeParent(p, mtime)
}

// makeParent makes the folder of p. Once a name is a folder it stays one, so
// looking at the last one is enough.
func (a *archiveRun) makeParent(p string, mtime time.Time) error {
	dir := path.Dir(p)
	if dir == "." {
		return nil
	}
	if in := a.names[dir]; in != nil {
		if in.typ != tree.Dir {
			return fmt.Errorf("its folder %q is a %s", dir, in.typ)
		}
		return nil
	}
	if err := a.makeParent(dir, mtime); err != nil {
		return err
	}
	if err := a.st.chargeName(dir, ""); err != nil {
		return err
	}
	a.names[dir] = &inode{typ: tree.Dir, mode: 0o755, mtime: mtime, implied: true}
	return nil
}

func (a *archiveRun) link(p, target string) error {
	to, err := relative(target)
	if err != nil {
		return fmt.Errorf("a hard link to %q: %w", target, err)
	}
	in := a.names[to]
	switch {
	case in == nil:
		return fmt.Errorf("a hard link to %q, which is not in the archive before it", target)
	case in.typ == tree.Dir:
		return fmt.Errorf("a hard link to the folder %q", target)
	case p == "":
		return errors.New("it takes the place of the archive's root folder")
	}
	if err := a.makeWay(p, in.typ, in.mtime); err != nil {
		return err
	}
	a.names[p] = in
	return nil
}

func typeflagWords(flag byte) string {
	switch flag {
	case tar.TypeFifo:
		return "a fifo"
	case tar.TypeChar, tar.TypeBlock:
		return "a device"
	}
	return fmt.Sprintf("an entry of type %q", flag)
}
