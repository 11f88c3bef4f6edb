package seed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/tree"
)

// batch is how many files of one folder a reader takes at once: few enough that
// a folder of many files occupies all readers.
const batch = 64

// folderRun is one reading of a folder by several readers.
type folderRun struct {
	ctx    context.Context
	source string
	only   *Selection
	st     *stage
	todo   *jobs
	hard   sync.Map // fileID → *hostFile of files that have several names
}

// fileID tells files of the host apart.
type fileID struct{ dev, ino uint64 }

// reader is one goroutine's part of a run.
type reader struct {
	*folderRun
	names    []staged
	warnings []Warning
	read     []reading // for the sums
	met      []fileID
	buf      []byte // of a small file
	dirents  []byte
	hasher   hasher
}

// openFolder is a folder that is kept open while its entries wait to be read.
type openFolder struct {
	fd   int
	path string // relative to the source, "" for itself
	refs atomic.Int32
	// there is what the guest has in its place, nil for nothing; not a folder for sure.
	there *tree.Node
}

func (d *openFolder) retain() *openFolder { d.refs.Add(1); return d }

func (d *openFolder) release() {
	if d.refs.Add(-1) == 0 {
		unix.Close(d.fd)
	}
}

func (d *openFolder) join(name string) string {
	if d.path == "" {
		return name
	}
	return d.path + "/" + name
}

func readFolder(ctx context.Context, s *Source, st *stage, o Options) error {
	fd, err := unix.FcntlInt(s.f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return openError(s.Path, err)
	}
	root := &openFolder{fd: fd}
	if st.guest != nil {
		root.there = st.guest.base
	}
	root.refs.Store(1)
	run := &folderRun{ctx: ctx, source: s.Path, only: o.Only, st: st, todo: newJobs()}
	run.todo.add(job{dir: root})

	readers := make([]*reader, max(4, 2*runtime.GOMAXPROCS(0)))
	var wg sync.WaitGroup
	for i := range readers {
		readers[i] = &reader{folderRun: run}
		wg.Go(func() { run.todo.work(readers[i].do) })
	}
	wg.Wait()
	for _, r := range readers {
		st.names = append(st.names, r.names...)
		st.warnings = append(st.warnings, r.warnings...)
		st.read = append(st.read, r.read...)
		st.met = append(st.met, r.met...)
	}
	if err := run.todo.err; err != nil {
		return err
	}
	st.names = slices.DeleteFunc(st.names, func(n staged) bool {
		if n.node.failed != nil {
			st.warnings = append(st.warnings, unreadable(n.path, n.node.failed))
		}
		return n.node.failed != nil
	})
	st.warnings = append(st.warnings, o.Only.missing(st.names, st.warnings)...)
	if o.Strict {
		if err := strict(s.Path, st.warnings); err != nil {
			return err
		}
	}
	return st.checkLinks(s.Path, true)
}

// strict makes an error of warnings about lost content.
func strict(source string, warnings []Warning) error {
	lost := slices.DeleteFunc(slices.Clone(warnings), func(w Warning) bool { return !w.lost })
	if len(lost) == 0 {
		return nil
	}
	sortWarnings(lost)
	others := ""
	if len(lost) > 1 {
		others = fmt.Sprintf(" (and %d others)", len(lost)-1)
	}
	return api.Errorf(api.KindConflict, "%s cannot be copied truly: %s%s", source, lost[0], others).
		WithHint("make it readable or take it out of the folder, then try again")
}

// do carries out one job.
func (r *reader) do(j job) error {
	defer j.dir.release()
	if err := r.ctx.Err(); err != nil {
		return err
	}
	switch {
	case j.files != nil:
		return r.entries(j.dir, j.files)
	case j.name != "":
		return r.folder(j.dir, j.name)
	}
	return r.list(j.dir) // the source itself
}

// folder reads the folder name of dir.
func (r *reader) folder(dir *openFolder, name string) error {
	p := dir.join(name)
	fd, err := openat(dir.fd, name, unix.O_DIRECTORY)
	if err != nil {
		return r.skip(p, err)
	}
	sub := &openFolder{fd: fd, path: p, there: child(dir.there, name)}
	sub.refs.Store(1)
	defer sub.release()
	return r.list(sub)
}

