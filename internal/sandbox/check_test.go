package sandbox

import (
	"strings"
	"testing"

	"pyro/api"
)

func TestCheckCommand(t *testing.T) {
	for name, c := range map[string]struct {
		argv []string
		want api.Kind
	}{
		"short":      {[]string{"git", "--version"}, ""},
		"longest":    {[]string{strings.Repeat("x", maxCommand-1)}, ""},
		"one more":   {[]string{strings.Repeat("x", maxCommand)}, api.KindUsage},
		"many small": {strings.Split(strings.Repeat("x ", maxCommand/2+1), " "), api.KindUsage},
		"NUL":        {[]string{"echo", "a\x00b"}, api.KindUsage},
	} {
		if got := api.KindOf(CheckCommand(c.argv)); got != c.want {
			t.Errorf("%s: kind %q, want %q", name, got, c.want)
		}
	}
}
