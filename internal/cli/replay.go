package cli

import (
	"regexp"
	"slices"
)

// replayBytes is how much of what a shell wrote is shown to a terminal that
// attaches: more than any screen holds.
const replayBytes = 64 << 10

// queries are the sequences that a terminal answers, as if somebody typed. Their
// answers were given when they were new; now a program would take them for input.
// The names are those of xterm's control sequences (ctlseqs).
var queries = regexp.MustCompile("" +
	`\x05` + // ENQ
	`|\x1bZ` + // DECID
	`|\x1b\[[<-?]?[0-9;]*[cn]` + // DA1 to DA3, DSR
	`|\x1b\[\??[0-9;]*\$p` + // DECRQM
	`|\x1b\[[0-9;]*t` + // XTWINOPS
	`|\x1b\[[0-9]*x` + // DECREQTPARM
	`|\x1b\[>[0-9]*q` + // XTVERSION
	`|\x1b\[\?u` + // flags of kitty's keyboard protocol
	`|\x1b\[\?[0-9;]*S` + // XTSMGRAPHICS
	`|\x1b\][0-9][^\x07\x1b]*;\?(?:\x07|\x1b\\)` + // OSC: colours, clipboard
	`|\x1bP[+$]q[^\x1b]*\x1b\\` + // DECRQSS, XTGETTCAP
	`|\x1b_G[^\x1b]*\x1b\\`) // graphics of kitty

// replay makes old output fit for a terminal: without queries, and, if it is
// the end of a longer one, from a line's beginning on, so that it does not
// start with half a sequence.
func replay(output []byte, cut bool) []byte {
	if cut {
		if i := slices.Index(output, '\n'); i >= 0 {
			output = output[i+1:]
		}
	}
	return queries.ReplaceAllLiteral(output, nil)
}
