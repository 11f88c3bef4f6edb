package main

import (
	"fmt"
	"strings"

	"pyro/api"
	"pyro/internal/frame"
)

// protocol writes the numbers on which both ends must agree.
func protocol() string {
	var b strings.Builder
	b.WriteString("\"\"\"The numbers of the protocol of the background process; see docs/reference/http.md.\"\"\"\n\n")
	fmt.Fprintf(&b, "#: The value of the header Upgrade that makes a call a stream of frames.\nUPGRADE = %s\n\n", quoted(api.UpgradeProtocol))
	fmt.Fprintf(&b, "#: The largest payload of a frame, in bytes.\nMAX_PAYLOAD = %d\n\n", frame.MaxPayload)
	fmt.Fprintf(&b, "#: How many bytes of stdin may be sent that the command has not taken yet.\nSTDIN_WINDOW = %d\n\n", api.StdinWindow)
	fmt.Fprintf(&b, "#: How many bytes of each of stdout and stderr a result holds.\nMAX_OUTPUT = %d\n\n", api.MaxOutput)
	b.WriteString("# The types of frames.\n")
	for _, f := range []struct {
		name   string
		number int
	}{
		{"STDIN", api.FrameStdin},
		{"STDIN_EOF", api.FrameStdinEOF},
		{"STDOUT", api.FrameStdout},
		{"STDERR", api.FrameStderr},
		{"RESULT", api.FrameResult},
		{"ERROR", api.FrameError},
		{"STDIN_TAKEN", api.FrameStdinTaken},
	} {
		fmt.Fprintf(&b, "FRAME_%s = %d\n", f.name, f.number)
	}
	return b.String()
}

// version writes the version; a wheel has another text of the same form, made
// when it is built (sdk/python/wheels.py).
func version() string {
	return fmt.Sprintf("\"\"\"The version of pyro that this package is part of.\"\"\"\n\nVERSION = %s\n", quoted(api.Version))
}
