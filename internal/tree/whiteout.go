package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Whiteouts says how an archive marks what it deletes from the layers below it.
type Whiteouts int

// The ways to mark deletions.
const (
	// WhiteoutsNone: the archive deletes nothing.
	WhiteoutsNone Whiteouts = iota
	// WhiteoutsOCI: an entry ".wh.name" deletes name, ".wh..wh..opq" everything in
	// its folder. Entries of the same layer are never deleted, wherever they stand
	// in the archive. Source: OCI image-spec, layer.md, "Whiteouts".
	WhiteoutsOCI
	// WhiteoutsOverlay: a character device 0:0, or a hard link to one, deletes what
	// has its name; a folder with the attribute trusted.overlay.opaque=y replaces
	// the one below. So overlayfs keeps its upper folder, and so gVisor's
	// "tar rootfs-upper" writes it, where all whiteouts are one inode.
	WhiteoutsOverlay
)

const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	whiteoutAUFS   = ".wh..wh." // bookkeeping of AUFS, which every unpacker passes over
	overlayAttr    = "trusted.overlay."
)

// isWhiteout says whether the entry stands for a deletion, and remembers it
// where that matters for later ones.
func (a *applier) isWhiteout(name string, h *tar.Header) bool {
	switch a.o.Whiteouts {
	case WhiteoutsOCI:
		return strings.Contains(name, "/"+whiteoutPrefix)
	case WhiteoutsOverlay:
		is := h.Typeflag == tar.TypeChar && h.Devmajor == 0 && h.Devminor == 0
		if target, err := clean(h.Linkname); h.Typeflag == tar.TypeLink && err == nil {
			is = a.whiteouts[target]
		}
		if is {
			a.whiteouts[name] = true
		} else {
			delete(a.whiteouts, name)
		}
		return is
	}
	return false
}

// whiteout carries out the whiteout name.
func (a *applier) whiteout(name string) error {
	if a.o.Whiteouts == WhiteoutsOCI {
		return a.ociWhiteout(name)
	}
	if name == "/" {
		return errors.New("a whiteout of the root folder")
	}
	parent, base, err := a.t.parent(name)
	if err == nil {
		delete(parent.kids, base)
	}
	return unlessAbsent(err)
}

func (a *applier) ociWhiteout(name string) error {
	dir, base := path.Split(name)
	if strings.Contains(name, "/"+whiteoutAUFS) && base != whiteoutOpaque {
		return nil
	}
	hidden, ok := strings.CutPrefix(base, whiteoutPrefix)
	if !ok || strings.Contains(dir, "/"+whiteoutPrefix) {
		return errors.New("a whiteout cannot be a folder of other entries")
	}
	if hidden == "" || hidden == "." || hidden == ".." {
		return errors.New("a whiteout without a name to delete")
	}
	parent, err := a.t.folder(dir, false)
	if err != nil {
		return unlessAbsent(err)
	}
	if base == whiteoutOpaque {
		a.purge(parent)
	} else {
		a.hide(parent, hidden)
	}
	return nil
}

// unlessAbsent forgives err if it says that there is nothing to delete.
func unlessAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// hide removes the entry base of parent as far as lower layers made it. What is
// left is what an archive gives that has its whiteouts first, wherever they
// stand: a folder to which this layer has already added something stays, with
// that, as if this layer had made it for the purpose.
func (a *applier) hide(parent *Node, base string) {
	e, ok := parent.kids[base]
	if !ok {
		return
	}
	a.purge(e.node)
	switch {
	case e.layer == a.t.layer:
	case len(e.node.kids) == 0:
		delete(parent.kids, base)
	default:
		e.node.setMeta(newFolder())
		a.t.attach(parent, base, e.node)
	}
}

// purge hides everything in dir. Once done it need not be repeated in the same
// layer, which keeps an archive of nothing but whiteouts linear.
func (a *applier) purge(dir *Node) {
	if dir.Type != Dir || a.purged[dir] {
		return
	}
	a.purged[dir] = true
	for base := range dir.kids {
		a.hide(dir, base)
	}
}

// overlayAttrs carries out and takes away the attributes by which overlayfs
// keeps its books.
func (a *applier) overlayAttrs(name string, n *Node) error {
	for k, v := range n.Xattrs {
		what, ok := strings.CutPrefix(k, overlayAttr)
		if !ok {
			continue
		}
		switch {
		case what == "redirect" || what == "metacopy":
			return fmt.Errorf("the overlay attribute %s points into a lower layer, which is not supported", k)
		case what == "opaque" && v == "y" && n.Type == Dir:
			if err := a.replace(name); err != nil {
				return err
			}
		}
		delete(n.Xattrs, k)
	}
	return nil
}

// replace hides what lower layers have at name.
func (a *applier) replace(name string) error {
	if name == "/" {
		a.purge(a.t.root)
		return nil
	}
	parent, base, err := a.t.parent(name)
	if err == nil {
		a.hide(parent, base)
	}
	return unlessAbsent(err)
}
