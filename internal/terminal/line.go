package terminal

import (
	"bytes"
	"unicode/utf8"
)

// A cell is one column of a line.
type cell struct {
	// r is the character; 0 is a cell that was never written to or erased, and
	// tail the second column of the wide character before it.
	r rune
	// marks are the characters without width that follow r: accents, joiners.
	marks string
}

const tail rune = -1

// maxMarks is how many bytes of marks a cell keeps. A family emoji has 7
// characters in 4 cells; what has more marks is made to be in the way.
const maxMarks = 32

// A line is one row of the screen.
type line struct {
	// cells ends with the last column written to; what is beyond is blank.
	cells []cell
	// wrapped says that the text goes on in the next line without a line feed.
	wrapped bool
}

// clear makes the line blank and keeps its memory.
func (l *line) clear() {
	clear(l.cells)
	l.cells = l.cells[:0]
	l.wrapped = false
}

// span returns the cells of n columns from x, to be overwritten. Wide
// characters that reach into them from outside become blank.
func (l *line) span(x, n int) []cell {
	l.extend(x + n)
	l.split(x)
	l.split(x + n)
	return l.cells[x : x+n]
}

// extend makes the line at least n columns long.
func (l *line) extend(n int) {
	for len(l.cells) < n {
		l.cells = append(l.cells, cell{})
	}
}

// split blanks the wide character, if any, that has its first column before x
// and its second at x.
func (l *line) split(x int) {
	if x > 0 && x < len(l.cells) && l.cells[x].r == tail {
		l.cells[x-1], l.cells[x] = cell{}, cell{}
	}
}

// erase blanks the columns from x to end.
func (l *line) erase(x, end int) {
	if x >= len(l.cells) {
		return
	}
	if end >= len(l.cells) {
		l.split(x)
		clear(l.cells[x:])
		l.cells = l.cells[:x]
		return
	}
	clear(l.span(x, end-x))
}

// insert pushes the columns from x on n to the right; those beyond cols are lost.
func (l *line) insert(x, n, cols int) {
	if x >= len(l.cells) {
		return
	}
	l.split(x)
	n = min(n, cols-x)
	l.extend(min(len(l.cells)+n, cols))
	l.split(len(l.cells) - n)
	copy(l.cells[x+n:], l.cells[x:])
	clear(l.cells[x : x+n])
}

// remove pulls the columns after x+n to x.
func (l *line) remove(x, n int) {
	if x >= len(l.cells) {
		return
	}
	n = min(n, len(l.cells)-x)
	l.split(x)
	l.split(x + n)
	copy(l.cells[x:], l.cells[x+n:])
	end := len(l.cells) - n
	clear(l.cells[end:])
	l.cells = l.cells[:end]
}

// mark adds a character without width to the one in column x.
func (l *line) mark(x int, r rune) {
	l.extend(x + 1)
	if x > 0 && l.cells[x].r == tail {
		x--
	}
	c := &l.cells[x]
	if c.r == 0 {
		c.r = ' '
	}
	if len(c.marks)+utf8.RuneLen(r) <= maxMarks {
		c.marks += string(r)
	}
}

// blank says whether nothing is to be seen on the line.
func (l *line) blank() bool {
	for _, c := range l.cells {
		if !c.isBlank() {
			return false
		}
	}
	return true
}

func (c cell) isBlank() bool { return (c.r == 0 || c.r == ' ') && c.marks == "" }

// appendTo appends the line's text to b, with the "\n" at its end, or without
// it if the line goes on in the next. Blanks at the end are cut off only where
// the text ends.
func (l *line) appendTo(b []byte) []byte {
	start := len(b)
	for _, c := range l.cells {
		switch c.r {
		case tail:
			continue
		case 0:
			b = append(b, ' ')
		default:
			b = utf8.AppendRune(b, c.r)
		}
		b = append(b, c.marks...)
	}
	if l.wrapped {
		return b
	}
	b = b[:start+len(bytes.TrimRight(b[start:], " "))]
	return append(b, '\n')
}
