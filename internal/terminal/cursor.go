package terminal

// tabWidth is the distance of the tab stops, in columns.
const tabWidth = 8

// to puts the cursor to column x of line y, or as near as the screen allows.
func (p *page) to(x, y int) {
	p.cursor = cursor{x: min(max(x, 0), p.cols-1), y: min(max(y, 0), len(p.lines)-1)}
}

// toColumn puts the cursor to column x of its line.
func (p *page) toColumn(x int) { p.to(x, p.cursor.y) }

// toLine puts the cursor to line y in its column.
func (p *page) toLine(y int) { p.to(p.cursor.x, y) }

// up moves the cursor n lines up, to the top margin at most.
func (p *page) up(n int) {
	limit := 0
	if p.cursor.y >= p.top {
		limit = p.top
	}
	p.toLine(max(p.cursor.y-n, limit))
}

// down moves the cursor n lines down, to the bottom margin at most.
func (p *page) down(n int) {
	limit := len(p.lines) - 1
	if p.cursor.y <= p.bottom {
		limit = p.bottom
	}
	p.toLine(min(p.cursor.y+n, limit))
}

// tab moves the cursor n tab stops to the right, or to the left if n is negative.
func (p *page) tab(n int) {
	if n == 1 && p.cursor.full {
		return // as in xterm: the wrap is still to come
	}
	x := p.cursor.x
	if n < 0 {
		x += tabWidth - 1
	}
	p.toColumn((x/tabWidth + n) * tabWidth)
}

// lineFeed moves the cursor to the next line, scrolling at the bottom margin.
func (p *page) lineFeed() {
	p.touch(p.cursor.y)
	p.cursor.full = false
	switch p.cursor.y {
	case p.bottom:
		p.scrollUp(p.top, p.bottom, 1)
	case len(p.lines) - 1:
	default:
		p.cursor.y++
	}
}

// reverseLineFeed moves the cursor to the line above, scrolling at the top margin.
func (p *page) reverseLineFeed() {
	p.cursor.full = false
	switch p.cursor.y {
	case p.top:
		p.scrollDown(p.top, p.bottom, 1)
	case 0:
	default:
		p.cursor.y--
	}
}

// setMargins sets the first and the last line that scroll (DECSTBM), counted
// from 1; a last of 0 is the last of the screen. Margins that hold no two lines
// are ignored.
func (p *page) setMargins(first, last int) bool {
	if last == 0 || last > len(p.lines) {
		last = len(p.lines)
	}
	first = max(first, 1)
	if first >= last {
		if len(p.lines) > 1 {
			return false
		}
		first = last // the only line
	}
	p.top, p.bottom = first-1, last-1
	return true
}

// save saves the cursor (DECSC).
func (p *page) save() { p.saved = p.cursor }

// restore puts the cursor where it was saved, or to where it began (DECRC).
func (p *page) restore() { p.cursor = p.saved }
