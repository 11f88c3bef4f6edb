package patch

import (
	"bytes"
	"slices"

	"github.com/aymanbagabas/go-udiff/lcs"
)

// lines is a text cut into lines. A line has its newline; only the last may
// lack it, and is then another line than the same one with it.
type lines struct {
	text   []byte
	starts []int32 // of each line, and the end of the text
}

func cut(text []byte) lines {
	l := lines{text: text, starts: make([]int32, 1, bytes.Count(text, []byte{'\n'})+2)}
	for at := 0; at < len(text); {
		if n := bytes.IndexByte(text[at:], '\n'); n >= 0 {
			at += n + 1
		} else {
			at = len(text)
		}
		l.starts = append(l.starts, int32(at))
	}
	return l
}

func (l lines) len() int { return len(l.starts) - 1 }

func (l lines) line(i int) []byte { return l.text[l.starts[i]:l.starts[i+1]] }

// number gives equal lines of both texts the same number, so that they are read
// once, however long they are. Numbers count from 0; max is the first free one.
func number(a, b lines) (na, nb []rune, limit int) {
	ids := make(map[string]rune)
	all := func(l lines) []rune {
		numbers := make([]rune, l.len())
		for i := range numbers {
			id, ok := ids[string(l.line(i))]
			if !ok {
				id = rune(len(ids))
				ids[string(l.line(i))] = id
			}
			numbers[i] = id
		}
		return numbers
	}
	na, nb = all(a), all(b)
	return na, nb, len(ids)
}

const (
	// exactLines is the number of lines, of both sides together, up to which the
	// library's diff is sure to be a shortest one. Beyond it gives up after so
	// many differences and takes all that is between for replaced.
	exactLines = 100
	// maxSplits bounds how often a text is split at anchors within anchors, and
	// so the time for a text made to be slow.
	maxSplits = 16
)

// differ finds what to replace in a to get b. It splits both at lines that are
// the only ones of their kind in each ("patience diff"), which keeps
// paragraphs and functions whole, and leaves what is between to the library.
type differ struct {
	a, b  []rune // numbers of lines
	out   []lcs.Diff
	count []uses // by number of line; zero between two searches
}

// uses counts a line in the parts of a and b that are searched.
type uses struct {
	a, b int32
	at   int32 // the last place in b
}

func diffLines(a, b []rune, limit int) []lcs.Diff {
	d := differ{a: a, b: b, count: make([]uses, limit)}
	d.diff(0, len(a), 0, len(b), maxSplits)
	return d.out
}

// diff appends the replacements that turn a[a0:a1] into b[b0:b1].
func (d *differ) diff(a0, a1, b0, b1, splits int) {
	for a0 < a1 && b0 < b1 && d.a[a0] == d.b[b0] {
		a0, b0 = a0+1, b0+1
	}
	for a0 < a1 && b0 < b1 && d.a[a1-1] == d.b[b1-1] {
		a1, b1 = a1-1, b1-1
	}
	if a0 == a1 && b0 == b1 {
		return
	}
	if a0 == a1 || b0 == b1 {
		d.out = append(d.out, lcs.Diff{Start: a0, End: a1, ReplStart: b0, ReplEnd: b1})
		return
	}
	var anchors []anchor
	if a1-a0+b1-b0 > exactLines && splits > 0 {
		anchors = d.anchors(a0, a1, b0, b1)
	}
	if len(anchors) == 0 {
		// The library knows lines as strings and runes as numbers; so do we.
		for _, r := range lcs.DiffRunes(d.a[a0:a1], d.b[b0:b1]) {
			d.out = append(d.out, lcs.Diff{Start: r.Start + a0, End: r.End + a0, ReplStart: r.ReplStart + b0, ReplEnd: r.ReplEnd + b0})
		}
		return
	}
	for _, at := range anchors {
		d.diff(a0, int(at.a), b0, int(at.b), splits-1)
		a0, b0 = int(at.a)+1, int(at.b)+1
	}
	d.diff(a0, a1, b0, b1, splits-1)
}

// anchor is a line that stays.
type anchor struct{ a, b int32 }

// anchors returns the longest series of lines that are unique in both parts and
// come in the same order.
func (d *differ) anchors(a0, a1, b0, b1 int) []anchor {
	for _, id := range d.a[a0:a1] {
		d.count[id].a++
	}
	for i, id := range d.b[b0:b1] {
		d.count[id].b++
		d.count[id].at = int32(b0 + i)
	}
	var unique []anchor
	for i, id := range d.a[a0:a1] {
		if u := d.count[id]; u.a == 1 && u.b == 1 {
			unique = append(unique, anchor{int32(a0 + i), u.at})
		}
	}
	for _, id := range d.a[a0:a1] {
		d.count[id] = uses{}
	}
	for _, id := range d.b[b0:b1] {
		d.count[id] = uses{}
	}
	return longestRise(unique)
}

// longestRise returns the longest part of all, whose a rises, in which b rises too.
func longestRise(all []anchor) []anchor {
	var ends []int32 // ends[n] is where the rise of n+1 anchors ends whose last b is lowest
	before := make([]int32, len(all))
	for i, at := range all {
		n, _ := slices.BinarySearchFunc(ends, at.b, func(end, b int32) int { return int(all[end].b - b) })
		before[i] = -1
		if n > 0 {
			before[i] = ends[n-1]
		}
		if n == len(ends) {
			ends = append(ends, int32(i))
		} else {
			ends[n] = int32(i)
		}
	}
	rise := make([]anchor, len(ends))
	for n := len(ends) - 1; n >= 0; n-- {
		i := ends[len(ends)-1]
		if n < len(ends)-1 {
			i = before[ends[n+1]]
		}
		rise[n], ends[n] = all[i], i
	}
	return rise
}
