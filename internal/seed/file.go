package seed

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"iter"

	"golang.org/x/sys/unix"

	"pyro/internal/tree"
)

// smallFile is what a reader takes into memory before it goes to the spool, so
// that readers wait for each other's copies only, not for the host's disk.
const smallFile = 1 << 20

// file reads the regular file name of dir.
func (r *reader) file(dir *openFolder, name string) error {
	p := dir.join(name)
	fd, err := openat(dir.fd, name, 0)
	if err != nil {
		return r.skip(p, err)
	}
	defer unix.Close(fd)
	var info unix.Stat_t
	if err := fstat(fd, &info); err != nil {
		return r.skip(p, err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFREG {
		r.warn(p, "changed while the folder was read", true)
		return nil
	}
	in := r.inode(p, tree.Regular, &info)
	if info.Nlink > 1 {
		if other, loaded := r.hard.LoadOrStore(fileID{info.Dev, info.Ino}, in); loaded {
			r.names = append(r.names, staged{p, other.(*inode)})
			return nil
		}
	}
	r.names = append(r.names, staged{p, in})
	if err := r.st.chargeData(info.Size); err != nil {
		return refused(r.source, p, err)
	}
	return r.data(p, fd, &info, in)
}

// data copies an open file as far as its size at opening goes.
func (r *reader) data(p string, fd int, info *unix.Stat_t, in *inode) error {
	src := &fdReader{ctx: r.ctx, fd: fd}
	var err error
	if info.Size <= smallFile {
		err = r.small(src, info.Size, in)
	} else {
		in.src, in.off, in.size, err = r.st.t.Store(io.LimitReader(src, info.Size))
	}
	switch {
	case src.err != nil && r.ctx.Err() != nil:
		return r.ctx.Err()
	case src.err != nil:
		in.failed = src.err
		return nil
	case err != nil:
		return err // the spool's
	}
	var now unix.Stat_t
	if err := fstat(fd, &now); err != nil {
		return r.skip(p, err)
	}
	if in.size != info.Size || now.Size != info.Size || now.Mtim != info.Mtim {
		r.warn(p, fmt.Sprintf("changed while it was read; %d bytes are copied", in.size), true)
	}
	return nil
}

func (r *reader) small(src io.Reader, size int64, in *inode) error {
	if size == 0 {
		return nil
	}
	if r.buf == nil {
		r.buf = make([]byte, smallFile)
	}
	n, err := io.ReadFull(src, r.buf[:size])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	in.src, in.off, in.size, err = r.st.t.Store(bytes.NewReader(r.buf[:n]))
	return err
}

// fdReader reads a descriptor of a regular file and keeps its own error, to
// tell it from the spool's.
type fdReader struct {
	ctx context.Context
	fd  int
	err error
}

func (f *fdReader) Read(p []byte) (int, error) {
	if f.err = f.ctx.Err(); f.err != nil {
		return 0, f.err
	}
	n, err := ignoringEINTR(func() (int, error) { return unix.Read(f.fd, p) })
	if err != nil {
		f.err = err
		return 0, err
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// openat opens name, one part of a path, in the folder dirfd for reading. No
// link is followed, a fifo or device that took the name's place is not waited for.
func openat(dirfd int, name string, flags int) (int, error) {
	return ignoringEINTR(func() (int, error) {
		return unix.Openat(dirfd, name, flags|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	})
}

func fstat(fd int, info *unix.Stat_t) error {
	_, err := ignoringEINTR(func() (int, error) { return 0, unix.Fstat(fd, info) })
	return err
}

func fstatat(dirfd int, name string, info *unix.Stat_t) error {
	_, err := ignoringEINTR(func() (int, error) { return 0, unix.Fstatat(dirfd, name, info, unix.AT_SYMLINK_NOFOLLOW) })
	return err
}

func ignoringEINTR(fn func() (int, error)) (int, error) {
	for {
		n, err := fn()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// dirent is one entry of a folder.
type dirent struct {
	name string
	typ  uint8 // unix.DT_*
}

// dirents parses what getdents64 returns: 8 bytes inode, 8 bytes offset, 2 bytes
// length of the record, 1 byte type, the name up to a NUL. Source: getdents(2).
func dirents(b []byte) iter.Seq[dirent] {
	return func(yield func(dirent) bool) {
		for len(b) > 19 {
			n := int(binary.NativeEndian.Uint16(b[16:]))
			if n < 19 || n > len(b) {
				return
			}
			name, _, _ := bytes.Cut(b[19:n], []byte{0})
			e := dirent{string(name), b[18]}
			b = b[n:]
			if e.name == "." || e.name == ".." || e.name == "" {
				continue
			}
			if !yield(e) {
				return
			}
		}
	}
}
