package terminal_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/internal/terminal"
)

var update = flag.Bool("update", false, "write the expected text of the recordings")

// A recording is what programs wrote to a terminal; testdata/record.py made it.
type recording struct {
	name string // without an extension
	raw  []byte
	terminal.Options
}

func recordings(tb testing.TB) []recording {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.raw")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no recordings: %v", err)
	}
	var all []recording
	for _, file := range files {
		r := recording{name: strings.TrimSuffix(file, ".raw")}
		size := strings.TrimPrefix(filepath.Ext(r.name), ".")
		if _, err := fmt.Sscanf(size, "%dx%d", &r.Cols, &r.Rows); err != nil {
			tb.Fatalf("%s: no size in its name", file)
		}
		if r.raw, err = os.ReadFile(file); err != nil {
			tb.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// TestRecordings compares with the expected text, which people have read.
func TestRecordings(t *testing.T) {
	for _, r := range recordings(t) {
		got, rest := terminal.Plain(r.raw, r.Options)
		got += "\n" // as text files end
		if rest != 0 {
			t.Errorf("%s: %d bytes left", r.name, rest)
		}
		if *update {
			if err := os.WriteFile(r.name+".txt", []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(r.name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", r.name, diff)
		}
	}
}

// TestPortions: it does not matter in what portions a screen gets its bytes.
func TestPortions(t *testing.T) {
	for _, r := range recordings(t) {
		want, _ := terminal.Plain(r.raw, r.Options)
		for _, size := range []int{1, 2, 3, 7, 100} {
			s := terminal.NewScreen(r.Options)
			for b := r.raw; len(b) > 0; {
				n := min(size, len(b))
				s.Write(b[:n])
				b = b[n:]
			}
			if diff := cmp.Diff(want, s.Take()); diff != "" {
				t.Errorf("%s in portions of %d (-want +got):\n%s", r.name, size, diff)
			}
		}
	}
}

// TestRanges: wherever a recording is cut, a read goes on from what the one
// before left over, and the two together lack nothing that is in the whole.
func TestRanges(t *testing.T) {
	for _, r := range recordings(t) {
		whole, _ := terminal.Plain(r.raw, r.Options)
		for cut := range r.raw {
			one, rest := terminal.Plain(r.raw[:cut], r.Options)
			o := r.Options
			o.Before = r.raw[:cut-rest]
			two, _ := terminal.Plain(r.raw[cut-rest:], o)
			if !strings.HasSuffix(whole, two) {
				t.Fatalf("%s: the range from %d is %q, which is not the end of %q", r.name, cut-rest, two, whole)
			}
			if missing := strings.TrimSuffix(whole, two); !strings.HasPrefix(one, strings.TrimRight(missing, "\n")) {
				t.Fatalf("%s: cut at %d, %q is neither in %q nor in %q", r.name, cut, missing, one, two)
			}
		}
	}
}

// ascii undoes line drawing, of which tmux captures the letters.
var ascii = strings.NewReplacer("┌", "l", "─", "q", "┐", "k", "│", "x", "└", "m", "┘", "j")

// TestTmuxAgrees shows the recordings to tmux, a terminal of others, and
// compares.
func TestTmuxAgrees(t *testing.T) {
	m := startTmux(t)
	for _, r := range recordings(t) {
		want := m.shows(r)
		got, _ := terminal.Plain(r.raw, r.Options)
		if diff := cmp.Diff(lines(want), lines(ascii.Replace(got))); diff != "" {
			t.Errorf("%s (-tmux +pyro):\n%s", r.name, diff)
		}
	}
}

// lines are the lines of a text, without blanks at their ends and empty ones at
// the end of the text.
func lines(text string) []string {
	all := strings.Split(strings.TrimRight(text, " \n"), "\n")
	for i, l := range all {
		all[i] = strings.TrimRight(l, " ")
	}
	return all
}
