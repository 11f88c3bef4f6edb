package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDetachBytes(t *testing.T) {
	for keys, want := range map[string]string{
		"ctrl-p,ctrl-q": "\x10\x11", "CTRL-A,d": "\x01d", "ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_": "\x00\x1b\x1c\x1d\x1e\x1f", "": "", "~,.": "~.", "A": "A",
	} {
		if got, err := detachBytes(keys); err != nil || got != want {
			t.Errorf("%q: got %q, %v", keys, got, err)
		}
	}
	for _, keys := range []string{",", "ctrl-", "ctrl-1", "ctrl-ab", "ab", "ctrl-a,", " ", "\u00e9"} {
		if got, err := detachBytes(keys); err == nil {
			t.Errorf("%q: got %q", keys, got)
		}
	}
}

func TestDetacher(t *testing.T) {
	for _, tt := range []struct {
		keys, input, typed string
		detached           bool
	}{
		{"pq", "abc", "abc", false},
		{"pq", "apq", "a", true},
		{"pq", "apqlost", "a", true},
		{"pq", "apapq", "apa", true},
		{"pq", "appq", "ap", true},
		{"pq", "ap", "a", false}, // p waits
		{"ppq", "pppq", "p", true},
		{"ppq", "ppapq", "ppapq", false},
		{"q", "aq", "a", true},
		{"", "pq", "pq", false},
	} {
		for _, at := range []int{len(tt.input), 1} { // all at once, key by key
			d := detacher{keys: tt.keys}
			var typed string
			detached := false
			for rest := tt.input; rest != "" && !detached; rest = rest[min(at, len(rest)):] {
				var more []byte
				more, detached = d.feed([]byte(rest[:min(at, len(rest))]))
				typed += string(more)
			}
			if typed != tt.typed || detached != tt.detached {
				t.Errorf("%q in %q, %d at a time: got %q, %v", tt.keys, tt.input, at, typed, detached)
			}
		}
	}
}

func TestReplay(t *testing.T) {
	for _, query := range []string{
		"\x05", "\x1bZ", "\x1b[c", "\x1b[0c", "\x1b[>c", "\x1b[=0c", "\x1b[5n", "\x1b[6n", "\x1b[?6n", "\x1b[?2026$p", "\x1b[4$p", "\x1b[18t", "\x1b[x", "\x1b[>0q", "\x1b[?u",
		"\x1b]11;?\x07", "\x1b]4;1;?\x1b\\", "\x1b]52;c;?\x07", "\x1bP$qm\x1b\\", "\x1bP+q544e\x1b\\", "\x1b_Gi=1,a=q;AAAA\x1b\\",
	} {
		if got := string(replay([]byte("a"+query+"b"), false)); got != "ab" {
			t.Errorf("%q: got %q", query, got)
		}
	}
	for _, kept := range []string{"\x1b[31mred\x1b[m", "\x1b[?1049h", "\x1b]0;title?\x07", "\x1b]0;title\x1b\\", "\x1b[2J\x1b[H", "caf\xe9", "\x1b[?25h", "\x1b[10C"} {
		if got := string(replay([]byte(kept), false)); kept != got {
			t.Errorf("%q: got %q", kept, got)
		}
	}
	if got := string(replay([]byte(";31mhalf\nwhole\n"), true)); got != "whole\n" {
		t.Errorf("cut: got %q", got)
	}
	if got := string(replay([]byte("no line"), true)); got != "no line" {
		t.Errorf("one line: got %q", got)
	}
}

func TestModes(t *testing.T) {
	for written, want := range map[string]string{
		"plain text\x1b[31m":                            "",
		"\x1b[?1049h\x1b[?25l":                          "\x1b[?25h\x1b[?1049l\x1b[m",
		"\x1b[?1049h\x1b[?1049l":                        "",
		"\x1b[?1000;1006;2004h":                         "\x1b[?1000l\x1b[?1006l\x1b[?2004l\x1b[m",
		"\x1b[?7l":                                      "\x1b[?7h\x1b[m",
		"\x1b[?12345h\x1b[?;h\x1b[4h\x1b[?1$p":          "",
		"\x1b[>4;2m":                                    "\x1b[>4m\x1b[m",
		"\x1b[>4;2m\x1b[>4;0m":                          "",
		"\x1b[\x1b[?1h":                                 "\x1b[?1l\x1b[m",
		"\x1b[?" + strings.Repeat("1;", 1000) + "2004h": "",
	} {
		for _, at := range []int{len(written), 1} {
			var m modes
			for rest := written; rest != ""; rest = rest[min(at, len(rest)):] {
				m.Write([]byte(rest[:min(at, len(rest))]))
			}
			if got := m.undo(); got != want {
				t.Errorf("%q, %d at a time: got %q, want %q", written, at, got, want)
			}
		}
	}
}

func TestWholeRunes(t *testing.T) {
	got := map[string]int{}
	want := map[string]int{"": 0, "a": 1, "\xc3": 0, "a\xc3": 1, "a\u00e9": 3, "\xf0\x9f\x98": 0, "\xf0\x9f\x98\x80": 4, "\xff": 1, "\x80\x80\x80\x80\x80": 5, "\xe9a": 2}
	for text := range want {
		got[text] = wholeRunes([]byte(text))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
