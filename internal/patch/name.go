package patch

import (
	"fmt"
	"strings"
)

// escapes are the characters for which C has a letter.
var escapes = map[byte]string{
	'\a': `\a`, '\b': `\b`, '\t': `\t`, '\n': `\n`, '\v': `\v`, '\f': `\f`, '\r': `\r`, '"': `\"`, '\\': `\\`,
}

// quote writes a name as git does with core.quotePath, its default: as it is, or
// in quotes when it has control characters, quotes, backslashes or bytes that
// are not ASCII.
func quote(name string) string {
	for i := range len(name) {
		if c := name[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return quoted(name)
		}
	}
	return name
}

// quoteSpaces is quote that takes spaces for special too. It is for names that
// stand in the first line of a section only: git cannot tell there where one
// ends when a folder's ends in a space, and GNU patch with any space.
func quoteSpaces(name string) string {
	if strings.IndexByte(name, ' ') >= 0 {
		return quoted(name)
	}
	return quote(name)
}

func quoted(name string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(name) {
		c := name[i]
		switch escape := escapes[c]; {
		case escape != "":
			b.WriteString(escape)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// nameIsTaken reports whether git apply takes a patch for this path. It refuses
// whole patches that touch a .git folder, under any name by which a file system
// of Windows would know it, or that make a link of .gitmodules (verify_path in
// git's read-cache.c, with core.protectNTFS, which is on everywhere).
func nameIsTaken(e *Entry) bool {
	link := e.Before != nil && e.Before.Type == Symlink || e.After != nil && e.After.Type == Symlink
	for part := range strings.FieldsFuncSeq(e.Path, func(r rune) bool { return r == '/' || r == '\\' }) {
		part, _, _ = strings.Cut(part, ":")
		part = strings.ToLower(strings.TrimRight(part, ". "))
		if part == ".git" || part == "git~1" {
			return false
		}
		// The short names that Windows gives .gitmodules.
		if link && (part == ".gitmodules" || strings.HasPrefix(part, "gitmod~") || strings.HasPrefix(part, "gi7eba")) {
			return false
		}
	}
	return true
}
