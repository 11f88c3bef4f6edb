package export

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"pyro/internal/tree"
)

// Write exports to the host path target, which must not exist; its folder must.
//
// Errors: KindNotFound and KindUsage for a wrong path, KindUnsafe for a link out
// of the root, KindConflict for a target that exists, KindDiskLimit for more than
// the options allow, KindPermission and KindStorage of the host, KindCanceled.
// After each of them the host is as it was.
func Write(ctx context.Context, src Source, target string, o Options) (Report, error) {
	pl, err := newPlan(src, o)
	if err != nil {
		return Report{}, err
	}
	p, err := newPlace(target, pl.report.Folder)
	if err != nil {
		return Report{}, err
	}
	defer p.close()
	w := &writer{ctx: ctx, plan: pl, target: p.target, first: map[*tree.Node]string{}, buf: make([]byte, 256<<10)}
	if err := w.write(p); err != nil {
		return Report{}, err
	}
	if err := stopped(ctx, pl.name); err != nil {
		return Report{}, err
	}
	if err := p.publish(pl.report.Folder); err != nil {
		return Report{}, err
	}
	return pl.report, nil
}

// writer writes the nodes of a plan.
type writer struct {
	*plan
	ctx    context.Context
	target string
	top    *os.Root              // the exported folder
	first  map[*tree.Node]string // where a file was written first, for hard links
	buf    []byte
}

func (w *writer) write(p *place) error {
	if !w.report.Folder {
		if err := w.fill(p.content, w.node); err != nil {
			return w.failed("", err)
		}
		return w.failed("", chtimes(p.parent, p.temp, w.node))
	}
	var err error
	if w.top, err = p.parent.OpenRoot(p.temp); err != nil {
		return hostError(w.target, err)
	}
	defer w.top.Close()
	if err := w.folder(w.top, "", w.node); err != nil {
		return err
	}
	if err := w.finish(w.top, "", w.node); err != nil {
		return err
	}
	if err := p.content.Chmod(perm(w.node)); err != nil {
		return w.failed("", err)
	}
	return w.failed("", chtimes(p.parent, p.temp, w.node))
}

// failed gives a host's error the name of the entry.
func (w *writer) failed(rel string, err error) error {
	if err == nil {
		return nil
	}
	if stop := stopped(w.ctx, w.name); stop != nil {
		return stop
	}
	if rel != "" {
		rel = "/" + rel
	}
	return hostError(w.target+rel, err)
}

// folder writes what is in n to the empty folder in.
func (w *writer) folder(in *os.Root, rel string, n *tree.Node) error {
	for name, child := range n.Children() {
		if err := stopped(w.ctx, w.name); err != nil {
			return err
		}
		rel := join(rel, name)
		var err error
		switch child.Type {
		case tree.Dir:
			err = w.subfolder(in, name, rel, child)
		case tree.Regular:
			err = w.file(in, name, rel, child)
		case tree.Symlink:
			err = w.symlink(in, name, child)
		default: // told by the plan
		}
		if err != nil {
			return w.failed(rel, err)
		}
	}
	return nil
}

func (w *writer) subfolder(in *os.Root, name, rel string, n *tree.Node) error {
	if err := in.Mkdir(name, 0o700); err != nil {
		return err
	}
	sub, err := in.OpenRoot(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	return w.folder(sub, rel, n)
}

func (w *writer) file(in *os.Root, name, rel string, n *tree.Node) error {
	if other, ok := w.first[n]; ok {
		err := w.top.Link(other, rel)
		if err == nil || !cannotLink(err) {
			return err
		}
	} else {
		w.first[n] = rel
	}
	f, err := in.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := w.fill(f, n); err != nil {
		return err
	}
	return chtimes(in, name, n)
}

// cannotLink says whether a copy has to do: not every file system has hard
// links, and those that do have a most.
func cannotLink(err error) bool {
	for _, e := range []error{syscall.EPERM, syscall.EOPNOTSUPP, syscall.EMLINK, syscall.EXDEV, syscall.ENOSYS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// fill writes n's bytes and mode to the empty file f. Zeros become holes, so that
// a sparse file of the guest does not fill the host's disk, and holes are not read.
func (w *writer) fill(f *os.File, n *tree.Node) error {
	r := w.tree.Open(n)
	for at := int64(0); ; {
		if err := stopped(w.ctx, w.name); err != nil {
			return err
		}
		start, end := n.NextData(at)
		if start == n.Size {
			return errors.Join(f.Truncate(n.Size), f.Chmod(perm(n)))
		}
		piece := w.buf[:min(int64(len(w.buf)), end-start)]
		if c, err := r.ReadAt(piece, start); c < len(piece) {
			return err
		}
		if !allZero(piece) {
			if _, err := f.WriteAt(piece, start); err != nil {
				return err
			}
		}
		at = start + int64(len(piece))
	}
}

// allZero says whether p has no byte but zeros: a byte that is zero, and every
// other is like the one before it.
func allZero(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}

func (w *writer) symlink(in *os.Root, name string, n *tree.Node) error {
	if err := in.Symlink(n.Target, name); err != nil {
		return err
	}
	dir, err := in.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	// os.Root changes the times of what a link leads to.
	ts, err := unix.TimeToTimespec(hostTime(n.ModTime))
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(int(dir.Fd()), name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

// finish gives the folders in n their modes and times, which could forbid or
// change while there was something to write.
func (w *writer) finish(in *os.Root, rel string, n *tree.Node) error {
	for name, child := range n.Children() {
		if child.Type != tree.Dir {
			continue
		}
		rel := join(rel, name)
		sub, err := in.OpenRoot(name)
		if err != nil {
			return w.failed(rel, err)
		}
		err = w.finish(sub, rel, child)
		sub.Close()
		if err != nil {
			return err
		}
		if err := in.Chmod(name, perm(child)); err != nil {
			return w.failed(rel, err)
		}
		if err := chtimes(in, name, child); err != nil {
			return w.failed(rel, err)
		}
	}
	return nil
}

func perm(n *tree.Node) fs.FileMode { return fs.FileMode(n.Mode & 0o777) }

func chtimes(in *os.Root, name string, n *tree.Node) error {
	t := hostTime(n.ModTime)
	return in.Chtimes(name, t, t)
}
