package terminal

// boxes is the part of DEC's line drawing set that differs from ASCII, from "`"
// to "~". Programs draw with it where the locale is not UTF-8.
var boxes = []rune("◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·")

// lineDrawing is the character that r stands for in DEC's line drawing set.
func lineDrawing(r rune) rune {
	if r >= '`' && r <= '~' {
		return boxes[r-'`']
	}
	return r
}
