package terminal

import "unicode/utf8"

// text handles what is not within a sequence: a run of characters, one control
// character, or the beginning of a sequence. It returns the bytes used.
func (s *Screen) text(b []byte) int {
	if n := asciiRun(b); n > 0 {
		if s.charsets[s.shifted] || s.modes.insert || !s.modes.wrap {
			for _, c := range b[:n] {
				s.print(rune(c))
			}
		} else {
			s.showing.printASCII(b[:n])
			s.last = rune(b[n-1])
		}
		return n
	}
	if b[0] < utf8.RuneSelf {
		s.control(b[0])
		return 1
	}
	if !utf8.FullRune(b) {
		s.partial = append(s.partial[:0], b...)
		return len(b)
	}
	r, n := utf8.DecodeRune(b)
	s.print(r)
	return n
}

// asciiRun is the length of the run of printable ASCII that b begins with.
func asciiRun(b []byte) int {
	for i, c := range b {
		if c < ' ' || c > '~' {
			return i
		}
	}
	return len(b)
}

// print writes one character, whatever the modes are.
func (s *Screen) print(r rune) {
	if s.charsets[s.shifted] {
		r = lineDrawing(r)
	}
	p := s.showing
	switch w := columns(r); {
	case w < 0:
		// a control character in disguise
	case w == 0:
		p.mark(r)
	default:
		p.place(r, w, s.modes)
		s.last = r
	}
}

// repeat writes the last character n times more, to the end of the line at most.
func (s *Screen) repeat(n int) {
	w := columns(s.last)
	if s.last == 0 || s.showing.cursor.full {
		return
	}
	for range min(n, (s.showing.cols-s.showing.cursor.x)/w) {
		s.showing.place(s.last, w, s.modes)
	}
}

// printASCII writes characters of one column, wrapping where lines are full.
func (p *page) printASCII(run []byte) {
	for len(run) > 0 {
		if p.cursor.full {
			p.wrap()
		}
		x := p.cursor.x
		n := min(len(run), p.cols-x)
		cells := p.line().span(x, n)
		for i := range cells {
			cells[i] = cell{r: rune(run[i])}
		}
		p.advance(n)
		run = run[n:]
	}
}

// place writes a character of w columns, 1 or 2.
func (p *page) place(r rune, w int, m modes) {
	if p.cursor.full && m.wrap {
		p.wrap()
	}
	if p.cursor.x+w > p.cols { // a wide one, and one column is left
		if m.wrap {
			p.line().erase(p.cursor.x, p.cols)
			p.wrap()
		} else {
			p.cursor.x--
		}
	}
	l := p.line()
	if m.insert {
		l.insert(p.cursor.x, w, p.cols)
	}
	cells := l.span(p.cursor.x, w)
	cells[0] = cell{r: r}
	if w == 2 {
		cells[1] = cell{r: tail}
	}
	p.advance(w)
}

// advance moves the cursor n columns on, and no further than the last one.
func (p *page) advance(n int) {
	p.cursor.x += n
	p.cursor.full = p.cursor.x == p.cols
	p.cursor.x = min(p.cursor.x, p.cols-1)
}

// wrap goes on with the next line.
func (p *page) wrap() {
	p.line().wrapped = true
	p.lineFeed()
	p.cursor.x = 0
}

// mark adds a character without width to the one before the cursor. At the
// beginning of a line there is none, and it is lost.
func (p *page) mark(r rune) {
	x := p.cursor.x - 1
	if p.cursor.full {
		x++
	}
	if x >= 0 {
		p.line().mark(x, r)
	}
}
