package apply

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"

	"pyro/api"
)

// scan goes through the lines of a patch that the parser has read, for what it
// does not tell.
type scan struct {
	number        int    // of the line
	before, after int    // lines of the hunk that are still to come
	hunk          string // header of the hunk that has just ended
	git           bool   // in the header of a file that begins with "diff --git"
	old           string // the last line that may begin a plain header
	strip         []bool // for every file: whether its names still have their prefix
}

// finish checks what the parser gave and completes it: it refuses hunks that have
// more lines than they say, which the parser, as git's, takes for text between
// two files, and it takes the a/ and b/ off the names of plain diffs.
func finish(text []byte, files []*gitdiff.File) error {
	s := &scan{}
	for line := range bytes.Lines(text) {
		s.number++
		if err := s.line(string(line)); err != nil {
			return err
		}
	}
	if len(s.strip) != len(files) {
		return api.Errorf(api.KindUsage, "the patch cannot be read: it has %d headers of files, and %d files", len(s.strip), len(files))
	}
	for i, f := range files {
		if s.strip[i] {
			f.OldName, f.NewName = withoutPrefix(f.OldName), withoutPrefix(f.NewName)
		}
	}
	return nil
}

func (s *scan) line(line string) error {
	if s.before > 0 || s.after > 0 {
		s.inHunk(line[0])
		return nil
	}
	old := s.old
	s.old = ""
	switch {
	case strings.HasPrefix(line, "@@ -"):
		s.git, s.hunk = false, strings.TrimSpace(line)
		s.before, s.after = counts(line)
	case strings.HasPrefix(line, "diff --git "):
		s.git, s.hunk = true, ""
		s.strip = append(s.strip, false)
	case strings.HasPrefix(line, "--- "):
		s.hunk, s.old = "", line
	case strings.HasPrefix(line, "+++ ") && old != "":
		if !s.git {
			s.strip = append(s.strip, prefixed(nameOf(old), nameOf(line)))
		}
	case s.hunk == "" || line[0] == '\\':
	case strings.TrimSpace(line) == "--": // a mail's signature
		s.hunk = ""
	case line[0] == '+' || line[0] == '-' || line[0] == ' ':
		return api.Errorf(api.KindUsage, "the patch cannot be read: line %d is one more than the hunk above it says that it has: %s", s.number, s.hunk).
			WithHint("count again: @@ -FIRST,LINES +FIRST,LINES @@, where LINES are those with a space or -, and with a space or +")
	default:
		s.hunk = ""
	}
	return nil
}

func (s *scan) inHunk(mark byte) {
	if mark != '+' && mark != '\\' {
		s.before--
	}
	if mark != '-' && mark != '\\' {
		s.after--
	}
}

// nameOf returns the name in the line of a plain header, which may be quoted.
func nameOf(line string) string {
	name, _, _ := strings.Cut(strings.TrimRight(line[4:], "\r\n"), "\t")
	return strings.TrimPrefix(name, `"`)
}

// prefixed says whether the names of a plain diff have a folder in front that
// stands for the side: a/ and b/, or any two that differ. Tools that write
// none give both sides the same name.
func prefixed(old, now string) bool {
	const none = "/dev/null"
	sided := func(name string) bool { return strings.HasPrefix(name, "a/") || strings.HasPrefix(name, "b/") }
	switch {
	case old == none || now == none:
		return sided(old) || sided(now)
	case sided(old) && sided(now):
		return true
	}
	return old != now
}

func withoutPrefix(name string) string {
	_, rest, ok := strings.Cut(name, "/")
	if !ok || name == "/dev/null" {
		return name
	}
	return rest
}

// counts returns the numbers of lines in a hunk's header, which the parser has
// found to be right.
func counts(header string) (before, after int) {
	var from, to string
	if n, _ := fmt.Sscanf(header, "@@ -%s +%s", &from, &to); n < 2 {
		return 0, 0
	}
	return count(from), count(to)
}

func count(span string) int {
	_, lines, ok := strings.Cut(span, ",")
	n := 1
	if ok {
		_, _ = fmt.Sscan(lines, &n)
	}
	return n
}
