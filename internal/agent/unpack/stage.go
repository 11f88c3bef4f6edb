package unpack

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"math"
	"strings"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/beneath"
)

// stager writes the stream into the staging folder.
type stager struct {
	*unpacker
	to       walker // where entries go
	target   walker // where hard links point
	buf      []byte
	count    int
	uid, gid int // what new files belong to
}

// stage reads the stream to its commit word. Nothing outside of the staging
// folder is touched.
func (u *unpacker) stage(ctx context.Context, stream io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := newPump(ctx, stream)
	s := &stager{
		unpacker: u,
		to:       walker{base: u.staging.new},
		target:   walker{base: u.staging.new},
		buf:      make([]byte, pumpChunk),
		uid:      unix.Geteuid(),
		gid:      unix.Getegid(),
	}
	defer s.to.close()
	defer s.target.close()
	if err := s.makeDest(); err != nil {
		return err
	}
	archive := tar.NewReader(in)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return archiveError(err)
		}
		if err := s.entry(h, archive); err != nil {
			return err
		}
	}
	if err := s.seal(u.top, nil); err != nil {
		return err
	}
	return awaitCommit(in)
}

func archiveError(err error) error {
	switch {
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong), errors.Is(err, tar.ErrWriteTooLong):
		return errorf(Internal, "the stream is not an archive: %w", err)
	case errors.Is(err, tar.ErrInsecurePath):
		return errorf(Unsafe, "the stream has a name that may not be: %w", err)
	}
	return streamError(err)
}

// makeDest makes the folders down to the destination.
func (s *stager) makeDest() error {
	f := s.top
	for i, part := range s.dest {
		at, err := s.to.at(s.dest[:i])
		if err == nil {
			err = s.try("mkdir", part, func() error { return unix.Mkdirat(at, part, 0o700) })
		}
		if err != nil {
			return fault(s.path(s.dest[:i+1]...), err)
		}
		f = f.add(part)
		f.fixed = true
	}
	return nil
}

// entry writes one entry.
func (s *stager) entry(h *tar.Header, data io.Reader) error {
	if s.count++; s.count > maxEntries {
		return errorf(Unsafe, "the stream has more than %d entries", maxEntries)
	}
	a, err := headerAttr(h)
	if err != nil {
		return err
	}
	parts, err := s.place(h.Name)
	if err != nil {
		return err
	}
	if done, err := s.record(h, parts); done || err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		return s.folder(h, parts, a)
	}
	if len(parts) == len(s.dest) {
		return errorf(Unsafe, "%q has no name", h.Name)
	}
	parent, name := parts[:len(parts)-1], parts[len(parts)-1]
	if _, err := s.ensure(h.Name, parent); err != nil {
		return err
	}
	at, err := s.to.at(parent)
	if err != nil {
		return fault(s.path(parent...), err)
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return s.file(h, data, at, name, a)
	case tar.TypeSymlink:
		err = s.symlink(h, at, name, a)
	case tar.TypeLink:
		err = s.link(h, at, name)
	default:
		return errorf(Unsafe, "%q is of type %q; files, folders and links may be sent", h.Name, h.Typeflag)
	}
	if err != nil {
		return s.stageFault(h.Name, err)
	}
	s.answer.Links++
	return nil
}

// place returns the parts of a name below the root.
func (s *stager) place(name string) ([]string, error) {
	below, err := split(name)
	if err != nil {
		return nil, err
	}
	parts := append(s.dest[:len(s.dest):len(s.dest)], below...)
	return parts, s.notOurs(parts, name)
}

// ensure makes the folders at parts, for the entry name.
func (s *stager) ensure(name string, parts []string) (*folder, error) {
	f := s.top
	for i, part := range parts {
		if sub := f.sub[part]; sub != nil {
			f = sub
			continue
		}
		if s.count++; s.count > maxEntries {
			return nil, errorf(Unsafe, "the stream has more than %d entries", maxEntries)
		}
		at, err := s.to.at(parts[:i])
		if err == nil {
			err = s.try("mkdir", name, func() error { return unix.Mkdirat(at, part, 0o700) })
		}
		if err != nil {
			return nil, s.stageFault(name, err)
		}
		f = f.add(part)
	}
	return f, nil
}

func (s *stager) folder(h *tar.Header, parts []string, a attr) error {
	f, err := s.ensure(h.Name, parts)
	if err != nil {
		return err
	}
	f.explicit, f.attr = true, a
	s.answer.Folders++
	return nil
}

