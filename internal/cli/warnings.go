package cli

import (
	"fmt"

	"pyro/api"
)

// maxListed is how many lines of a kind are written for people at most.
const maxListed = 20

// notice writes what the isolation is like, if that is worth a word.
func (a *app) notice(text string) {
	if text != "" {
		fmt.Fprintf(a.Stderr, "note: %s\n", printable(text))
	}
}

// warn writes warnings to stderr. dropped is how many more there were.
func (a *app) warn(warnings []api.Warning, dropped int) {
	shown := warnings[:min(len(warnings), maxListed)]
	for _, w := range shown {
		fmt.Fprintf(a.Stderr, "warning: %s: %s\n", printable(w.Path), printable(w.Reason))
	}
	if more := len(warnings) - len(shown) + dropped; more > 0 {
		fmt.Fprintf(a.Stderr, "warning: ... and %d more; see --json\n", more)
	}
}
