// Package terminal turns what a program wrote to its terminal into plain text.
//
// A program writes to a terminal more than text: control characters (carriage
// return, backspace, tab) and escape sequences that move the cursor, erase,
// insert, colour, set titles. The meaning of such bytes depends on what is on
// the screen already, so nothing less than a small terminal gives the text that
// a person would have seen: a [Screen] of rows and columns that bytes are
// written to and text is taken from. [Plain] does both for one range of bytes.
//
//	text, rest := terminal.Plain(raw, terminal.Options{Cols: 120, Rows: 30})
//
// # What the text is
//
//   - The lines that scrolled off the top of the screen (the scroll-back), then
//     the lines on it, each ended by "\n" if the cursor went on to the next one.
//     Blanks at the end of a line are cut off; tabs are spaces.
//   - A line that is longer than the screen is wide is one line again: only a
//     program's own line feeds end lines.
//   - Cursor movements edit the lines on the screen, so a progress bar is one
//     line with its latest state. Lines that scrolled off can change no more.
//   - A program that takes the whole screen (vim, less, top) draws on a second
//     one, the alternate screen. That leaves nothing in the text, except while
//     the program is still there: then its screen follows the other lines.
//   - Erasing the scroll-back (clear does) erases it here as well.
//   - Colours, titles, links, marks, modes, images and bells are dropped. A byte
//     that is not UTF-8 becomes U+FFFD. The text is valid UTF-8 and "\n" is the
//     only control character in it.
//
// The terminal is an xterm as far as text is concerned: DEC's ANSI parser (the
// state machine of vt100.net/emu/dec_ansi_parser) and the sequences of xterm's
// ctlseqs that move text or the cursor. Custom tab stops, left and right
// margins, origin mode and double-width lines are not known; C1 control
// characters, which UTF-8 programs do not use, are dropped.
//
// # Untrusted bytes
//
// Whoever runs in the guest chooses the bytes. Memory is bounded by the size of
// the screen and of the input: counts and coordinates are clamped to the screen,
// a repetition ends with its line, the content of sequences is not kept. One byte
// of input adds at most 4 × the larger of columns and rows bytes to the text.
//
// # Why it is not a library
//
// charmbracelet/x/vt v0.1.0 panics on hostile margins ("ESC [ 1 ; 99 r ESC [ H
// ESC M"), writes 1.5 MB/s where this package writes more than 50, and brings
// eleven modules. vt10x rests since 2022, knows no wide characters and no
// scroll-back. Only the widths of characters come from one, golang.org/x/text.
package terminal

import (
	"bytes"
	"unicode"
)

// The smallest and the largest screen. A size beyond is taken for the nearest.
const (
	MinCols = 2
	MinRows = 1
	MaxCols = 1000
	MaxRows = 1000
)

// The size that zero stands for.
const (
	DefaultCols = 120
	DefaultRows = 30
)

// maxHeld is the longest incomplete sequence that [Plain] gives back, in bytes.
// Longer ones are images and the like: they are dropped as far as they are there.
const maxHeld = 4096

// Options says what terminal the bytes were written to.
type Options struct {
	// Cols and Rows are the size that the program saw. Lines wrap, and programs
	// place their output, by it. Zero is 120 and 30.
	Cols, Rows int

	// Before is what was written directly before the range, as much as is at
	// hand. It decides where the cursor stands and whether a sequence is open,
	// and is not part of the text, but for the beginning of a line that the
	// range changes: such a line is given whole.
	Before []byte

	// Cut says that the range does not begin where the output began, though
	// nothing is known of what came before. What then looks like the remainder
	// of a sequence is left out.
	Cut bool
}

// normal is o with a size that a Screen can have.
func (o Options) normal() Options {
	if o.Cols == 0 {
		o.Cols = DefaultCols
	}
	if o.Rows == 0 {
		o.Rows = DefaultRows
	}
	o.Cols = min(max(o.Cols, MinCols), MaxCols)
	o.Rows = min(max(o.Rows, MinRows), MaxRows)
	return o
}

// Plain returns the text of raw, a range of what a program wrote, and the number
// of bytes at its end that belong to an incomplete sequence or character. Those
// had no effect: the next range begins with them.
//
// If rest is all of raw, the range is too short for one sequence: read a longer
// one, 4097 bytes get ahead always, or wait for more output.
func Plain(raw []byte, o Options) (text string, rest int) {
	screen := NewScreen(o)
	if len(o.Before) > 0 {
		screen.write(o.Before)
		screen.Take()
	} else if o.Cut {
		raw = raw[leftover(raw):]
		o.Cut = false // from here on it begins where it seems to
	}
	screen.write(raw)
	if rest = min(screen.Pending(), len(raw)); rest > maxHeld {
		rest = 0
	}
	if rest > 0 && bytes.ContainsFunc(raw[len(raw)-rest+1:], unicode.IsControl) {
		// Control characters within a sequence take effect at once.
		text, _ = Plain(raw[:len(raw)-rest], o)
		return text, rest
	}
	return screen.Take(), rest
}
