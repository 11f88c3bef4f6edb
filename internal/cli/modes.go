package cli

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// privateModes are the modes of a terminal that programs switch and that get in
// the way of the next one, with the state in which they usually are. The numbers
// are those of DECSET, as xterm has them.
var privateModes = map[int]bool{
	1: false, 7: true, 25: true, 66: false, // cursor keys, wrapping, cursor shown, keypad
	9: false, 1000: false, 1001: false, 1002: false, 1003: false, 1005: false, 1006: false, 1015: false, 1016: false, // mouse
	1004: false, 2004: false, 2026: false, // focus, paste, held back drawing
	47: false, 1047: false, 1049: false, // the other screen
}

// modes watches what a terminal is told, to know which modes it was left in.
// It is safe for concurrent use.
type modes struct {
	mu       sync.Mutex // guards the rest
	sequence []byte     // what there is of "ESC [ ? 1 ; 2 h", nil outside of one
	changed  map[int]bool
	keys     bool // modifyOtherKeys
}

// maxSequence bounds a sequence that is looked at, in bytes.
const maxSequence = 64

// Write never fails.
func (m *modes) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range p {
		switch n := len(m.sequence); {
		case b == 0x1b:
			m.sequence = append(m.sequence[:0], b)
		case n == 0:
		case n == 1 && b == '[', n == 2 && (b == '?' || b == '>'), n > 2 && n < maxSequence && (b >= '0' && b <= '9' || b == ';'):
			m.sequence = append(m.sequence, b)
		default:
			if n > 2 {
				m.end(string(m.sequence[2:3]), string(m.sequence[3:]), b)
			}
			m.sequence = m.sequence[:0]
		}
	}
	return len(p), nil
}

// end handles a whole sequence.
func (m *modes) end(prefix, params string, final byte) {
	switch {
	case prefix == ">" && final == 'm':
		m.keys = strings.HasPrefix(params, "4;") && params != "4;0"
	case prefix == "?" && (final == 'h' || final == 'l'):
		for param := range strings.SplitSeq(params, ";") {
			mode, err := strconv.Atoi(param)
			if _, known := privateModes[mode]; err != nil || !known {
				continue
			}
			if m.changed == nil {
				m.changed = map[int]bool{}
			}
			m.changed[mode] = final == 'h'
		}
	}
}

// undo returns what brings the terminal back to its usual modes: nothing if it
// is in them.
func (m *modes) undo() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	for _, mode := range slices.Sorted(maps.Keys(m.changed)) {
		switch usual := privateModes[mode]; {
		case m.changed[mode] == usual:
		case usual:
			b.WriteString("\x1b[?" + strconv.Itoa(mode) + "h")
		default:
			b.WriteString("\x1b[?" + strconv.Itoa(mode) + "l")
		}
	}
	if m.keys {
		b.WriteString("\x1b[>4m")
	}
	if b.Len() > 0 {
		b.WriteString("\x1b[m") // colours of the program that set them
	}
	return b.String()
}
