package lint

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"pyro/api"
)

// extra are the commands that are no row of the table.
var extra = []string{"help", "version", "demo", "completion", "mcp serve", "host print-config", "workspace shell attach"}

// everywhere are the flags that each command takes, and those that only the
// command line has.
var everywhere = []string{"json", "help", "version", "attach", "detach-keys", "follow", "no-newline", "id-only", "content", "from-file", "secret", "secret-file"}

// TestDocumentedCommands: what a document shows behind a prompt, or begins a
// line of a code block with, is a command of this version with its flags.
func TestDocumentedCommands(t *testing.T) {
	shown := 0
	for _, name := range sources(t, ".md") {
		if strings.HasPrefix(name, "docs/reference/") {
			continue // made from the table itself
		}
		for _, line := range codeLines(read(t, name)) {
			if words, ok := commandLine(line); ok {
				shown++
				for _, complaint := range checkCommand(words) {
					t.Errorf("%s: %q: %s", name, line, complaint)
				}
			}
		}
	}
	if shown < 10 {
		t.Errorf("only %d command lines found in the documents: the test reads them wrongly", shown)
	}
}

// codeLines lists the lines of the fenced blocks of a document, but for those of
// another language than the shell's.
func codeLines(doc string) []string {
	var lines []string
	fenced, shell := false, false
	for line := range strings.Lines(doc) {
		line = strings.TrimSpace(line)
		if language, ok := strings.CutPrefix(line, "```"); ok {
			fenced, shell = !fenced, language != "python"
		} else if fenced && shell {
			lines = append(lines, line)
		}
	}
	return lines
}

var prompt = regexp.MustCompile(`^(?:[$#] )?(?:[A-Z_]+=\S+ )*(?:bin/|\./bin/)?pyro( |$)`)

// commandLine returns the words after "pyro", up to what belongs to the guest
// or to the host's shell.
func commandLine(line string) ([]string, bool) {
	at := prompt.FindStringIndex(line)
	if at == nil || strings.HasPrefix(line, "pyro:") {
		return nil, false
	}
	words := strings.Fields(line[at[1]:])
	if end := slices.IndexFunc(words, func(w string) bool {
		return w == "--" || w == "|" || w == ">" || w == "<" || w == "&&" || strings.HasPrefix(w, "#")
	}); end >= 0 {
		words = words[:end]
	}
	return words, true
}

// checkCommand says what is wrong with a command line of pyro.
func checkCommand(words []string) []string {
	if len(words) == 0 || strings.HasPrefix(words[0], "-") || isExtra(words) {
		return nil
	}
	op := operation(words)
	if op == nil {
		if len(words) == 2 && words[1] == "--help" {
			return nil
		}
		return []string{"no such command"}
	}
	var complaints []string
	for _, w := range words {
		flag, isFlag := strings.CutPrefix(w, "--")
		flag, _, _ = strings.Cut(flag, "=")
		known := slices.ContainsFunc(api.Params(op.Request), func(p api.Param) bool { return p.Flag == flag })
		if isFlag && !known && !slices.Contains(everywhere, flag) {
			complaints = append(complaints, "no flag --"+flag)
		}
	}
	return complaints
}

func isExtra(words []string) bool {
	return slices.ContainsFunc(extra, func(command string) bool {
		path := strings.Fields(command)
		return len(words) >= len(path) && slices.Equal(words[:len(path)], path)
	})
}

// operation finds the row whose path the words begin with.
func operation(words []string) *api.Operation {
	for _, op := range api.Operations() {
		path := strings.Fields(op.CLI)
		if len(path) > 0 && len(words) >= len(path) && slices.Equal(words[:len(path)], path) {
			return op
		}
	}
	return nil
}
