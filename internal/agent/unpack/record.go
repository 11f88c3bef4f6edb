package unpack

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/beneath"
)

// The records (PAX) that an entry may have beside what any archive has.
const (
	// RecordExpect says what must stand at the entry's path when the commit
	// begins, or nothing is changed:
	//
	//	absent         nothing
	//	file           a regular file, or nothing
	//	sha256:HEX     a regular file with that hash
	//	link:HEX       a symbolic link whose target has that hash
	RecordExpect = "PYRO.expect"
	// RecordRemove, with whatever value, says that the path of the entry, an
	// empty file, is to be removed. A folder is not. Folders above it that are
	// empty then go too.
	RecordRemove = "PYRO.remove"
)

// The values of RecordExpect, the last two before a hash.
const (
	ExpectAbsent = "absent"
	ExpectFile   = "file"
	ExpectSum    = "sha256:"
	ExpectLink   = "link:"
)

// condition is a RecordExpect.
type condition struct {
	parts []string
	want  string
}

// record keeps the records of an entry. It reports whether the entry is only
// there for them.
func (s *stager) record(h *tar.Header, parts []string) (done bool, err error) {
	want, expects := h.PAXRecords[RecordExpect]
	_, removes := h.PAXRecords[RecordRemove]
	if !expects && !removes {
		return false, nil
	}
	if len(parts) == len(s.dest) {
		return false, errorf(Unsafe, "%q has no name", h.Name)
	}
	if expects {
		s.conditions = append(s.conditions, condition{parts, want})
	}
	if removes && (h.Typeflag != tar.TypeReg || h.Size > 0) {
		return false, errorf(Unsafe, "%q is to be removed and has content", h.Name)
	}
	if removes {
		s.removals = append(s.removals, parts)
	}
	return removes, nil
}

// checkConditions compares the tree with what the stream expects there.
func (u *unpacker) checkConditions() error {
	w := walker{base: u.root}
	defer w.close()
	for _, c := range u.conditions {
		last := len(c.parts) - 1
		at, err := w.at(c.parts[:last])
		found := ExpectAbsent
		switch err {
		case nil:
			found, err = describe(at, c.parts[last], c.want)
		case unix.ENOENT, unix.ENOTDIR, unix.ELOOP:
			err = nil
		}
		if err != nil {
			return fault(u.path(c.parts...), err)
		}
		if found != c.want && (c.want != ExpectFile || found != ExpectAbsent) {
			return errorf(Conflict, "%q is not what was expected there: %s", u.path(c.parts...), explain(c.want, found))
		}
	}
	return nil
}

func explain(want, found string) string {
	switch {
	case want == ExpectAbsent:
		return "something is there already"
	case found == ExpectAbsent:
		return "nothing is there any more"
	case strings.HasPrefix(want, ExpectSum) && strings.HasPrefix(found, ExpectSum):
		return "its content is another one"
	case want == ExpectFile || strings.HasPrefix(want, ExpectSum):
		return "it is no regular file"
	}
	return "it is something else"
}

// describe says in the words of RecordExpect what stands at name. Content is read
// only if want is about content.
func describe(at int, name, want string) (string, error) {
	st, err := beneath.Lstat(at, name)
	switch {
	case err == unix.ENOENT:
		return ExpectAbsent, nil
	case err != nil:
		return "", err
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		target, err := beneath.ReadLink(at, name)
		return ExpectLink + sum([]byte(target)), err
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return "other", nil
	case want == ExpectFile:
		return ExpectFile, nil
	case !strings.HasPrefix(want, ExpectSum):
		return "other", nil
	}
	f, err := beneath.OpenFile(at, name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return ExpectSum + hex.EncodeToString(h.Sum(nil)), nil
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// remove moves what is to be removed to old/, from where it can come back. What
// stands there must be a file or link: a folder is in the way.
func (c *committer) remove() error {
	w := walker{base: c.root}
	defer w.close()
	for _, parts := range c.removals {
		if err := c.removeOne(&w, parts); err != nil {
			return fault(c.path(parts...), err)
		}
	}
	return nil
}

func (c *committer) removeOne(w *walker, parts []string) error {
	last := len(parts) - 1
	at, err := w.at(parts[:last])
	if err != nil {
		return err
	}
	st, err := beneath.Lstat(at, parts[last])
	if err != nil {
		return err
	}
	if beneath.IsFolder(st) {
		return errorf(Conflict, "%q is a folder and was to be removed as a file; nothing was changed", c.path(parts...))
	}
	var folder unix.Stat_t
	if err := beneath.Again(func() error { return unix.Fstat(at, &folder) }); err != nil {
		return err
	}
	if err := c.staging.needOld(); err != nil {
		return err
	}
	parent := slices.Clone(parts[:last])
	c.undo.add(step{kind: changed, folder: parent, attr: attrOf(folder)})
	if err := c.away(at, parent, parts[last], c.staging.old, []string{c.nextOld()}, false); err != nil {
		return err
	}
	c.answer.Removed++
	return nil
}

// prune removes the folders that removals have left empty. It is the last step,
// and what it cannot remove stays.
func (c *committer) prune() {
	w := walker{base: c.root}
	defer w.close()
	for _, parts := range c.removals {
		for n := len(parts) - 1; n > 0; n-- {
			at, err := w.at(parts[:n-1])
			if err != nil || beneath.Again(func() error { return unix.Unlinkat(at, parts[n-1], unix.AT_REMOVEDIR) }) != nil {
				break
			}
		}
	}
}
