package terminal

// extent is the parameter of the erasing sequences.
type extent int

const (
	after  extent = iota // from the cursor to the end
	before               // from the beginning to the cursor
	all
	scrollback // erases no line of the screen
)

// eraseLine erases of the cursor's line (EL).
func (p *page) eraseLine(e extent) {
	l, x := p.line(), p.cursor.x
	switch e {
	case after:
		if p.cursor.full {
			return // the cursor stands behind the last column
		}
		l.wrapped = false
		if x == 0 {
			p.unwrapAbove(p.cursor.y)
		}
		l.erase(x, p.cols)
	case before:
		l.erase(0, x+1)
	case all:
		p.unwrapAbove(p.cursor.y)
		l.clear()
	}
}

// eraseScreen erases of the whole screen (ED), or the scroll-back.
func (p *page) eraseScreen(e extent) {
	y := p.cursor.y
	switch e {
	case after:
		p.eraseLine(after)
		p.clearLines(y+1, len(p.lines))
	case before:
		p.clearLines(0, y)
		p.eraseLine(before)
	case all:
		p.clearLines(0, len(p.lines))
	case scrollback:
		p.scrollback = nil
	}
}

// clearLines blanks the lines from y to end.
func (p *page) clearLines(y, end int) {
	if y >= end {
		return
	}
	p.touch(y)
	for i := y; i < end; i++ {
		p.lines[i].clear()
	}
}

// unwrapAbove makes line y the beginning of a text, not the continuation of the
// line above.
func (p *page) unwrapAbove(y int) {
	if y > 0 {
		p.lines[y-1].wrapped = false
	}
}

// eraseChars blanks n columns from the cursor on (ECH).
func (p *page) eraseChars(n int) {
	p.line().erase(p.cursor.x, min(p.cursor.x+n, p.cols))
	p.cursor.full = false
}

// insertChars makes place for n columns at the cursor (ICH).
func (p *page) insertChars(n int) {
	p.line().insert(p.cursor.x, n, p.cols)
	p.cursor.full = false
}

// deleteChars takes n columns away at the cursor (DCH).
func (p *page) deleteChars(n int) {
	l := p.line()
	l.remove(p.cursor.x, n)
	l.wrapped = false
	p.cursor.full = false
}

// insertLines makes place for n lines at the cursor (IL).
func (p *page) insertLines(n int) {
	if p.inMargins() {
		p.scrollDown(p.cursor.y, p.bottom, n)
		p.toColumn(0)
	}
}

// deleteLines takes n lines away at the cursor (DL). They are lost, not kept as
// scroll-back.
func (p *page) deleteLines(n int) {
	if !p.inMargins() {
		return
	}
	p.unwrapAbove(p.cursor.y)
	p.clearLines(p.cursor.y, min(p.cursor.y+n, p.bottom+1))
	rotate(p.lines[p.cursor.y:p.bottom+1], min(n, p.bottom+1-p.cursor.y))
	p.toColumn(0)
}

func (p *page) inMargins() bool { return p.cursor.y >= p.top && p.cursor.y <= p.bottom }
