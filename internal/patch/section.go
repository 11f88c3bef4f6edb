package patch

import (
	"crypto/sha1"
	"encoding/hex"
	"strconv"
)

// side is one side of a section. Without a mode nothing is there.
type side struct {
	mode string // as git writes it
	data []byte
}

func (s side) exists() bool { return s.mode != "" }

// isLink tells a symbolic link from a file.
func (s side) isLink() bool { return s.mode == "120000" }

// section is a patch's part about one path. Its form is that of git's
// documentation, "Generating patch text with -p" (git-diff-tree(1)).
type section struct {
	path          string
	before, after side
	dataChanged   bool // unless set, the modes are all there is
	added         int  // lines; set by append
	deleted       int
}

// append writes the section behind dst.
func (s *section) append(dst []byte) []byte {
	if s.before.exists() && s.after.exists() && s.before.isLink() != s.after.isLink() {
		// Neither git nor patch turns one into the other.
		dst = s.change(dst, s.before, side{})
		return s.change(dst, side{}, s.after)
	}
	return s.change(dst, s.before, s.after)
}

func (s *section) change(dst []byte, before, after side) []byte {
	a, b := quote("a/"+s.path), quote("b/"+s.path)
	hunks := s.dataChanged && len(before.data)+len(after.data) > 0
	if hunks {
		dst = line(dst, "diff --git ", a, " ", b)
	} else {
		dst = line(dst, "diff --git ", quoteSpaces("a/"+s.path), " ", quoteSpaces("b/"+s.path))
	}
	keptMode := ""
	switch {
	case !before.exists():
		dst = line(dst, "new file mode ", after.mode)
	case !after.exists():
		dst = line(dst, "deleted file mode ", before.mode)
	case before.mode != after.mode:
		dst = line(dst, "old mode ", before.mode)
		dst = line(dst, "new mode ", after.mode)
	default:
		keptMode = " " + after.mode
	}
	if !s.dataChanged {
		return dst
	}
	dst = line(dst, "index ", blob(before), "..", blob(after), keptMode)
	if !hunks {
		return dst
	}
	dst = line(dst, "--- ", name(a, before))
	dst = line(dst, "+++ ", name(b, after))
	dst, added, deleted := appendHunks(dst, before.data, after.data)
	s.added += added
	s.deleted += deleted
	return dst
}

// name returns a quoted name for the lines before the hunks. The tab after one
// with a space is git's, so that patch does not take what follows for a date.
func name(quoted string, s side) string {
	if !s.exists() {
		return "/dev/null"
	}
	for i := range len(quoted) {
		if quoted[i] == ' ' {
			return quoted + "\t"
		}
	}
	return quoted
}

// blob returns the short hash of a side's data as a git blob. It says to patch
// which files are empty, and to `git apply --3way` which blob is meant.
func blob(s side) string {
	if !s.exists() {
		return "0000000"
	}
	h := sha1.New()
	h.Write(append(strconv.AppendInt([]byte("blob "), int64(len(s.data)), 10), 0))
	h.Write(s.data)
	return hex.EncodeToString(h.Sum(nil))[:7]
}

func line(dst []byte, parts ...string) []byte {
	for _, p := range parts {
		dst = append(dst, p...)
	}
	return append(dst, '\n')
}
