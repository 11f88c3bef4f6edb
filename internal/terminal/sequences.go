package terminal

// control does what a control character says, within a sequence or outside.
func (s *Screen) control(c byte) {
	p := s.showing
	switch c {
	case '\b':
		p.toColumn(p.cursor.x - 1)
	case '\t':
		p.tab(1)
	case '\n', '\v', '\f':
		p.lineFeed()
	case '\r':
		p.toColumn(0)
	case 0x0e: // SO
		s.shifted = 1
	case 0x0f: // SI
		s.shifted = 0
	case can, sub:
		s.parser.close()
	case esc:
		s.parser.begin()
	}
}

// escape does what the byte c after ESC says.
func (s *Screen) escape(c byte) {
	if c < '0' {
		s.parser.between = c
		s.parser.open(inCharset)
		return
	}
	if s.parser.state == inCharset {
		s.parser.close()
		s.designate(c)
		return
	}
	s.parser.close()
	p := s.showing
	switch c {
	case '[':
		s.parser.open(inControl)
	case ']':
		s.parser.open(inCommand)
	case 'P', 'X', '^', '_', 'k': // DCS, SOS, PM, APC, and the title of screen(1)
		s.parser.open(inString)
	case '7':
		p.save()
	case '8':
		p.restore()
	case 'D':
		p.lineFeed()
	case 'E':
		p.lineFeed()
		p.toColumn(0)
	case 'M':
		p.reverseLineFeed()
	case 'c':
		s.reset()
	}
}

// designate chooses what G0 or G1 is, by the final byte c of a sequence like
// ESC ( c.
func (s *Screen) designate(c byte) {
	switch s.parser.between {
	case '(':
		s.charsets[0] = c == '0'
	case ')':
		s.charsets[1] = c == '0'
	}
}

// run does what a control sequence with the final byte c says, if it is one that
// matters to text.
func (s *Screen) run(c byte) {
	switch {
	case s.parser.private == '?' && s.parser.between == 0:
		s.runPrivate(c)
	case s.parser.between == '!' && c == 'p':
		s.softReset()
	case s.parser.private == 0 && s.parser.between == 0:
		if !s.move(c) {
			s.edit(c)
		}
	}
}

// move does the control sequences that move the cursor, and says whether c is one.
func (s *Screen) move(c byte) bool {
	p := s.showing
	n := s.parser.param(0, 1)
	switch c {
	case 'A':
		p.up(n)
	case 'B', 'e':
		p.down(n)
	case 'C', 'a':
		p.toColumn(p.cursor.x + n)
	case 'D':
		p.toColumn(p.cursor.x - n)
	case 'E':
		p.down(n)
		p.toColumn(0)
	case 'F':
		p.up(n)
		p.toColumn(0)
	case 'G', '`':
		p.toColumn(n - 1)
	case 'H', 'f':
		p.to(s.parser.param(1, 1)-1, n-1)
	case 'I':
		p.tab(n)
	case 'Z':
		p.tab(-n)
	case 'd':
		p.toLine(n - 1)
	case 'r':
		if p.setMargins(n, s.parser.param(1, 0)) {
			p.to(0, 0)
		}
	case 's':
		p.save()
	case 'u':
		p.restore()
	default:
		return false
	}
	return true
}

// edit does the control sequences that change what is on the screen.
func (s *Screen) edit(c byte) {
	p := s.showing
	n := s.parser.param(0, 1)
	switch c {
	case '@':
		p.insertChars(n)
	case 'J':
		p.eraseScreen(extent(s.parser.param(0, 0)))
	case 'K':
		p.eraseLine(extent(s.parser.param(0, 0)))
	case 'L':
		p.insertLines(n)
	case 'M':
		p.deleteLines(n)
	case 'P':
		p.deleteChars(n)
	case 'S':
		p.scrollUp(p.top, p.bottom, n)
	case 'T':
		if s.parser.index == 0 { // with more parameters it is about the mouse
			p.scrollDown(p.top, p.bottom, n)
		}
	case 'X':
		p.eraseChars(n)
	case 'b':
		s.repeat(n)
	case 'h', 'l':
		if s.parser.param(0, 0) == 4 {
			s.modes.insert = c == 'h'
		}
	}
}

// runPrivate does the control sequences that begin with "?".
func (s *Screen) runPrivate(c byte) {
	switch c {
	case 'J':
		s.showing.eraseScreen(extent(s.parser.param(0, 0)))
	case 'K':
		s.showing.eraseLine(extent(s.parser.param(0, 0)))
	case 'h', 'l':
		for i := range min(s.parser.index+1, maxParams) {
			s.setMode(s.parser.params[i], c == 'h')
		}
	}
}

// setMode switches a mode of DEC or xterm, if it is one that matters to text.
func (s *Screen) setMode(mode int, on bool) {
	switch mode {
	case 7:
		s.modes.wrap = on
	case 47, 1047, 1049:
		s.setAlternate(on)
	case 1048:
		if on {
			s.showing.save()
		} else {
			s.showing.restore()
		}
	}
}
