package terminal

import "slices"

// A page is the grid of lines and the cursor of one of the two screens.
//
//	   scroll-back   lines that left at the top since the last take, as text
//	┌──────────────┐ 0       top margin, usually
//	│ lines        │
//	│ ...          │ first   the first line that changed since the last take
//	│              │
//	└──────────────┘ rows-1  bottom margin, usually
type page struct {
	cols   int
	lines  []line
	cursor cursor
	// saved is the cursor that DECRC restores.
	saved cursor
	// top and bottom are the first and the last line that scroll.
	top, bottom int

	// keeps is whether lines that scroll off the top are kept: on the main
	// screen only.
	keeps bool
	// scrollback is the text of those of them that had not been taken.
	scrollback []byte
	// first is the first line that changed since the last take; len(lines) if
	// none did.
	first int
}

// A cursor is where the next character goes.
type cursor struct {
	x, y int
	// full says that the last column was just written to: the next character
	// wraps first.
	full bool
}

func newPage(cols, rows int) page {
	return page{cols: cols, lines: make([]line, rows), bottom: rows - 1, first: rows}
}

// line is the line that the cursor is on, which is about to change.
func (p *page) line() *line {
	p.touch(p.cursor.y)
	return &p.lines[p.cursor.y]
}

// touch notes that line y changes.
func (p *page) touch(y int) { p.first = min(p.first, y) }

// changed says whether anything changed since the last take.
func (p *page) changed() bool { return p.first < len(p.lines) || len(p.scrollback) > 0 }

// take returns the text that changed and begins anew.
func (p *page) take() []byte {
	text := p.scrollback
	p.scrollback = nil
	first, last := p.first, p.cursor.y
	p.first = len(p.lines)
	if first == len(p.lines) {
		return text
	}
	for first > 0 && p.lines[first-1].wrapped {
		first--
	}
	for y := len(p.lines) - 1; y > last; y-- {
		if !p.lines[y].blank() {
			last = y
		}
	}
	for y := first; y <= last; y++ {
		text = p.lines[y].appendTo(text)
	}
	if first <= last && !p.lines[last].wrapped {
		text = text[:len(text)-1] // the cursor has not left it
	}
	return text
}

// scrollUp moves the lines from top to bottom up by n, and blank ones in from
// below. What leaves the screen at its top is scroll-back.
func (p *page) scrollUp(top, bottom, n int) {
	n = min(n, bottom-top+1)
	if p.keeps && top == 0 {
		p.keep(n, bottom)
	} else {
		p.touch(top)
		p.unwrapAbove(top)
	}
	moved := p.lines[top : bottom+1]
	for i := range n {
		moved[i].clear()
	}
	rotate(moved, n)
}

// keep puts the n top lines into the scroll-back, unless they were taken and
// have not changed since.
func (p *page) keep(n, bottom int) {
	for i := range n {
		if i >= p.first {
			p.scrollback = p.lines[i].appendTo(p.scrollback)
		}
	}
	p.first = min(max(p.first-n, 0), bottom)
}

// scrollDown moves the lines from top to bottom down by n, and blank ones in
// from above.
func (p *page) scrollDown(top, bottom, n int) {
	n = min(n, bottom-top+1)
	p.touch(top)
	p.unwrapAbove(top)
	moved := p.lines[top : bottom+1]
	for i := range n {
		moved[len(moved)-1-i].clear()
	}
	rotate(moved, len(moved)-n)
	p.lines[bottom].wrapped = false
}

// rotate moves the first n lines to the end.
func rotate(lines []line, n int) {
	if n == 1 { // nearly always
		first := lines[0]
		copy(lines, lines[1:])
		lines[len(lines)-1] = first
		return
	}
	slices.Reverse(lines[:n])
	slices.Reverse(lines[n:])
	slices.Reverse(lines)
}
