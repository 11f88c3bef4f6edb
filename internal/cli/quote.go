package cli

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// plain are the words that a shell takes as they are.
var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// shellQuote writes words so that a shell reads them back, and so that whatever
// they hold they stay on one line and tell a terminal nothing.
func shellQuote(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		switch {
		case plain.MatchString(word):
			quoted[i] = word
		case isPrintable(word):
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		default:
			quoted[i] = ansiQuote(word)
		}
	}
	return strings.Join(quoted, " ")
}

// ansiQuote writes a word as $'...', which bash and POSIX shells since 2024 read.
func ansiQuote(word string) string {
	var b strings.Builder
	b.WriteString("$'")
	for len(word) > 0 {
		r, n := utf8.DecodeRuneInString(word)
		switch bad := r == utf8.RuneError && n == 1; {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\\' || r == '\'':
			b.WriteString(`\` + string(r))
		case !bad && unicode.IsPrint(r):
			b.WriteRune(r)
		default: // octal has an end of its own, hexadecimal has none
			for _, c := range []byte(word[:n]) {
				fmt.Fprintf(&b, `\%03o`, c)
			}
		}
		word = word[n:]
	}
	return b.String() + "'"
}

// printable returns s as it is if a terminal just shows it, and otherwise quoted.
func printable(s string) string {
	if isPrintable(s) {
		return s
	}
	return strconv.Quote(s)
}

func isPrintable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// harmless returns text, which may have names in it that a sandbox gave, with an
// escape in the place of each character that a terminal would not just show.
func harmless(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}
