package qemu

import (
	"strings"
)

// lastLines is how much of a console an error shows.
const lastLines = 6

// lastWords picks out of a console what tells why the guest ended: from the
// kernel's panic on, if there was one, else the last lines.
func lastWords(console string) string {
	console = strings.Map(func(r rune) rune {
		if r == '\n' || r >= ' ' && r != 0x7f && r != '\uFFFD' {
			return r
		}
		return -1
	}, console)
	var lines []string
	for line := range strings.SplitSeq(console, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, clip(line))
		}
	}
	for i, line := range lines {
		if strings.Contains(line, "Kernel panic") || strings.Contains(line, "pyro-agent:") {
			return strings.Join(lines[i:min(len(lines), i+lastLines)], "; ")
		}
	}
	return strings.Join(lines[max(0, len(lines)-lastLines):], "; ")
}

const maxLine = 200

func clip(line string) string {
	if len(line) > maxLine {
		return strings.ToValidUTF8(line[:maxLine], "") + "..."
	}
	return line
}
