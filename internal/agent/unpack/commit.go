package unpack

import (
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/beneath"
)

// commit puts the staged entries into the tree. After an error everything is
// taken back.
func (u *unpacker) commit() error {
	if err := u.checkConditions(); err != nil {
		return err
	}
	c := &committer{unpacker: u}
	from, err := beneath.OpenFolder(u.staging.dir, newName)
	if err == nil {
		err = c.remove()
		if err == nil {
			err = c.merge(u.top, from, u.root, nil)
		}
		unix.Close(from)
	}
	if err == nil {
		c.prune()
		return nil
	}
	cause := fault(u.rootPath, err)
	if u.rollBack(); u.undo.failed != nil {
		return errorf(Internal, "%s; taking back what was done failed too: %s; what is left over is in %q",
			cause.Message, u.undo.failed.Message, u.path(u.staging.keep()))
	}
	return cause
}

type committer struct {
	*unpacker
	moved int // names given in old/
}

// merge puts what is in the open folder from, a staged one, into the open folder
// to, the one at parts of the tree. Its errors are of type *Error.
func (c *committer) merge(f *folder, from, to int, parts []string) error {
	where := c.path(parts...)
	var st unix.Stat_t
	if err := beneath.Again(func() error { return unix.Fstat(to, &st) }); err != nil {
		return fault(where, err)
	}
	c.undo.add(step{kind: changed, folder: parts, attr: attrOf(st)})
	names, err := beneath.ReadNames(from)
	if err != nil {
		return fault(where, err)
	}
	slices.Sort(names) // the same tree takes the same steps
	for _, name := range names {
		if err := c.place(f.sub[name], from, to, parts, name); err != nil {
			return fault(c.path(append(slices.Clone(parts), name)...), err)
		}
	}
	if f.explicit {
		if err := c.try("attr", where, func() error { return setFolder(to, f.attr) }); err != nil {
			return fault(where, err)
		}
	}
	return nil
}

// attempts bounds how often an entry is tried that the guest changes at the same
// moment.
const attempts = 10

// place puts the entry name, which f describes if it is a folder, from the staged
// folder into the tree's. What is in the way there is looked at first, and the
// step taken then fails if that was changed meanwhile.
func (c *committer) place(f *folder, from, to int, parts []string, name string) error {
	var err error
	for range attempts {
		var st unix.Stat_t
		st, err = beneath.Lstat(to, name)
		switch {
		case err == unix.ENOENT:
			err = c.putNew(from, to, parts, name)
		case err != nil:
			return err
		case f != nil && beneath.IsFolder(st):
			err = c.descend(f, from, to, parts, name)
		case f != nil && (f.fixed || !f.explicit):
			return c.inTheWay(c.path(append(slices.Clone(parts), name)...), st)
		default:
			err = c.replace(from, to, parts, name, beneath.IsFolder(st))
		}
		if !changedMeanwhile(err) {
			return err
		}
	}
	return err
}

// changedMeanwhile says whether a system call found something else than lstat.
// An error of a folder's content is an *Error and none of these.
func changedMeanwhile(err error) bool {
	switch err {
	case unix.ENOENT, unix.EEXIST, unix.ENOTDIR, unix.ELOOP, unix.ENOTEMPTY:
		return true
	}
	return false
}

// putNew gives the entry its place, where nothing stands.
func (c *committer) putNew(from, to int, parts []string, name string) error {
	err := c.try("place", name, func() error {
		return unix.Renameat2(from, name, to, name, unix.RENAME_NOREPLACE)
	})
	if err == nil {
		c.undo.add(step{kind: placed, folder: parts, name: name})
	}
	return err
}

// descend merges a folder with one of the tree.
func (c *committer) descend(f *folder, from, to int, parts []string, name string) error {
	live, err := beneath.OpenFolder(to, name)
	if err != nil {
		return err
	}
	defer unix.Close(live)
	staged, err := beneath.OpenFolder(from, name)
	if err != nil {
		return fault(c.path(append(slices.Clone(parts), name)...), err) // ours: nobody else should change it
	}
	defer unix.Close(staged)
	return c.merge(f, staged, live, append(slices.Clone(parts), name))
}

// replace lets the entry and what stands in its place change places. Where the
// file system cannot do that, what stands there goes to old/ first: so it is for
// folders of a lower layer of Linux's overlayfs.
func (c *committer) replace(from, to int, parts []string, name string, isFolder bool) error {
	err := c.try("exchange", name, func() error {
		return unix.Renameat2(from, name, to, name, unix.RENAME_EXCHANGE)
	})
	switch err {
	case nil:
		c.undo.add(step{kind: exchanged, folder: parts, name: name})
		c.answer.Replaced++
		return nil
	case unix.EXDEV, unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP:
	default:
		return err
	}
	if err := c.staging.needOld(); err != nil {
		return err
	}
	if err := c.away(to, parts, name, c.staging.old, []string{c.nextOld()}, isFolder); err != nil {
		return err
	}
	if err := c.putNew(from, to, parts, name); err != nil {
		return err
	}
	c.answer.Replaced++
	return nil
}

// nextOld returns a name for the next entry in old/.
func (c *committer) nextOld() string {
	c.moved++
	return strconv.Itoa(c.moved)
}

// away moves name to the open folder old, under the last part of saved, the path
// below old/. A folder that cannot be moved is emptied and removed.
func (c *committer) away(to int, parts []string, name string, old int, saved []string, isFolder bool) error {
	as := saved[len(saved)-1]
	err := c.try("away", name, func() error { return unix.Renameat(to, name, old, as) })
	if err == nil {
		c.undo.add(step{kind: moved, folder: parts, name: name, saved: saved})
		return nil
	}
	if !isFolder || err != unix.EXDEV {
		return err
	}
	live, err := beneath.OpenFolder(to, name)
	if err != nil {
		return err
	}
	defer unix.Close(live)
	return c.empty(live, to, parts, name, old, saved)
}

// empty moves what is in the open folder live, called name in to, and removes it.
func (c *committer) empty(live, to int, parts []string, name string, old int, saved []string) error {
	var st unix.Stat_t
	if err := beneath.Again(func() error { return unix.Fstat(live, &st) }); err != nil {
		return err
	}
	into, err := makeFolder(old, saved[len(saved)-1])
	if err != nil {
		return err
	}
	defer unix.Close(into)
	names, err := beneath.ReadNames(live)
	if err != nil {
		return err
	}
	slices.Sort(names)
	inside := append(slices.Clone(parts), name)
	c.undo.add(step{kind: changed, folder: inside, attr: attrOf(st)})
	for _, n := range names {
		child, err := beneath.Lstat(live, n)
		if err != nil {
			return err
		}
		if err := c.away(live, inside, n, into, append(slices.Clone(saved), n), beneath.IsFolder(child)); err != nil {
			return err
		}
	}
	err = c.try("rmdir", name, func() error { return unix.Unlinkat(to, name, unix.AT_REMOVEDIR) })
	if err == nil {
		c.undo.add(step{kind: removed, folder: parts, name: name})
	}
	return err
}
