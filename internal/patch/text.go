package patch

import "pyro/internal/tree"

// patch gives e its text, or the reason why it has none.
func (w *walker) patch(e *Entry, p *pair, dataChanged bool) error {
	e.Reason = w.objection(e, p, dataChanged)
	if e.Reason != ReasonNone {
		return nil
	}
	s := section{path: e.Path, dataChanged: dataChanged}
	var err error
	if s.before, e.Reason, err = w.side(e.Path, &w.before, p.before, dataChanged); err != nil || e.Reason != ReasonNone {
		return err
	}
	if s.after, e.Reason, err = w.side(e.Path, &w.after, p.after, dataChanged); err != nil || e.Reason != ReasonNone {
		return err
	}
	w.text = s.append(w.text[:0])
	if int64(len(w.text)) > w.options.MaxPatchBytes-w.spent {
		w.full, e.Reason = true, ReasonPatchFull
		return nil
	}
	w.spent += int64(len(w.text))
	e.Text, e.LinesAdded, e.LinesDeleted = string(w.text), s.added, s.deleted
	return nil
}

// objection returns the reason against a text that can be seen from the nodes.
func (w *walker) objection(e *Entry, p *pair, dataChanged bool) Reason {
	switch {
	case e.isDirectory():
		return ReasonDirectory
	case e.Status == TypeChanged && !w.options.TypeChanges:
		return ReasonTypeChanged
	case e.Status == TypeChanged && e.Before.Type == Directory:
		// Whether the folder is gone by then hangs on all that was in it.
		return ReasonTypeChanged
	case e.Status == TypeChanged && e.Before.Type == Symlink && e.After.Type == Directory:
		// git apply looks at what is below by the link's old target, and gives up
		// when that is a loop or too long.
		return ReasonTypeChanged
	case isSpecial(p.before) || isSpecial(p.after):
		return ReasonSpecial
	case !nameIsTaken(e):
		return ReasonName
	case p.closed:
		return ReasonParent
	case !dataChanged && gitMode(p.before) == gitMode(p.after):
		return ReasonPermissions
	case w.full:
		return ReasonPatchFull
	}
	return ReasonNone
}

func isSpecial(n *tree.Node) bool {
	return n != nil && n.Type != tree.Regular && n.Type != tree.Symlink && n.Type != tree.Dir
}

// side reads what a section needs of n. A folder counts as nothing.
func (w *walker) side(path string, r *reader, n *tree.Node, wantData bool) (s side, reason Reason, err error) {
	if n == nil || n.Type == tree.Dir {
		return side{}, ReasonNone, nil
	}
	s.mode = gitMode(n)
	if !wantData {
		return s, ReasonNone, nil
	}
	if n.Size <= w.options.MaxFileBytes {
		if s.data, err = r.load(path, n); err == nil && isBinary(s.data) {
			reason = ReasonBinary
		}
		return s, reason, err
	}
	head, err := r.head(path, n, min(n.Size, sniffBytes))
	if isBinary(head) {
		return s, ReasonBinary, err
	}
	return s, ReasonTooLarge, err
}

// gitMode returns the mode git would record.
func gitMode(n *tree.Node) string {
	switch {
	case n.Type == tree.Symlink:
		return "120000"
	case n.Mode&0o100 != 0:
		return "100755"
	}
	return "100644"
}
