package terminal

import (
	"bytes"
	"regexp"
	"unicode/utf8"
)

// cutControl is the remainder of a control sequence that no text looks like: the
// "[" or "?" is there, or it is a colour ("31m"), or has several parameters
// ("12;1H").
var cutControl = regexp.MustCompile(`^(?:\[[?>=<]?[0-9][0-9;:]*[A-Za-z@` + "`" + `]|\[?[?>][0-9;]+[a-z]|[0-9]{1,3}m|[0-9]*[;:][0-9;:]*[mHfr])`)

// cutCommand is the beginning of the remainder of a command (OSC), whose end may
// be a BEL; the same at the end of mere text would be a bell.
var cutCommand = regexp.MustCompile(`^\]?[0-9]{1,4};`)

// leftover is the number of bytes at the beginning of b that look like the
// remainder of a character or sequence that began before b. What could be text
// is taken for text: garbage is less bad than a loss.
func leftover(b []byte) int {
	n := 0
	for n < min(len(b), utf8.UTFMax-1) && !utf8.RuneStart(b[n]) {
		n++
	}
	if end := leftoverString(b[n:]); end > 0 {
		return n + end
	}
	return n + leftoverControl(b[n:])
}

// leftoverString is the number of bytes up to the end of a string, or 0.
func leftoverString(b []byte) int {
	end := bytes.IndexFunc(b[:min(len(b), maxHeld)], func(r rune) bool { return r < ' ' })
	switch {
	case end < 0:
		return 0
	case bytes.HasPrefix(b[end:], []byte("\x1b\\")):
		return end + 2
	case b[end] == bel && cutCommand.Match(b[:end]):
		return end + 1
	}
	return 0
}

// leftoverControl is the number of bytes up to the end of a control sequence, or 0.
func leftoverControl(b []byte) int {
	return len(cutControl.Find(b[:min(len(b), 64)]))
}
