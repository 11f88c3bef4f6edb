package api

import (
	"fmt"
	"strings"
	"time"
)

// UpgradeProtocol is the value of the HTTP Upgrade header that turns a request
// of ModeExec into a two-way stream of frames (package internal/frame): one
// byte of type, four bytes of length, the payload.
const UpgradeProtocol = "pyro-exec/1"

// StdinWindow is how many bytes of stdin the caller may have sent that the
// command has not taken yet. Because of it the daemon can always read the
// connection, so that a signal never waits behind stdin that nobody reads.
const StdinWindow = 256 << 10

// The frame types of an exec stream. The caller sends stdin, end of stdin and
// signals; the daemon sends phases, output, how much stdin was taken and, last,
// a result or an error.
const (
	FrameStdin    = 1 // bytes for the command's stdin
	FrameStdinEOF = 2 // no more stdin
	FrameSignal   = 3 // JSON SignalEvent: deliver to the command
	FrameStdout   = 4 // bytes the command wrote to stdout
	FrameStderr   = 5 // bytes the command wrote to stderr
	FrameEvent    = 6 // JSON ExecEvent: what happens now
	FrameResult   = 7 // JSON ExecResult: the end of a stream that went well
	FrameError    = 8 // JSON Error: the end of a stream that failed
	FramePull     = 9 // JSON Progress: the environment is being installed first

	// FrameStdinTaken tells the caller how many more bytes of stdin the command
	// has taken: 4 bytes, big endian. Not every piece is told at once, but early
	// enough that a caller never waits while the command waits for its stdin.
	FrameStdinTaken = 10
)

// SignalEvent asks for a signal to the command's process group.
type SignalEvent struct {
	Signal string `json:"signal" doc:"INT, TERM, HUP, QUIT, USR1, USR2 or KILL"`
}

// ExecEvent tells a phase of an exec stream, for the bracketed lines on stderr.
type ExecEvent struct {
	Phase         string        `json:"phase" doc:"create, start or execute"`
	Environment   string        `json:"environment,omitempty" doc:"name of the environment"`
	VMID          string        `json:"vm_id,omitempty" doc:"id of the VM, once there is one"`
	WorkspaceID   string        `json:"workspace_id,omitempty" doc:"id of the workspace, if it runs in one"`
	Sequence      int           `json:"sequence,omitempty" doc:"the command's number in the workspace's log"`
	ExecutionMode ExecutionMode `json:"execution_mode,omitempty" doc:"where the command will run, once it is known"`
	Notice        string        `json:"notice,omitempty" doc:"what to know of the isolation, for example that it is emulated"`
}

// Bound cuts output for an answer: at most limit bytes, the head and the tail
// with a mark between them that tells how much is missing. Invalid UTF-8 is
// replaced, so that the result always stands in JSON as it is.
func Bound(b []byte, total int64, limit int) (text string, truncated bool) {
	if total <= int64(limit) && len(b) <= limit {
		return strings.ToValidUTF8(string(b), "\uFFFD"), false
	}
	head, tail := b[:min(len(b), limit/2)], b[max(0, len(b)-limit/2):]
	mark := fmt.Sprintf("\n[... %d bytes left out ...]\n", total-int64(len(head))-int64(len(tail)))
	return strings.ToValidUTF8(string(head)+mark+string(tail), "\uFFFD"), true
}

// Seconds turns a whole number of seconds of a request into a duration.
func Seconds(n int) time.Duration { return time.Duration(n) * time.Second }
