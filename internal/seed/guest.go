package seed

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"pyro/internal/tree"
)

// Present is what the guest holds now.
type Present struct {
	// Tree has it, below Options.Root.
	Tree *tree.Tree
	// Image is what those files of Tree read from that never changed.
	Image Image
}

// guest compares what a source holds with what the guest does. Several
// goroutines use it at the same time.
type guest struct {
	base  *tree.Node // at the destination; nil if nothing is there
	image Image
	known facts // when the plan began

	sums  sync.Map // *tree.Node → Sum of files that are not the image's
	found sync.Map // extent → Sum that was not known
}

// child returns the node with that name in a folder that may be absent.
func child(dir *tree.Node, name string) *tree.Node {
	if dir == nil {
		return nil
	}
	return dir.Child(name)
}

// at returns what stands at a path relative to the destination. It follows no link.
func (g *guest) at(path string) *tree.Node {
	n := g.base
	for part := range strings.SplitSeq(path, "/") {
		n = child(n, part)
	}
	return n
}

// shape compares all but the bytes of files. Times and owners do not count.
func shape(in *inode, there *tree.Node) ChangeStatus {
	switch {
	case there == nil:
		return Added
	case there.Type != in.typ:
		return TypeChanged
	case in.implied:
		return ""
	case there.Mode != in.mode || there.Size != in.size || there.Target != in.target:
		return Modified
	}
	return ""
}

// status compares what was read whole with what the guest has in its place.
func (g *guest) status(ctx context.Context, in *inode, there *tree.Node, h *hasher) (ChangeStatus, error) {
	if s := shape(in, there); s != "" || in.typ != tree.Regular || in.size == 0 {
		return s, nil
	}
	if in.sum == nil {
		sum, err := h.at(ctx, in.src, in.off, in.size)
		if err != nil {
			return "", err
		}
		in.sum = &sum
	}
	other, err := g.sum(ctx, there, h)
	if err != nil || other == *in.sum {
		return "", err
	}
	return Modified, nil
}

// unchanged says whether a file of the host that looks like info is surely what
// the guest has in its place. It never opens the file.
func (g *guest) unchanged(ctx context.Context, info *unix.Stat_t, there *tree.Node, h *hasher) (bool, error) {
	if info.Mode&unix.S_IFMT != unix.S_IFREG {
		return false, nil
	}
	in := inode{typ: tree.Regular, mode: info.Mode & 0o777, size: info.Size}
	if shape(&in, there) != "" {
		return false, nil
	}
	if in.size == 0 {
		return true, nil
	}
	c, ok := g.known.host[idOf(info)]
	if !ok || c.stamp != stampOf(info) {
		return false, nil
	}
	if off, ok := g.inImage(there); ok && off == c.at {
		return true, nil
	}
	in.sum = &c.sum
	if c.at >= 0 {
		sum, err := g.imageSum(ctx, extent{c.at, in.size}, h)
		if err != nil {
			return false, err
		}
		in.sum = &sum
	}
	s, err := g.status(ctx, &in, there, h)
	return s == "", err
}

// inImage returns where in the image a file's bytes are.
func (g *guest) inImage(n *tree.Node) (off int64, ok bool) {
	src, off := n.Data()
	return off, src != nil && src == g.image.Data
}

// sum returns that of a file of the guest.
func (g *guest) sum(ctx context.Context, n *tree.Node, h *hasher) (Sum, error) {
	if off, ok := g.inImage(n); ok {
		return g.imageSum(ctx, extent{off, n.Size}, h)
	}
	if s, ok := g.sums.Load(n); ok {
		return s.(Sum), nil
	}
	src, off := n.Data()
	s, err := h.at(ctx, src, off, n.Size)
	if err == nil {
		g.sums.Store(n, s)
	}
	return s, err
}

// imageSum returns that of data of the image.
func (g *guest) imageSum(ctx context.Context, e extent, h *hasher) (Sum, error) {
	if s, ok := g.known.data[e]; ok {
		return s, nil
	}
	if s, ok := g.found.Load(e); ok {
		return s.(Sum), nil
	}
	s, err := h.at(ctx, g.image.Data, e.off, e.size)
	if err == nil {
		g.found.Store(e, s)
	}
	return s, err
}
