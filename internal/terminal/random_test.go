package terminal_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/internal/terminal"
)

// TestTmuxAgreesAtRandom shows random output to tmux as well.
func TestTmuxAgreesAtRandom(t *testing.T) {
	m := startTmux(t)
	for seed := range 40 {
		r := recording{
			name:    filepath.Join(t.TempDir(), fmt.Sprint(seed)),
			raw:     randomOutput(rand.New(rand.NewPCG(uint64(seed), 0))),
			Options: terminal.Options{Cols: 200, Rows: 6},
		}
		if err := os.WriteFile(r.name+".raw", r.raw, 0o600); err != nil {
			t.Fatal(err)
		}
		want := m.shows(r)
		got, _ := terminal.Plain(r.raw, r.Options)
		if diff := cmp.Diff(lines(want), lines(got)); diff != "" {
			t.Errorf("seed %d: %q\n(-tmux +pyro):\n%s", seed, r.raw, diff)
		}
	}
}

// randomOutput is text and sequences in which tmux and xterm are of one mind:
// they are not about lines that wrap, and halves of wide characters.
func randomOutput(r *rand.Rand) []byte {
	var b strings.Builder
	b.WriteString(".") // so that the first line has changed
	for range 60 {
		switch n := r.IntN(7); r.IntN(11) {
		case 0, 1, 2:
			b.WriteString("abcdefghijklmnopqrstuvwxyz"[r.IntN(20):][:n])
		case 3, 4:
			b.WriteString("\r\n")
		case 5:
			fmt.Fprintf(&b, "\r\x1b[%dC\x1b[%dD", n, r.IntN(3))
		case 6:
			fmt.Fprintf(&b, "\x1b[%d;%dH", n, r.IntN(14))
		case 7:
			b.WriteString([]string{"\x1bM", "\n", "\r", "\x1b[1;4r\x1b[3Hs\r\nt\r\nu\x1b[r", "\x1b7\x1b[2;2Hq\x1b8", "\x1b[?1049hq\x1b[3H\x1b[2Mr\x1b[?1049l"}[r.IntN(6)])
		case 8:
			fmt.Fprintf(&b, "\r\x1b[%d%c", n, "ABEFLM"[r.IntN(6)])
		case 9:
			fmt.Fprintf(&b, "\x1b[%d%c", n, "@PX"[r.IntN(3)])
		case 10:
			fmt.Fprintf(&b, "\x1b[%d%c", r.IntN(3), "JK"[r.IntN(2)])
		}
	}
	return []byte(b.String())
}
