package api

import (
	"regexp"
	"slices"
	"strings"
)

// Mention is a command of the table in a text that is for people, as hints of
// errors have them: "see what there is: pyro workspace list".
type Mention struct {
	*Operation
	// Args are what the text gives it. Empty if nothing follows the command, or
	// nothing that is clearly meant for it.
	Args []Argument
}

// Argument is what a Mention gives a parameter.
type Argument struct {
	Param
	// Words are the value: one, but for a Rest parameter; "true" for a flag that
	// takes none.
	Words []string
}

var (
	// mentioned finds where a mention can begin.
	mentioned = regexp.MustCompile("(?:^|[ (`\"])pyro ")
	// mentionedWord is a word of a mention, which may have quotes around it.
	mentionedWord = regexp.MustCompile(`^ ('[^']*'|[^ ]+)`)
	// ends are what ends a mention: the end of a phrase, or of the text.
	ends = regexp.MustCompile("^(?:[,;:.)`\"]+(?: |$)|$)")
)

// findMention finds the first mention in text and where it stands; begin is -1 if
// there is none. It reports false for what no surface but the command line has.
func findMention(text string) (m Mention, begin, end int, ok bool) {
	at := mentioned.FindStringIndex(text)
	if at == nil {
		return m, -1, -1, false
	}
	begin = at[1] - len("pyro ")
	m, length, ok := readMention(text[begin:])
	return m, begin, begin + length, ok
}

// readMention reads the mention that text begins with, and how long it is.
func readMention(text string) (m Mention, length int, ok bool) {
	op, length := commandAt(text)
	if op == nil {
		_, n := restOf(text[len("pyro"):])
		return m, len("pyro") + n, false
	}
	args, n, ok := readArguments(op, text[length:])
	switch {
	case !ok:
		_, n = restOf(text[length:])
		return m, length + n, false
	case ends.MatchString(text[length+n:]):
		return Mention{op, args}, length + n, true
	}
	return Mention{Operation: op}, length, true // what follows are words of the sentence
}

// commandAt finds the row whose path text begins with, the longest if there are
// several, and how long that is.
func commandAt(text string) (op *Operation, length int) {
	for _, row := range Operations() {
		path := "pyro " + row.CLI
		rest, ok := strings.CutPrefix(text, path)
		if ok && row.CLI != "" && len(path) > length && (ends.MatchString(rest) || rest[0] == ' ') {
			op, length = row, len(path)
		}
	}
	return op, length
}

// readArguments reads what text gives the operation, and how much of text that
// is. It reports false for a flag that the table does not have.
func readArguments(op *Operation, text string) (args []Argument, length int, ok bool) {
	places := slices.DeleteFunc(Params(op.Request), func(p Param) bool { return p.Arg == "" || p.Rest })
	for last := false; !last; {
		var word string
		var n int
		if word, n, last = nextWord(text[length:]); n == 0 {
			break
		}
		flag, isFlag := strings.CutPrefix(word, "--")
		switch {
		case word == "--":
			words, more := restOf(text[length+n:])
			rest := slices.IndexFunc(Params(op.Request), func(p Param) bool { return p.Rest })
			if rest < 0 {
				return nil, 0, false
			}
			return append(args, Argument{Params(op.Request)[rest], words}), length + n + more, true
		case isFlag:
			name, value, given := strings.Cut(flag, "=")
			i := slices.IndexFunc(Params(op.Request), func(p Param) bool { return p.Flag == name })
			if i < 0 {
				return nil, 0, false
			}
			p := Params(op.Request)[i]
			switch {
			case p.TypeName() == "boolean":
				value = "true"
			case !given:
				var more int
				if value, more, last = nextWord(text[length+n:]); more == 0 {
					return nil, 0, false
				}
				n += more
			}
			args = append(args, Argument{p, []string{value}})
		case len(places) > 0:
			args = append(args, Argument{places[0], []string{word}})
			places = places[1:]
		default:
			return args, length, true
		}
		length += n
	}
	return args, length, true
}

// restOf reads the words up to the end of the phrase.
func restOf(text string) (words []string, length int) {
	for last := false; !last; {
		word, n, end := nextWord(text[length:])
		if n == 0 {
			break
		}
		words, length, last = append(words, word), length+n, end
	}
	return words, length
}

// nextWord reads a word behind its space, without quotes and without what ends
// the phrase behind it; last says that it does end.
func nextWord(text string) (word string, length int, last bool) {
	found := mentionedWord.FindStringSubmatch(text)
	if found == nil {
		return "", 0, false
	}
	word = found[1]
	if len(word) > 1 && strings.HasPrefix(word, "'") && strings.HasSuffix(word, "'") {
		length = len(found[0])
		return word[1 : len(word)-1], length, length == len(text) || text[length] != ' '
	}
	if trimmed := strings.TrimRight(word, ",;:.)`\""); trimmed != "" && trimmed != word {
		return trimmed, 1 + len(trimmed), true
	}
	return word, len(found[0]), len(found[0]) == len(text)
}
