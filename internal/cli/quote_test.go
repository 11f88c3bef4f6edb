package cli

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

func TestShellQuote(t *testing.T) {
	for want, words := range map[string][]string{
		"make -j2 CC=gcc ./a,b":          {"make", "-j2", "CC=gcc", "./a,b"},
		"sh -c 'echo \"$HOME\"; exit 3'": {"sh", "-c", `echo "$HOME"; exit 3`},
		`'' 'it'\''s' '~' 'café'`:        {"", "it's", "~", "café"},
		`$'a\n\tb\\\'\033[1m\377é'`:      {"a\n\tb\\'\x1b[1m\xffé"},
	} {
		if got := shellQuote(words...); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestShellReadsBack gives a shell the words that are hard to quote.
func TestShellReadsBack(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skipf("needs bash: %v", err)
	}
	words := []string{"", " ", "-n", "*", "~", "a\\", "'", "\"`$(id)", "#", "!", "\xff\xfe7", "\x017", "a\r\nb\tc\\n", "\u2028", "日本", "\u0085'"}
	out, err := exec.CommandContext(t.Context(), bash, "-c", `printf '%s\0' `+shellQuote(words...)).Output()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(words, strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")); diff != "" {
		t.Error(diff)
	}
}

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{"a b/ü": "a b/ü", "a\x1b[2J": `"a\x1b[2J"`, "\xff": `"\xff"`, "a\nb": `"a\nb"`} {
		if got := printable(s); got != want {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
	}
}

// TestErrorsAreHarmless: a name that a sandbox gave to a file moves no cursor.
func TestErrorsAreHarmless(t *testing.T) {
	var stderr strings.Builder
	a := &app{Program: Program{Stderr: &stderr}}
	a.say(api.Errorf(api.KindUnsupported, "/workspace/ü\x1b]0;x\x07\u202e is\na device").WithHint("delete 'a\x1b[2J'"))
	want := "pyro: /workspace/ü\\x1b]0;x\\a\\u202e is\na device\nhint: delete 'a\\x1b[2J'\n"
	if diff := cmp.Diff(want, stderr.String()); diff != "" {
		t.Error(diff)
	}
}
