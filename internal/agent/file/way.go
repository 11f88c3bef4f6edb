// Package file reads what is below /workspace for the host, while the guest goes
// on working there. It is the agent's part of the file operations; what is
// written goes through package unpack.
//
// A path is walked part by part, each part relative to the open folder before it.
// Links are read and followed here and never by the kernel, so that none leads
// out of the root, however the guest replaces what stands on the way. Only
// regular files are opened. Answers are bounded whatever the guest has: a file
// without end, a folder with a million names, a tree of any depth.
package file

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/beneath"
	"pyro/internal/agent/wire"
)

const (
	// maxHops is how many links are followed on one path, as in Linux.
	maxHops = 40
	// maxParts bounds the depth of a path, and so the folders open at a time.
	maxParts = 256
	// maxPath bounds the length of a path.
	maxPath = 4096
)

// Root is the folder that nothing is read outside of.
type Root struct {
	// Path is the folder, /workspace. It is not followed if it is a link.
	Path string
}

// way is a walk down a path that stays in the root. Its folders are open.
type way struct {
	root  Root
	fds   []int    // of the root and the folders at names
	names []string // where the walk is
	parts []string // still to go
	hops  int
	link  string // the last link that was followed
	asked string
}

// place is where a path ended: name in the open folder at, or the folder at
// itself if name is "".
type place struct {
	at     int
	name   string
	names  []string // below the root, name included
	exists bool
	st     unix.Stat_t
}

// find walks path and gives f where it ends. What is missing at the end is a
// place too, as is what is missing above it: then at is no folder to use.
func (r Root) find(asked []byte, f func(place) error) error {
	w := &way{root: r, asked: string(asked)}
	defer w.close()
	fd, err := beneath.OpenFolder(unix.AT_FDCWD, r.Path)
	if err != nil {
		return &wire.Error{Kind: wire.KindConflict, Message: fmt.Sprintf("%q is not a folder that can be opened", r.Path)}
	}
	w.fds = []int{fd}
	if err := w.push(w.asked); err != nil {
		return err
	}
	for len(w.parts) > 0 {
		p, done, err := w.step()
		if err != nil {
			return err
		}
		if done {
			return f(p)
		}
	}
	p := place{at: w.last(), names: w.names, exists: true}
	if err := beneath.Again(func() error { return unix.Fstat(p.at, &p.st) }); err != nil {
		return fault(w.here(), err)
	}
	return f(p)
}

func (w *way) last() int { return w.fds[len(w.fds)-1] }

func (w *way) here(more ...string) string {
	return path.Join(w.root.Path, path.Join(w.names...), path.Join(more...))
}

func (w *way) cut(n int) {
	for _, fd := range w.fds[n+1:] {
		unix.Close(fd)
	}
	w.fds, w.names = w.fds[:n+1], w.names[:n:n]
}

func (w *way) close() {
	for _, fd := range w.fds {
		unix.Close(fd)
	}
}

// push puts target before what is still to go.
func (w *way) push(target string) error {
	if rest, ok := strings.CutPrefix(target, w.root.Path); ok && (rest == "" || rest[0] == '/') {
		target = rest
		w.cut(0)
	} else if strings.HasPrefix(target, "/") {
		return w.outside()
	}
	parts := strings.FieldsFunc(target, func(c rune) bool { return c == '/' })
	w.parts = append(parts, w.parts...)
	if len(w.parts)+len(w.names) > maxParts || len(target) > maxPath {
		return &wire.Error{Kind: wire.KindUnsafe, Message: fmt.Sprintf("%.200q leads deeper than %d folders", w.asked, maxParts)}
	}
	return nil
}

// step takes the next part. It is done where nothing more can be opened.
func (w *way) step() (place, bool, error) {
	part := w.parts[0]
	w.parts = w.parts[1:]
	switch part {
	case ".":
		return place{}, false, nil
	case "..":
		if len(w.names) == 0 {
			return place{}, false, w.outside()
		}
		w.cut(len(w.names) - 1)
		return place{}, false, nil
	}
	st, err := beneath.Lstat(w.last(), part)
	p := place{at: w.last(), name: part, names: append(w.names[:len(w.names):len(w.names)], part), st: st}
	switch {
	case err == unix.ENOENT:
		p.names = append(p.names, w.parts...)
		for _, rest := range w.parts {
			if rest == ".." {
				return p, true, notFound(w.here(part))
			}
		}
		return p, true, nil
	case err != nil:
		return p, true, fault(w.here(part), err)
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return place{}, false, w.follow(part)
	case !beneath.IsFolder(st) && len(w.parts) > 0:
		return p, true, &wire.Error{Kind: wire.KindNotFound, Message: fmt.Sprintf("%q is %s, not a folder", w.here(part), beneath.TypeName(st))}
	case !beneath.IsFolder(st):
		p.exists = true
		return p, true, nil
	}
	fd, err := beneath.OpenFolder(w.last(), part)
	if err != nil {
		return place{}, false, fault(w.here(part), err)
	}
	w.fds, w.names = append(w.fds, fd), append(w.names[:len(w.names):len(w.names)], part)
	return place{}, false, nil
}

func (w *way) follow(part string) error {
	target, err := beneath.ReadLink(w.last(), part)
	if err != nil {
		return fault(w.here(part), err)
	}
	w.link = w.here(part)
	if w.hops++; w.hops > maxHops {
		return &wire.Error{Kind: wire.KindUnsafe, Message: fmt.Sprintf("%.200q leads through too many symbolic links", w.asked)}
	}
	return w.push(target)
}

func (w *way) outside() error {
	if w.link != "" {
		return &wire.Error{Kind: wire.KindUnsafe, Message: fmt.Sprintf("the symbolic link %q leads out of %s", w.link, w.root.Path)}
	}
	return &wire.Error{Kind: wire.KindUsage, Message: fmt.Sprintf("%.200q is not below %s", w.asked, w.root.Path)}
}

func notFound(path string) error {
	return &wire.Error{Kind: wire.KindNotFound, Message: fmt.Sprintf("there is no %q", path)}
}

// fault makes an error of a system call's.
func fault(path string, err error) error {
	switch err {
	case unix.ENOENT:
		return notFound(path)
	case unix.ENOTDIR, unix.ELOOP:
		return &wire.Error{Kind: wire.KindConflict, Message: fmt.Sprintf("%q is not a folder, or was replaced while it was used", path)}
	case unix.ENAMETOOLONG:
		return &wire.Error{Kind: wire.KindUsage, Message: fmt.Sprintf("%.200q has a part that is longer than a name can be", path)}
	}
	return &wire.Error{Kind: wire.KindConflict, Message: fmt.Sprintf("%q cannot be read: %v", path, err)}
}
