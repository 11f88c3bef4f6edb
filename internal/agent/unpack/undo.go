package unpack

import (
	"slices"

	"golang.org/x/sys/unix"
)

// stepKind is what a step of the commit has done.
type stepKind uint8

const (
	changed   stepKind = iota // something in a folder or the folder's attributes
	placed                    // an entry where nothing was
	exchanged                 // a staged entry with what stood in its place
	moved                     // an entry of the tree to old/
	removed                   // an emptied folder of the tree
)

// step is what is needed to undo it.
type step struct {
	kind   stepKind
	folder []string // of the tree; of changed, the folder itself
	name   string   // in folder
	saved  []string // of moved: the path below old/
	attr   attr     // of changed: before
}

// undoList has the steps of a commit in their order. It grows by what the guest
// has and the stream changes, not by what is new, and lives in memory: if this
// process dies, so does what could be undone.
type undoList struct {
	steps []step
	// failed is the first step that could not be undone. What it would have
	// brought back is still in the staging folder.
	failed *Error
}

func (l *undoList) add(s step) { l.steps = append(l.steps, s) }

// rollBack undoes all steps, the last one first. One that fails does not keep the
// others from being undone.
func (u *unpacker) rollBack() {
	r := &roller{
		unpacker: u,
		tree:     walker{base: u.root},
		new:      walker{base: u.staging.new},
		old:      walker{base: u.staging.old},
	}
	defer r.tree.close()
	defer r.new.close()
	defer r.old.close()
	for _, s := range slices.Backward(u.undo.steps) {
		if err := r.undo(s); err != nil && u.undo.failed == nil {
			u.undo.failed = fault(u.path(append(slices.Clone(s.folder), s.name)...), err)
		}
	}
}

type roller struct {
	*unpacker
	tree, new, old walker
}

func (r *roller) undo(s step) error {
	at, err := r.tree.at(s.folder)
	if err != nil {
		return err
	}
	var op func() error
	switch s.kind {
	case changed:
		op = func() error { return setFolder(at, s.attr) }
	case removed:
		op = func() error { return unix.Mkdirat(at, s.name, 0o700) } // changed, undone later, has the rest
	case moved:
		last := len(s.saved) - 1
		old, err := r.old.at(s.saved[:last])
		if err != nil {
			return err
		}
		op = func() error { return unix.Renameat2(old, s.saved[last], at, s.name, unix.RENAME_NOREPLACE) }
	default:
		staged, err := r.new.at(s.folder)
		if err != nil {
			return err
		}
		op = func() error { return takeBack(s, at, staged) }
	}
	return r.try("undo", s.name, op)
}

// takeBack undoes placed and exchanged. The guest may have removed the new entry
// since; that leaves less to do.
func takeBack(s step, at, staged int) error {
	if s.kind == exchanged {
		err := unix.Renameat2(at, s.name, staged, s.name, unix.RENAME_EXCHANGE)
		if err != unix.ENOENT {
			return err
		}
		return unix.Renameat2(staged, s.name, at, s.name, unix.RENAME_NOREPLACE)
	}
	err := unix.Renameat2(at, s.name, staged, s.name, unix.RENAME_NOREPLACE)
	if err == unix.ENOENT {
		return nil
	}
	return err
}
