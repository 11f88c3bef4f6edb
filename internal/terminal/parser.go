package terminal

// state is where in a sequence the parser is. The states are those of DEC's
// parser, less the ones that matter only to who keeps the content of strings.
type state uint8

const (
	ground         state = iota // not in a sequence
	inEscape                    // after ESC: a final byte, or one that opens something
	inCharset                   // after ESC and a byte like "(": a final byte
	inControl                   // after ESC [: parameters and a final byte
	inWrongControl              // the same, and it will be ignored
	inCommand                   // after ESC ]: a string, which BEL ends too
	inString                    // after ESC P, X, ^, _ or k: a string
)

// Bytes that mean something to the parser in every state.
const (
	bel = 0x07
	can = 0x18
	sub = 0x1a
	esc = 0x1b
	del = 0x7f
)

const (
	// maxParams is how many parameters a sequence can have; only colours have
	// more than four.
	maxParams = 16
	// maxParam is more than any size of a screen.
	maxParam = 9999
	// maxString is where a string ends at the latest, in bytes: one that never
	// ends must not swallow all output to come.
	maxString = 1 << 20
)

// parser is what is known of the sequence that is being read.
type parser struct {
	state state
	// held is the number of bytes of the sequence so far.
	held int
	// private is the "?", ">", "=" or "<" that the parameters began with, and
	// between the byte between them and the final one ("(", "!"); 0 if none.
	private, between byte
	params           [maxParams]int
	index            int // the parameter that is being read
}

// begin begins a sequence with ESC. Whatever was being read ends there; of a
// string that is the proper end, ESC "\".
func (p *parser) begin() { *p = parser{state: inEscape, held: 1} }

// open goes from ESC on to what the byte after it opened.
func (p *parser) open(s state) { p.state = s }

// close goes back to text.
func (p *parser) close() { p.state = ground }

// param is the parameter at index i, or missing if it is 0 or not given.
func (p *parser) param(i, missing int) int {
	if p.params[i] == 0 {
		return missing
	}
	return p.params[i]
}

// sequence reads from within a sequence and returns how many bytes it used.
func (s *Screen) sequence(b []byte) int {
	p := &s.parser
	if p.state == inCommand || p.state == inString {
		return s.skipString(b)
	}
	for i, c := range b {
		if c >= 0x80 {
			p.close() // text breaks it off
			return i
		}
		p.held++
		switch {
		case c < ' ':
			s.control(c)
		case c == del:
		case p.state == inEscape, p.state == inCharset:
			s.escape(c)
		default:
			s.controlByte(c)
		}
		if p.state != inControl {
			return i + 1
		}
	}
	return len(b)
}

// skipString reads from within a string and returns how many bytes it used.
func (s *Screen) skipString(b []byte) int {
	p := &s.parser
	for i, c := range b {
		p.held++
		switch {
		case c == esc:
			p.begin()
		case c == can, c == sub, c == bel && p.state == inCommand, p.held > maxString:
			p.close()
		default:
			continue
		}
		return i + 1
	}
	return len(b)
}

// controlByte reads a byte of a control sequence (CSI):
//
//	ESC [  private?  (digits ; ...)  between*  final
func (s *Screen) controlByte(c byte) {
	p := &s.parser
	switch {
	case c >= '@': // the final byte
		valid := p.state == inControl
		p.close()
		if valid {
			s.run(c)
		}
	case c < '0':
		p.between = c
	case c >= '<' && p.held == len("\x1b[?"):
		p.private = c
	case c > ';' || c == ':' || p.between != 0:
		p.state = inWrongControl // ":" parts the components of a colour
	case c == ';':
		p.index++
	case p.index < maxParams:
		p.params[p.index] = min(p.params[p.index]*10+int(c-'0'), maxParam)
	}
}
