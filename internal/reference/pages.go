package reference

import (
	"fmt"
	"strings"

	"pyro/api"
	"pyro/internal/frame"
)

func errorKinds() string {
	var b strings.Builder
	b.WriteString("# Errors\n\nOn every surface an error has a stable `kind`, a `message` that names the object and the fact, and often a `hint`: what to do next. " +
		"The command line writes `pyro: MESSAGE` and `hint: HINT` to stderr, or with `--json` one document to stdout:\n\n" +
		"```json\n{\"error\": {\"kind\": \"not_found\", \"message\": \"VM vm-0123456789ab does not exist\", \"hint\": \"pyro vm list\"}}\n```\n\n" +
		"Kinds may be added; those that exist keep their meaning.\n")
	for _, k := range api.Kinds {
		fmt.Fprintf(&b, "\n## %s\n\n%s Exit code %d, HTTP status %d.\n", k.Kind, k.Meaning, k.ExitCode, k.HTTPStatus)
		if ops := givenBy(k.Kind); ops != "" {
			fmt.Fprintf(&b, "\nGiven by: %s.\n", ops)
		}
	}
	return b.String()
}

// givenBy lists the operations that name a kind.
func givenBy(kind api.Kind) string {
	var names []string
	for _, op := range api.Operations() {
		for _, k := range op.Errors {
			if k == kind {
				names = append(names, fmt.Sprintf("[%s](operations.md#%s)", op.Name, op.Name))
			}
		}
	}
	return strings.Join(names, ", ")
}

func exitCodes() string {
	var b strings.Builder
	b.WriteString("# Exit codes\n\n| code | meaning |\n|---|---|\n")
	for _, row := range api.ExitCodes {
		fmt.Fprintf(&b, "| %s | %s |\n", row.Code, cell(row.Meaning))
	}
	b.WriteString("\nA command's own code is passed on unchanged, so a command can end with any of these; `--json` tells them apart: pyro's own failures are `{\"error\": ...}`, a command's end is a result. " +
		"The `limit` of a result names the limit that ended the command.\n\n" +
		"When a signal ends pyro itself the code is 128+n: 130 after Ctrl-C. When nobody reads its output any more (`pyro run ... | head`) pyro ends as by SIGPIPE, code 141.\n")
	return b.String()
}

func protocol() string {
	var b strings.Builder
	b.WriteString(`# The protocol of the background process

HTTP/1.1 over the unix socket ` + "`daemon.sock`" + ` in the state folder. Only the user who owns the folder may connect. Every
request and every answer carries the header ` + "`Pyro-Version`" + `. The protocol is that of one build of pyro with itself; programs
should use the command line with ` + "`--json`" + `, MCP or the Python package.

` + "`GET /v1/ping`" + ` answers ` + "`{\"version\", \"pid\", \"build\"}`" + ` at once. A client of another build asks the process to stop and starts its own.

` + "`POST /v1/NAME`" + ` calls the operation NAME with its parameters as a JSON object; a field that the operation does not have is refused.

| mode | answer |
|---|---|
| call | 200 and the result as JSON |
| events | 200 and lines of JSON (` + "`application/x-ndjson`" + `): ` + "`{\"event\": ...}`" + ` any number of times, then ` + "`{\"result\": ...}` or `{\"error\": ...}`" + ` |
| exec | like call, with bounded output; or, when the request asks to upgrade the connection, a stream of frames |

An error is ` + "`{\"error\": {\"kind\", \"message\", \"hint\"}}`" + ` with the HTTP status of its kind; see [errors](errors.md). Hints name
commands; with the header ` + "`Pyro-Surface: python`" + ` they name the methods of the Python package instead, where there are such.

## Streams of commands

A request of mode exec with ` + "`Connection: Upgrade`" + ` and ` + "`Upgrade: " + api.UpgradeProtocol + "`" + ` is answered with status 101, or with an
error as above. From then on both sides send frames: one byte of type, four bytes of payload length (big endian, at most
`)
	fmt.Fprintf(&b, `%d), the payload. A caller without input sends the end of stdin at once. Closing the connection ends the
command. Nothing is dropped: a caller that does not read makes the command wait. The daemon always reads, so that signals
arrive at once; for that, a caller may have at most %d bytes of stdin sent that the command has not taken. More ends
the command with an error of kind usage.

`, frame.MaxPayload, api.StdinWindow)
	b.WriteString("| type | from | payload |\n|---|---|---|\n")
	for _, f := range frames {
		fmt.Fprintf(&b, "| %d %s | %s | %s |\n", f.number, f.name, f.from, f.payload)
	}
	b.WriteString("\n## Routes\n\n| route | mode | request | result |\n|---|---|---|---|\n")
	for _, op := range api.Operations() {
		fmt.Fprintf(&b, "| [`POST /v1/%s`](operations.md#%s) | %s | %s | %s |\n", op.Name, op.Name, op.Mode, op.Request.Name(), op.Result.Name())
	}
	return b.String()
}

var frames = []struct {
	number              int
	name, from, payload string
}{
	{api.FrameStdin, "stdin", "client", "bytes for the command's stdin"},
	{api.FrameStdinEOF, "stdin end", "client", "empty"},
	{api.FrameSignal, "signal", "client", "`{\"signal\": \"INT\"}`: INT, TERM, HUP, QUIT, USR1, USR2, KILL"},
	{api.FrameStdout, "stdout", "daemon", "bytes the command wrote"},
	{api.FrameStderr, "stderr", "daemon", "bytes the command wrote"},
	{api.FrameEvent, "event", "daemon", "ExecEvent as JSON: a phase"},
	{api.FrameResult, "result", "daemon", "ExecResult as JSON: the last frame of a stream that went well"},
	{api.FrameError, "error", "daemon", "kind, message and hint as JSON: the last frame of a stream that failed"},
	{api.FramePull, "pull", "daemon", "Progress as JSON: the environment is being installed first"},
	{api.FrameStdinTaken, "stdin taken", "daemon", "4 bytes, big endian: how many more bytes of stdin the command has taken"},
}
