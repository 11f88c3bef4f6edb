package oci

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/tree"
)

// ReadFolder puts a root file system that lies in a folder into an empty tree.
// Links are stored, never followed; hard links stay hard links; sockets, which
// no image can hold, are left out. An entry that cannot be read is an error
// naming it. Owners are kept, except that what belongs to the calling user,
// when that is not root, becomes root's: that is who unpacked it.
func ReadFolder(ctx context.Context, dir string, t *tree.Tree) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fileError(dir, err)
	}
	defer root.Close()
	w := &folderWalk{ctx: ctx, dir: dir, root: root, tree: t, uid: os.Getuid(), gid: os.Getgid(), links: map[inode]string{}}
	return w.entry(".")
}

type inode struct{ dev, ino uint64 }

type folderWalk struct {
	ctx      context.Context
	dir      string
	root     *os.Root
	tree     *tree.Tree
	uid, gid int
	links    map[inode]string // first name of each file that has several
}

// entry stores one entry and everything below it. name is relative to the folder.
func (w *folderWalk) entry(name string) error {
	if err := w.ctx.Err(); err != nil {
		return api.Errorf(api.KindCanceled, "import of %s: %w", w.dir, context.Cause(w.ctx))
	}
	info, err := w.root.Lstat(name)
	if err != nil {
		return w.fail(name, err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return w.fail(name, errors.New("its owner cannot be told"))
	}
	if info.Mode()&fs.ModeSocket != 0 {
		return nil
	}
	node := w.node(info, st)
	switch node.Type {
	case tree.Dir:
		return w.folder(name, node)
	case tree.Regular:
		return w.file(name, node, st)
	case tree.Symlink:
		if node.Target, err = w.root.Readlink(name); err != nil {
			return w.fail(name, err)
		}
	}
	return w.tree.Put(guestPath(name), node, nil)
}

func guestPath(name string) string { return path.Join("/", filepath.ToSlash(name)) }

// node translates the host's metadata.
func (w *folderWalk) node(info fs.FileInfo, st *syscall.Stat_t) *tree.Node {
	n := &tree.Node{Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, ModTime: info.ModTime()}
	if w.uid != 0 && int(st.Uid) == w.uid {
		n.UID = 0
	}
	if w.uid != 0 && int(st.Gid) == w.gid {
		n.GID = 0
	}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		n.Type = tree.Dir
	case syscall.S_IFLNK:
		n.Type = tree.Symlink
	case syscall.S_IFIFO:
		n.Type = tree.Fifo
	case syscall.S_IFCHR:
		n.Type = tree.CharDevice
	case syscall.S_IFBLK:
		n.Type = tree.BlockDevice
	}
	if n.Type == tree.CharDevice || n.Type == tree.BlockDevice {
		n.Major, n.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	}
	return n
}

func (w *folderWalk) folder(name string, node *tree.Node) error {
	f, err := w.root.Open(name)
	if err != nil {
		return w.fail(name, err)
	}
	entries, err := f.ReadDir(-1)
	f.Close()
	if err != nil {
		return w.fail(name, err)
	}
	if err := w.tree.Put(guestPath(name), node, nil); err != nil {
		return err
	}
	for _, e := range entries {
		if err := w.entry(path.Join(name, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (w *folderWalk) file(name string, node *tree.Node, st *syscall.Stat_t) error {
	if st.Nlink > 1 {
		key := inode{st.Dev, st.Ino}
		if first, ok := w.links[key]; ok {
			return w.tree.Link(guestPath(first), guestPath(name))
		}
		w.links[key] = name
	}
	// A pipe that takes the file's place meanwhile must not hold us.
	f, err := w.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return w.fail(name, err)
	}
	defer f.Close()
	// A file that grows while it is read is taken at the size it had.
	if err := w.tree.Put(guestPath(name), node, io.LimitReader(f, st.Size)); err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			return w.fail(name, pe)
		}
		return err
	}
	return nil
}

func (w *folderWalk) fail(name string, err error) error {
	e := fileError(filepath.Join(w.dir, name), err)
	if e.Kind == api.KindPermission {
		e.WithHint("run as a user who can read everything in %s, or import a tar archive of it", w.dir)
	}
	return e
}
