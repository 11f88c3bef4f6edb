package layer

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Export writes the layer in the folder dir, which nobody changes meanwhile.
func Export(dir string, w io.Writer) error {
	e := &exporter{dir: dir, tar: tar.NewWriter(w), links: map[uint64]string{}, buf: make([]byte, copyBuffer)}
	if err := filepath.WalkDir(dir, e.visit); err != nil {
		return err
	}
	return e.tar.Close()
}

type exporter struct {
	dir   string
	tar   *tar.Writer
	buf   []byte
	links map[uint64]string // names in the tar of files with several, by inode
}

func (e *exporter) visit(path string, _ fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	st, err := os.Lstat(path)
	if err != nil {
		return err
	}
	name, err := filepath.Rel(e.dir, path)
	if err != nil {
		return err
	}
	// gVisor finds folders by the names "./" and "./NAME/" alone.
	entry := "./" + name
	if name == "." {
		entry = "."
	}
	if err := e.entry(path, entry, st); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	return nil
}

func (e *exporter) entry(path, name string, st fs.FileInfo) error {
	sys := st.Sys().(*syscall.Stat_t)
	h := &tar.Header{
		Name: name, Mode: int64(sys.Mode & 0o7777), Uid: int(sys.Uid), Gid: int(sys.Gid),
		ModTime: time.Unix(sys.Mtim.Unix()), Format: tar.FormatPAX,
	}
	switch sys.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case syscall.S_IFREG:
		h.Typeflag = tar.TypeReg
	case syscall.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
		var err error
		if h.Linkname, err = os.Readlink(path); err != nil {
			return err
		}
	case syscall.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case syscall.S_IFCHR, syscall.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if sys.Mode&syscall.S_IFMT == syscall.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(sys.Rdev)), int64(unix.Minor(sys.Rdev))
	default:
		return nil // a socket
	}
	whiteout := h.Typeflag == tar.TypeChar && sys.Rdev == 0
	if sys.Nlink > 1 && h.Typeflag != tar.TypeDir && !whiteout {
		if first, ok := e.links[sys.Ino]; ok {
			h.Typeflag, h.Linkname = tar.TypeLink, first
			return e.tar.WriteHeader(h)
		}
		e.links[sys.Ino] = name
	}
	if !whiteout {
		var err error
		if h.PAXRecords, err = xattrs(path, e.buf[:maxXattrs]); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeReg {
		return e.file(path, h, sys)
	}
	return e.tar.WriteHeader(h)
}
