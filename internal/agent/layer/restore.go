package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Restore makes what Export wrote in the empty folder dir. It writes nothing
// outside of it, whatever the tar holds.
func Restore(dir string, r io.Reader) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	s := &restorer{root: root, buf: make([]byte, copyBuffer)}
	defer s.leave()
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return s.finish()
		}
		if err != nil {
			return fmt.Errorf("saved layer: %w", err)
		}
		if err := s.entry(h, tr); err != nil {
			return fmt.Errorf("saved layer: %q: %w", h.Name, err)
		}
	}
}

type restorer struct {
	root    *os.Root
	buf     []byte
	folder  *os.File // the open parent of the newest entry
	at      string   // its name
	folders []folder // whose times are set at the end
}

type folder struct {
	name   string
	header *tar.Header
}

// enter opens the parent of an entry, unless it is open.
func (s *restorer) enter(name string) (int, error) {
	parent := path.Dir(name)
	if s.folder == nil || s.at != parent {
		f, err := s.root.Open(parent)
		if errors.Is(err, unix.ENOENT) { // a tar need not name the folders that it changes nothing of
			if err = s.root.MkdirAll(parent, 0o755); err == nil {
				f, err = s.root.Open(parent)
			}
		}
		if err != nil {
			return -1, err
		}
		s.leave()
		s.folder, s.at = f, parent
	}
	return int(s.folder.Fd()), nil
}

func (s *restorer) leave() {
	if s.folder != nil {
		s.folder.Close()
	}
	s.folder = nil
}

func (s *restorer) entry(h *tar.Header, data io.Reader) error {
	name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	if name == "" {
		return s.top(h)
	}
	parent, err := s.enter(name)
	if err != nil {
		return err
	}
	base, mode := path.Base(name), uint32(h.Mode&0o7777)
	switch h.Typeflag {
	case tar.TypeDir:
		if err = unix.Mkdirat(parent, base, 0o700); err == unix.EEXIST {
			err = nil
		}
		s.folders = append(s.folders, folder{name, h})
	case tar.TypeReg:
		err = s.writeFile(parent, base, h, data)
	case tar.TypeLink:
		return s.link(parent, base, h.Linkname)
	case tar.TypeSymlink:
		err = unix.Symlinkat(h.Linkname, parent, base)
	case tar.TypeChar:
		err = unix.Mknodat(parent, base, unix.S_IFCHR|0o600, device(h))
	case tar.TypeBlock:
		err = unix.Mknodat(parent, base, unix.S_IFBLK|0o600, device(h))
	case tar.TypeFifo:
		err = unix.Mknodat(parent, base, unix.S_IFIFO|0o600, 0)
	default:
		return fmt.Errorf("an entry of type %q has no place in a layer", h.Typeflag)
	}
	if err != nil {
		return err
	}
	return attributes(parent, base, mode, h)
}

func device(h *tar.Header) int { return int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))) }

// top sets the attributes of the layer's own folder.
func (s *restorer) top(h *tar.Header) error {
	f, err := s.root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	s.folders = append(s.folders, folder{".", h})
	return attributes(int(f.Fd()), ".", uint32(h.Mode&0o7777), h)
}

func (s *restorer) link(parent int, base, to string) error {
	to = strings.TrimPrefix(path.Clean("/"+to), "/")
	f, err := s.root.Open(path.Dir(to))
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Linkat(int(f.Fd()), path.Base(to), parent, base, 0)
}

// attributes sets owner, mode, extended attributes and times, in this order:
// a change of the owner takes set-user-ID bits and capabilities away.
func attributes(parent int, base string, mode uint32, h *tar.Header) error {
	if err := unix.Fchownat(parent, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := unix.Fchmodat(parent, base, mode, 0); err != nil {
			return err
		}
	}
	path := fmt.Sprintf("/proc/self/fd/%d/%s", parent, base)
	for record, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(record, xattrRecord)
		if !ok || !kept(name) && name != opaqueXattr {
			continue
		}
		if err := unix.Lsetxattr(path, name, []byte(value), 0); err != nil {
			return err
		}
	}
	return setTime(parent, base, h)
}

func setTime(parent int, base string, h *tar.Header) error {
	when, err := unix.TimeToTimespec(h.ModTime)
	if err != nil {
		return nil // out of what a file can have
	}
	return unix.UtimesNanoAt(parent, base, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW)
}

// finish sets the times of folders, which changed as their entries were made.
func (s *restorer) finish() error {
	for _, f := range s.folders {
		d, err := s.root.Open(f.name)
		if err != nil {
			return err
		}
		err = setTime(int(d.Fd()), ".", f.header)
		d.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