// file writes a regular file. Its owner, mode and time are set through the open
// file, so that they are its own whatever happens to the name.
func (s *stager) file(h *tar.Header, data io.Reader, at int, name string, a attr) error {
	fd := -1
	err := s.try("create", h.Name, func() (err error) {
		fd, err = unix.Openat(at, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return s.stageFault(h.Name, err)
	}
	defer unix.Close(fd)
	if err := s.copy(fd, h.Name, data); err != nil {
		return err
	}
	if a.uid != s.uid || a.gid != s.gid {
		err = beneath.Again(func() error { return unix.Fchown(fd, a.uid, a.gid) })
	}
	if err == nil {
		err = beneath.Again(func() error { return unix.Fchmod(fd, a.mode) })
	}
	if err == nil {
		err = setOpenMtime(fd, a.mtime)
	}
	if err != nil {
		return s.stageFault(h.Name, err)
	}
	s.answer.Files++
	return nil
}

func (s *stager) copy(fd int, name string, data io.Reader) error {
	for {
		n, err := data.Read(s.buf)
		for b := s.buf[:n]; len(b) > 0; {
			var written int
			failed := s.try("write", name, func() (err error) {
				written, err = unix.Write(fd, b)
				return err
			})
			if failed != nil {
				return s.stageFault(name, failed)
			}
			b = b[written:]
		}
		s.answer.Bytes += int64(n)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return archiveError(err)
		}
	}
}

func (s *stager) symlink(h *tar.Header, at int, name string, a attr) error {
	if h.Linkname == "" || strings.IndexByte(h.Linkname, 0) >= 0 {
		return errorf(Unsafe, "%q is a symbolic link to %q, which no path can be", h.Name, h.Linkname)
	}
	if err := s.try("symlink", h.Name, func() error { return unix.Symlinkat(h.Linkname, at, name) }); err != nil {
		return err
	}
	if a.uid != s.uid || a.gid != s.gid {
		err := beneath.Again(func() error { return unix.Fchownat(at, name, a.uid, a.gid, unix.AT_SYMLINK_NOFOLLOW) })
		if err != nil {
			return err
		}
	}
	return setMtime(at, name, a.mtime)
}

// link makes a hard link to an earlier entry of the stream.
func (s *stager) link(h *tar.Header, at int, name string) error {
	parts, err := s.place(h.Linkname)
	if err != nil {
		return err
	}
	if len(parts) > len(s.dest) {
		last := len(parts) - 1
		var from int
		if from, err = s.target.at(parts[:last]); err == nil {
			err = s.try("link", h.Name, func() error { return unix.Linkat(from, parts[last], at, name, 0) })
		}
		if err == nil {
			return nil
		}
	}
	switch err {
	case nil, unix.ENOENT, unix.EPERM, unix.ENOTDIR, unix.ELOOP: // EPERM is a folder's
		return errorf(Unsafe, "%q is a hard link to %q, which is no earlier file of the stream", h.Name, h.Linkname)
	}
	return err
}

// stageFault makes an Error of one at the entry name.
func (s *stager) stageFault(name string, err error) error {
	switch err {
	case unix.EEXIST, unix.ENOTDIR, unix.ELOOP:
		return errorf(Unsafe, "%q stands in the stream twice, or below what is no folder", name)
	}
	return fault(s.path(append(s.dest[:len(s.dest):len(s.dest)], name)...), err)
}

// seal gives the staged folders their owners, modes and times, deepest first,
// now that nothing is put into them any more.
func (s *stager) seal(f *folder, parts []string) error {
	for name, sub := range f.sub {
		if err := s.seal(sub, append(parts[:len(parts):len(parts)], name)); err != nil {
			return err
		}
	}
	if f == s.top {
		return nil // never moved
	}
	fd, err := s.to.at(parts)
	if err == nil && f.explicit {
		err = setFolder(fd, f.attr)
	} else if err == nil {
		err = beneath.Again(func() error { return unix.Fchmod(fd, impliedMode) })
	}
	if err != nil {
		return fault(s.path(parts...), err)
	}
	return nil
}

// impliedMode is that of folders without an entry.
const impliedMode = 0o755

// headerAttr checks what the kernel would not.
func headerAttr(h *tar.Header) (attr, error) {
	const maxID = math.MaxUint32 - 1 // the largest number means "leave it"
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > maxID || int64(h.Gid) > maxID {
		return attr{}, errorf(Unsafe, "%q belongs to %d:%d, which no user can be", h.Name, h.Uid, h.Gid)
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return attr{}, errorf(Unsafe, "%q is a sparse file; its holes would be written out", h.Name)
		}
	}
	return attr{uint32(h.Mode & 0o7777), h.Uid, h.Gid, timespec(h.ModTime)}, nil
}
