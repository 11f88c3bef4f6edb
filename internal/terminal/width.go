package terminal

import (
	"unicode"

	"golang.org/x/text/width"
)

// columns is how many columns a character takes: 2 for East Asian characters
// and emoji, 0 for accents, joiners and other marks on the character before,
// -1 for what a terminal does not print. It is what wcwidth(3) of glibc says,
// since programs place their output by that: characters count one by one, also
// where a font draws several as one picture.
func columns(r rune) int {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0, r == '\u2028', r == '\u2029':
		return -1 // control characters, and two that would end a line of text
	case r < 0x300:
		return 1
	case isMark(r):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// isMark says whether a character from U+0300 on has no width of its own.
func isMark(r rune) bool {
	if r >= 0x1160 && r <= 0x11ff || r >= 0xd7b0 && r <= 0xd7ff {
		return true // vowels and finals of Hangul, which stand in the block before
	}
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf)
}
