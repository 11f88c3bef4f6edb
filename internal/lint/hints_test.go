package lint

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pyro/api"
)

// verb finds what fmt puts a value in the place of.
var verb = regexp.MustCompile(`%[sdqv]`)

// TestHintsNameCommands: hints are said in the names of each surface, for which
// the commands in them have to be read; see api.Phrasing. A command of the table
// that cannot be, or one with more arguments than it takes, is misspelt.
func TestHintsNameCommands(t *testing.T) {
	read := 0
	for _, hint := range hints(t) {
		text := verb.ReplaceAllString(hint, "VALUE")
		api.Phrasing{Command: func(m api.Mention) (string, bool) {
			read++
			for _, p := range api.Params(m.Request) {
				given := slices.ContainsFunc(m.Args, func(a api.Argument) bool { return a.Name == p.Name })
				if p.Arg != "" && p.Required && !given && len(m.Args) > 0 && !p.Rest {
					t.Errorf("%q: pyro %s lacks its argument %s", hint, m.CLI, p.Arg)
				}
			}
			return "", true
		}}.Text(text)
		left := api.Phrasing{Command: func(api.Mention) (string, bool) { return "", true }}.Text(text)
		for _, words := range regexp.MustCompile(`pyro ([a-z].*)`).FindAllStringSubmatch(left, -1) {
			if line := strings.Fields(words[1]); operation(line) != nil {
				for _, complaint := range checkCommand(strings.FieldsFunc(words[1], func(r rune) bool { return strings.ContainsRune(" ,;", r) })) {
					t.Errorf("%q: %s", hint, complaint)
				}
			}
		}
	}
	if read < 50 {
		t.Errorf("only %d commands found in hints: the test reads them wrongly", read)
	}
}

// hints are the texts that the source gives to WithHint, but for the command
// line's own, which no other surface shows.
func hints(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, p := range packages(t) {
		if p.path == module+"/internal/cli" {
			continue
		}
		for name, file := range p.files {
			if isTest(name) {
				continue
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) == 0 {
					return true
				}
				if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "WithHint" {
					if text, ok := literal(call.Args[0]); ok {
						found = append(found, text)
					}
				}
				return true
			})
		}
	}
	return found
}

func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}
