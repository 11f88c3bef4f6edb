package wire

// The methods of shells: terminal sessions that the agent owns, so that they
// outlive any stream. A shell is named by the caller, see [ValidName].
const (
	ShellOpen   Method = "shell_open"   // ShellOpenParams -> ShellInfo
	ShellList   Method = "shell_list"   // nothing -> ShellListResult
	ShellRead   Method = "shell_read"   // ShellReadParams -> ShellReadResult
	ShellWrite  Method = "shell_write"  // ShellWriteParams -> ShellWriteResult
	ShellResize Method = "shell_resize" // ShellResizeParams -> ShellInfo
	ShellSignal Method = "shell_signal" // ShellSignalParams -> ShellInfo
	ShellClose  Method = "shell_close"  // ShellParams -> ShellInfo
)

// MaxData is the most data, in bytes, that one call or reply carries: as base64
// in JSON it stays well within a frame, and a few copies of it well within the
// memory that an agent should use.
const MaxData = 256 << 10

// MaxWaitMS is the longest that a call waits for output. Longer waits are cut
// to it; the caller asks again.
const MaxWaitMS = 60_000

// ShellParams names a shell.
type ShellParams struct {
	ID string `json:"id"`
}

// ShellOpenParams describe a new shell. Only ID is required.
type ShellOpenParams struct {
	ID string `json:"id"`
	// Argv is the command, looked up in the PATH of Env. The default is
	// /bin/bash or, where there is none, /bin/sh.
	Argv []string `json:"argv,omitempty"`
	// Cwd is the working folder, /workspace by default.
	Cwd string `json:"cwd,omitempty"`
	// Cols and Rows are the size of the terminal, 120 by 30 by default.
	Cols int `json:"cols,omitempty"`
	Rows int `json:"rows,omitempty"`
	// Env is added to PATH, HOME, LANG and TERM, as KEY=VALUE; later ones win.
	Env []string `json:"env,omitempty"`
}

// The states of a shell.
const (
	ShellRunning = "running"
	ShellExited  = "exited"
)

// ShellInfo is what the agent knows of a shell.
type ShellInfo struct {
	ID    string   `json:"id"`
	Argv  []string `json:"argv"` // its first 2 KiB
	Cwd   string   `json:"cwd"`
	Cols  int      `json:"cols"`
	Rows  int      `json:"rows"`
	State string   `json:"state"`
	// ExitCode is 128+n if signal n ended the shell, nil while it runs.
	ExitCode  *int  `json:"exit_code,omitempty"`
	PID       int   `json:"pid"`
	StartedAt int64 `json:"started_at_ms"`         // Unix time in milliseconds
	EndedAt   int64 `json:"ended_at_ms,omitempty"` // 0 while it runs
	// The output from byte CursorBegin on is still there; CursorEnd bytes were
	// written in all. Neither ever goes back.
	CursorBegin int64 `json:"cursor_begin"`
	CursorEnd   int64 `json:"cursor_end"`
}

// ShellListResult lists the shells in the order in which they were opened.
type ShellListResult struct {
	Shells []ShellInfo `json:"shells"`
}

// ShellReadParams ask for output.
type ShellReadParams struct {
	ID string `json:"id"`
	// Cursor is the first byte wanted; beyond the end is an error of kind usage.
	Cursor int64 `json:"cursor"`
	// Max is the most bytes to return, MaxData by default and at most.
	Max int `json:"max,omitempty"`
	// WaitMS is how long to wait for a first byte; 0 does not wait.
	WaitMS int64 `json:"wait_ms,omitempty"`
	// IdleMS, if it is not 0, goes on waiting, within WaitMS, until no output
	// came for so long.
	IdleMS int64 `json:"idle_ms,omitempty"`
}

// ShellReadResult is a piece of output.
type ShellReadResult struct {
	// Cursor is where Data begins: beyond what was asked for by Dropped bytes,
	// which are lost because newer ones took their place.
	Cursor     int64  `json:"cursor"`
	NextCursor int64  `json:"next_cursor"`
	Dropped    int64  `json:"dropped,omitempty"`
	Data       []byte `json:"data"`
	// State is of the moment at which Data was taken: a shell that had exited
	// has no output after a NextCursor equal to CursorEnd.
	State     string `json:"state"`
	ExitCode  *int   `json:"exit_code,omitempty"`
	CursorEnd int64  `json:"cursor_end"`
	// Cols and Rows are the size of the terminal now.
	Cols int `json:"cols"`
	Rows int `json:"rows"`
}

// ShellWriteParams are input, at most MaxData bytes. [Client.WriteShell] cuts
// larger input.
type ShellWriteParams struct {
	ID   string `json:"id"`
	Data []byte `json:"data"`
}

// ShellWriteResult says how much of the input the terminal took.
type ShellWriteResult struct {
	Written int `json:"written"`
	// Full says that the rest was not taken: the terminal's input was full for
	// some seconds because nothing in the shell reads it.
	Full bool `json:"full,omitempty"`
	// State and CursorEnd are those of the moment before the input: what it
	// brings about is behind CursorEnd.
	State     string `json:"state"`
	CursorEnd int64  `json:"cursor_end"`
}

// ShellResizeParams are a new size in characters, 1 to 65535 each.
type ShellResizeParams struct {
	ID   string `json:"id"`
	Cols int    `json:"cols"`
	Rows int    `json:"rows"`
}

// ShellSignalParams send a signal. INT, QUIT, TSTP, WINCH, USR1 and USR2 go to
// the terminal's foreground process group, as a key stroke would; TERM, HUP,
// KILL and CONT to every process of the session.
type ShellSignalParams struct {
	ID     string `json:"id"`
	Signal string `json:"signal"` // without SIG
}