// list stages an open folder and makes jobs of its entries, files in batches.
func (r *reader) list(dir *openFolder) error {
	var info unix.Stat_t
	if err := fstat(dir.fd, &info); err != nil {
		return r.skip(dir.path, err)
	}
	if dir.path == "" {
		r.st.mtime = modTime(&info)
	} else {
		in := r.inode(dir.path, tree.Dir, &info)
		r.stage(dir.path, &in, dir.there)
	}
	var files []dirent
	err := r.readDir(dir, func(e dirent) error {
		if e.typ == unix.DT_DIR {
			r.todo.add(job{dir: dir.retain(), name: e.name})
			return nil
		}
		if files = append(files, e); len(files) == batch {
			r.todo.add(job{dir: dir.retain(), files: files})
			files = nil
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.entries(dir, files)
}

// readDir calls fn for every entry of dir. It charges them first, so that a
// folder of any size is noticed in time.
func (r *reader) readDir(dir *openFolder, fn func(dirent) error) error {
	if r.dirents == nil {
		r.dirents = make([]byte, 64<<10)
	}
	for {
		n, err := ignoringEINTR(func() (int, error) { return unix.Getdents(dir.fd, r.dirents) })
		if err != nil {
			return r.skip(dir.path, err)
		}
		if n == 0 {
			return nil
		}
		for e := range dirents(r.dirents[:n]) {
			p := dir.join(e.name)
			if e.typ == unix.DT_UNKNOWN {
				var info unix.Stat_t
				if err := fstatat(dir.fd, e.name, &info); err != nil {
					if err := r.skip(p, err); err != nil {
						return err
					}
					continue
				}
				e.typ = uint8(info.Mode & unix.S_IFMT >> 12)
			}
			if !r.only.wants(p, e.typ == unix.DT_DIR) {
				continue
			}
			if err := r.st.chargeName(p, ""); err != nil {
				return refused(r.source, p, err)
			}
			if err := fn(e); err != nil {
				return err
			}
		}
		if err := r.ctx.Err(); err != nil {
			return err
		}
	}
}

// entries reads what is not a folder.
func (r *reader) entries(dir *openFolder, files []dirent) error {
	for _, e := range files {
		var err error
		switch e.typ {
		case unix.DT_REG:
			err = r.file(dir, e.name)
		case unix.DT_LNK:
			err = r.link(dir, e.name)
		default:
			r.warn(dir.join(e.name), "is "+typeWords(direntMode(e.typ))+", which is not copied", true)
		}
		if err != nil {
			return err
		}
		if err := r.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) link(dir *openFolder, name string) error {
	p := dir.join(name)
	var info unix.Stat_t
	if err := fstatat(dir.fd, name, &info); err != nil {
		return r.skip(p, err)
	}
	buf := make([]byte, maxTarget+1)
	n, err := ignoringEINTR(func() (int, error) { return unix.Readlinkat(dir.fd, name, buf) })
	if err != nil || info.Mode&unix.S_IFMT != unix.S_IFLNK {
		r.warn(p, "changed while the folder was read", true)
		return nil
	}
	if n == 0 || n > maxTarget {
		r.warn(p, "is a symbolic link that cannot be read", true)
		return nil
	}
	if err := r.st.chargeMeta(n); err != nil {
		return refused(r.source, p, err)
	}
	r.stage(p, &inode{typ: tree.Symlink, mode: 0o777, mtime: modTime(&info), target: string(buf[:n])}, child(dir.there, name))
	return nil
}

// stage takes a folder or a link.
func (r *reader) stage(p string, in *inode, there *tree.Node) {
	s := staged{path: p, node: in}
	if r.st.guest != nil {
		s.status = shape(in, there)
	}
	r.names = append(r.names, s)
}

// inode makes the node of an open file or folder, without special bits.
func (r *reader) inode(p string, typ tree.Type, info *unix.Stat_t) inode {
	if info.Mode&0o7000 != 0 {
		r.warn(p, fmt.Sprintf("had mode %04o; its special bits are cleared", info.Mode&0o7777), false)
	}
	return inode{typ: typ, mode: info.Mode & 0o777, mtime: modTime(info)}
}

// now is the time for the sums, if there are any.
func (r *reader) now() time.Time {
	if r.st.sums == nil {
		return time.Time{}
	}
	return r.st.sums.now()
}

func (r *reader) warn(p, reason string, lost bool) {
	r.warnings = append(r.warnings, Warning{Path: path.Join(".", p), Reason: reason, lost: lost})
}

// skip leaves out what cannot be opened or read, unless it is this process that
// is at its end.
func (r *reader) skip(p string, err error) error {
	switch {
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		return api.Errorf(api.KindUnavailable, "%s: %q cannot be opened: %w", r.source, p, err).
			WithHint("raise the limit of open files: ulimit -n 65536")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENXIO):
		r.warn(p, "changed while the folder was read", true)
	default:
		r.warnings = append(r.warnings, unreadable(p, err))
	}
	return nil
}

func unreadable(p string, err error) Warning {
	return Warning{Path: path.Join(".", p), Reason: fmt.Sprintf("cannot be read: %v", err), lost: true}
}

func modTime(info *unix.Stat_t) time.Time { return time.Unix(info.Mtim.Unix()) }

// direntMode turns the type of a folder's entry into a file mode.
func direntMode(typ uint8) fs.FileMode {
	switch typ {
	case unix.DT_FIFO:
		return fs.ModeNamedPipe
	case unix.DT_SOCK:
		return fs.ModeSocket
	case unix.DT_CHR, unix.DT_BLK:
		return fs.ModeDevice
	}
	return fs.ModeIrregular
}
