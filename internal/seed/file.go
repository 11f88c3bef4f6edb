package seed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"pyro/internal/tree"
)

// smallFile is what a reader takes into memory before it goes to the spool, so
// that readers wait for each other's copies only, not for the host's disk.
const smallFile = 1 << 20

// hostFile is a file of the host under all its names.
type hostFile struct {
	inode
	load sync.Once // of its data; the first name that needs it does that
}

// file takes the regular file name of dir: by its looks, if a plan knows them
// and they are those of the guest's file, else by reading it.
func (r *reader) file(dir *openFolder, name string) error {
	p, there := dir.join(name), child(dir.there, name)
	if r.st.guest != nil {
		if same, err := r.unchanged(dir, name, p, there); same || err != nil {
			return err
		}
	}
	seen := r.now()
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
	f, err := r.intern(p, &info)
	if err != nil {
		return err
	}
	f.load.Do(func() {
		f.mode = info.Mode & 0o777 // a plan may have seen another a moment ago
		f.mtime = modTime(&info)
		err = r.data(&openFile{p, fd, &info, seen, there}, &f.inode)
	})
	if err != nil {
		return err
	}
	s := staged{path: p, node: &f.inode}
	if r.st.guest != nil && f.failed == nil {
		if s.status, err = r.st.guest.status(r.ctx, s.node, there, &r.hasher); err != nil {
			return err
		}
	}
	r.names = append(r.names, s)
	return nil
}

// unchanged takes the file name of dir if it need not be opened.
func (r *reader) unchanged(dir *openFolder, name, p string, there *tree.Node) (bool, error) {
	var info unix.Stat_t
	if err := fstatat(dir.fd, name, &info); err != nil {
		return false, nil // opening it tells why
	}
	same, err := r.st.guest.unchanged(r.ctx, &info, there, &r.hasher)
	if !same || err != nil {
		return same, err
	}
	f, err := r.intern(p, &info)
	if err != nil {
		return false, err
	}
	r.met = append(r.met, idOf(&info))
	r.names = append(r.names, staged{path: p, node: &f.inode})
	return true, nil
}

// intern returns the one file of all hard-linked names, and charges it once.
func (r *reader) intern(p string, info *unix.Stat_t) (*hostFile, error) {
	f := &hostFile{inode: r.inode(p, tree.Regular, info)}
	f.size = info.Size
	if info.Nlink > 1 {
		if other, loaded := r.hard.LoadOrStore(idOf(info), f); loaded {
			return other.(*hostFile), nil
		}
	}
	if err := r.st.chargeData(info.Size); err != nil {
		return nil, refused(r.source, p, err)
	}
	return f, nil
}

// openFile is a file of the host that is open for its data.
type openFile struct {
	path  string
	fd    int
	info  *unix.Stat_t // at its opening
	seen  time.Time    // before that
	there *tree.Node   // what the guest has in its place
}

// data copies an open file as far as its size at opening goes.
func (r *reader) data(f *openFile, in *inode) error {
	src := &fdReader{ctx: r.ctx, fd: f.fd}
	var err error
	if f.info.Size <= smallFile {
		err = r.small(src, f, in)
	} else {
		err = r.large(src, f, in)
	}
	switch {
	case src.err != nil && r.ctx.Err() != nil:
		return r.ctx.Err()
	case src.err != nil:
		in.failed = src.err
		return nil
	case err != nil:
		return err // the spool's, or the guest's
	}
	var now unix.Stat_t
	if err := fstat(f.fd, &now); err != nil {
		return r.skip(f.path, err)
	}
	if in.size != f.info.Size || now.Size != f.info.Size || now.Mtim != f.info.Mtim {
		r.warn(f.path, fmt.Sprintf("changed while it was read; %d bytes are copied", in.size), true)
		return nil
	}
	if r.st.sums != nil && in.size > 0 && stampOf(&now) == stampOf(f.info) && settled(&now, f.seen) {
		r.read = append(r.read, reading{idOf(&now), stampOf(&now), f.path, in.sum})
	}
	return nil
}

// small reads a file at once. What a plan need not send does not go to the
// spool, unless another name of it may have to be sent.
func (r *reader) small(src io.Reader, f *openFile, in *inode) error {
	in.size = 0
	if f.info.Size == 0 {
		return nil
	}
	if r.buf == nil {
		r.buf = make([]byte, smallFile)
	}
	n, err := io.ReadFull(src, r.buf[:f.info.Size])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	in.size = int64(n)
	if g := r.st.guest; g != nil {
		sum := Sum(sha256.Sum256(r.buf[:n]))
		in.sum = &sum
		status, err := g.status(r.ctx, in, f.there, &r.hasher)
		if err != nil || status == "" && f.info.Nlink == 1 {
			return err
		}
	}
	in.src, in.off, in.size, err = r.st.spool.Store(bytes.NewReader(r.buf[:n]))
	return err
}

// large moves a file to the spool as it comes.
func (r *reader) large(src io.Reader, f *openFile, in *inode) (err error) {
	src = io.LimitReader(src, f.info.Size)
	if r.st.guest == nil {
		in.src, in.off, in.size, err = r.st.spool.Store(src)
		return err
	}
	state := sha256.New()
	in.src, in.off, in.size, err = r.st.spool.Store(io.TeeReader(src, state))
	sum := Sum(state.Sum(nil))
	in.sum = &sum
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
