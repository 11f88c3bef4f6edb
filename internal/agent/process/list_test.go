package process

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseStat(t *testing.T) {
	tail := " S 1 7 8 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 55 1000 3 0 0\n"
	for _, name := range []string{"sh", "a b", "a) b", "((", ") Z 1 1"} {
		p, err := parseStat(9, []byte("9 ("+name+")"+tail))
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		want := Info{PID: 9, Name: name, Parent: 1, Group: 7, Session: 8, Started: 55, RSS: 3 * int64(os.Getpagesize())}
		if diff := cmp.Diff(want, p); diff != "" {
			t.Errorf("%q (-want +got):\n%s", name, diff)
		}
	}
	for _, bad := range []string{"", "9", "9 (sh", "9 (sh) S 1", "9 )sh( S", "9 (sh) S x" + tail[4:]} {
		if _, err := parseStat(9, []byte(bad)); err == nil {
			t.Errorf("parseStat(%q) gave no error", bad)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("9 (sh) S 1 7 8 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 55 1000 3 0 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = parseStat(1, b) // must not panic
	})
}
