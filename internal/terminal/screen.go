package terminal

import "bytes"

// A Screen is a terminal that keeps only text. Bytes go in by Write, in any
// portions; lines come out by Take. It must not be used by several goroutines
// at once.
type Screen struct {
	main, alternate page
	// showing is the page that is written to, one of the two above.
	showing *page

	parser parser
	// partial is the beginning of a UTF-8 sequence at the end of the last write.
	partial []byte

	// last is the character that a repetition (REP) repeats.
	last rune
	// charsets holds for G0 and G1 whether it is DEC's line drawing set, and
	// shifted which of the two is in use.
	charsets [2]bool
	shifted  int
	modes    modes
}

// modes are the switches that change where text goes.
type modes struct {
	wrap   bool // DECAWM: the character after the last column begins the next line
	insert bool // IRM: characters push the remainder of the line to the right
}

// NewScreen returns an empty screen of the size in o, with the cursor at its
// first column and row.
func NewScreen(o Options) *Screen {
	o = o.normal()
	s := &Screen{
		main:      newPage(o.Cols, o.Rows),
		alternate: newPage(o.Cols, o.Rows),
		modes:     modes{wrap: true},
	}
	s.main.keeps = true
	s.showing = &s.main
	return s
}

// Write writes a program's output to the screen. It never fails.
func (s *Screen) Write(output []byte) (int, error) {
	s.write(output)
	return len(output), nil
}

func (s *Screen) write(b []byte) {
	if len(s.partial) > 0 {
		b = append(s.partial, b...)
		s.partial = nil
	}
	for len(b) > 0 {
		var n int
		if s.parser.state == ground {
			n = s.text(b)
		} else {
			n = s.sequence(b)
		}
		b = b[n:]
	}
}

// Pending is the number of bytes at the end of what was written that belong to
// a sequence or character that is not complete yet.
func (s *Screen) Pending() int {
	if s.parser.state == ground {
		return len(s.partial)
	}
	return s.parser.held
}

// Take returns what changed since the last Take: from the first line that did,
// whole, to the last line of the screen. Lines that have not changed since and
// stand above are not given again. Of an alternate screen on which something
// changed, all lines are given.
func (s *Screen) Take() string {
	text := s.main.take()
	if s.showing == &s.alternate && s.alternate.changed() {
		if len(text) > 0 && text[len(text)-1] != '\n' {
			text = append(text, '\n')
		}
		s.alternate.first = 0
		text = append(text, bytes.TrimRight(s.alternate.take(), "\n")...)
	}
	return string(text)
}

// reset puts everything back to how it began (RIS), but for the scroll-back.
func (s *Screen) reset() {
	s.setAlternate(false)
	s.softReset()
	s.main.cursor, s.main.saved = cursor{}, cursor{}
	s.main.eraseScreen(all)
}

// softReset puts the modes back to how they began (DECSTR).
func (s *Screen) softReset() {
	s.modes = modes{wrap: true}
	s.charsets, s.shifted = [2]bool{}, 0
	s.showing.setMargins(1, 0)
}

// setAlternate shows the alternate screen, empty, or the main one again, as it
// was, and with the cursor where it was.
func (s *Screen) setAlternate(on bool) {
	m, a := &s.main, &s.alternate
	switch {
	case !on:
		s.showing = m
	case s.showing == m:
		s.showing = a
		a.cursor = m.cursor
		a.setMargins(1, 0)
		a.eraseScreen(all)
		a.first = len(a.lines)
	}
}
