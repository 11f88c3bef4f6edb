package patch

import (
	"bytes"
	"strconv"

	"github.com/aymanbagabas/go-udiff/lcs"
)

// contextLines is how many unchanged lines stand around a change, as in git.
const contextLines = 3

// appendHunks writes the hunks that turn before into after, which differ, behind
// dst, and counts their lines.
func appendHunks(dst []byte, before, after []byte) (out []byte, added, deleted int) {
	start, beforeEnd, afterEnd := window(before, after)
	h := hunks{
		dst:    dst,
		before: cut(before[start:beforeEnd]),
		after:  cut(after[start:afterEnd]),
		above:  bytes.Count(before[:start], []byte{'\n'}),
	}
	all := diffLines(number(h.before, h.after))
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].Start-all[n-1].End <= 2*contextLines {
			n++
		}
		h.append(all[:n])
		all = all[n:]
	}
	return h.dst, h.added, h.deleted
}

// hunks writes hunks of the part of two texts in which they differ.
type hunks struct {
	dst            []byte
	before, after  lines
	above          int // lines before the part, the same in both
	added, deleted int
}

// append writes one hunk with all those changes.
func (h *hunks) append(changes []lcs.Diff) {
	first, last := changes[0], changes[len(changes)-1]
	lead := min(contextLines, first.Start)
	tail := min(contextLines, h.before.len()-last.End)
	h.dst = append(h.dst, "@@ -"...)
	h.span(first.Start-lead, last.End+tail)
	h.dst = append(h.dst, " +"...)
	h.span(first.ReplStart-lead, last.ReplEnd+tail)
	h.dst = append(h.dst, " @@\n"...)
	at := first.Start - lead
	for _, c := range changes {
		h.lines(' ', h.before, at, c.Start)
		h.lines('-', h.before, c.Start, c.End)
		h.lines('+', h.after, c.ReplStart, c.ReplEnd)
		h.deleted += c.End - c.Start
		h.added += c.ReplEnd - c.ReplStart
		at = c.End
	}
	h.lines(' ', h.before, at, last.End+tail)
}

// span writes a hunk's first line and number of lines. Of no lines the first is
// the one before them, and the number 1 is left out.
func (h *hunks) span(from, to int) {
	first := h.above + from
	if to > from {
		first++
	}
	h.dst = strconv.AppendInt(h.dst, int64(first), 10)
	if to-from != 1 {
		h.dst = append(h.dst, ',')
		h.dst = strconv.AppendInt(h.dst, int64(to-from), 10)
	}
}

func (h *hunks) lines(mark byte, l lines, from, to int) {
	for i := from; i < to; i++ {
		text := l.line(i)
		h.dst = append(append(h.dst, mark), text...)
		if text[len(text)-1] != '\n' {
			h.dst = append(h.dst, "\n\\ No newline at end of file\n"...)
		}
	}
}

// window returns the part of two texts in which they differ, in whole lines and
// with the lines of context around it: most changes are small, and the rest of
// the file need not be cut into lines. Both parts begin at start.
func window(before, after []byte) (start, beforeEnd, afterEnd int) {
	same := commonPrefix(before, after)
	start = bytes.LastIndexByte(before[:same], '\n') + 1
	a, b := before[start:], after[start:]
	suffix := commonSuffix(a, b)
	if !lineStart(a, len(a)-suffix) || !lineStart(b, len(b)-suffix) {
		if n := bytes.IndexByte(a[len(a)-suffix:], '\n'); n >= 0 {
			suffix -= n + 1
		} else {
			suffix = 0
		}
	}
	for range contextLines {
		if start > 0 {
			start = bytes.LastIndexByte(before[:start-1], '\n') + 1
		}
		if n := bytes.IndexByte(before[len(before)-suffix:], '\n'); n >= 0 {
			suffix -= n + 1
		} else {
			suffix = 0
		}
	}
	return start, len(before) - suffix, len(after) - suffix
}

func lineStart(text []byte, at int) bool { return at == 0 || text[at-1] == '\n' }

// equalStep is how much of two texts is compared at once.
const equalStep = 4096

func commonPrefix(a, b []byte) int {
	most := min(len(a), len(b))
	n := 0
	for n+equalStep <= most && bytes.Equal(a[n:n+equalStep], b[n:n+equalStep]) {
		n += equalStep
	}
	for n < most && a[n] == b[n] {
		n++
	}
	return n
}

func commonSuffix(a, b []byte) int {
	most := min(len(a), len(b))
	n := 0
	for n+equalStep <= most && bytes.Equal(a[len(a)-n-equalStep:len(a)-n], b[len(b)-n-equalStep:len(b)-n]) {
		n += equalStep
	}
	for n < most && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}
