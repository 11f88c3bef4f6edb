package api

import "time"

// ShellState is the state of a shell.
type ShellState string

// The states of a shell.
const (
	ShellRunning ShellState = "running"
	ShellExited  ShellState = "exited"
)

// OpenShellRequest opens a shell in a workspace.
type OpenShellRequest struct {
	WorkspaceID string    `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	Cwd         string    `json:"cwd,omitempty" cli:"cwd" default:"/workspace" doc:"folder to start in; relative to /workspace"`
	Cols        int       `json:"cols,omitempty" cli:"cols" default:"120" doc:"columns of the terminal"`
	Rows        int       `json:"rows,omitempty" cli:"rows" default:"30" doc:"rows of the terminal"`
	Command     []string  `json:"command,omitempty" cli:"CMD,rest" doc:"what to run in the terminal instead of bash, or sh where there is no bash"`
	SecretEnv   SecretEnv `json:"secret_env,omitempty" cli:"secret-env" doc:"secrets for the shell: name to variable, empty for the same name"`
}

// ShellRequest names a shell.
type ShellRequest struct {
	WorkspaceID string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	ShellID     string `json:"shell_id" cli:"SHELL_ID,arg" doc:"id of the shell"`
}

// Shell describes a shell.
type Shell struct {
	WorkspaceID   string        `json:"workspace_id" doc:"id of the workspace"`
	ShellID       string        `json:"shell_id" doc:"id of the shell"`
	State         ShellState    `json:"state" doc:"running or exited"`
	Command       []string      `json:"command" doc:"what runs in the terminal"`
	Cwd           string        `json:"cwd" doc:"folder it was started in"`
	Cols          int           `json:"cols" doc:"columns of the terminal"`
	Rows          int           `json:"rows" doc:"rows of the terminal"`
	StartedAt     time.Time     `json:"started_at" doc:"when it was opened"`
	EndedAt       time.Time     `json:"ended_at,omitzero" doc:"when it ended"`
	ExitCode      *int          `json:"exit_code" doc:"its exit code once it has ended, 128+n after signal n, else null"`
	FirstCursor   int64         `json:"first_cursor" doc:"cursor of the oldest output that is kept"`
	NextCursor    int64         `json:"next_cursor" doc:"cursor behind the newest output"`
	ExecutionMode ExecutionMode `json:"execution_mode" doc:"where it runs"`
}

// ShellList answers ListShells.
type ShellList struct {
	WorkspaceID string  `json:"workspace_id" doc:"id of the workspace"`
	Shells      []Shell `json:"shells" doc:"the shells, oldest first"`
}

// ReadShellRequest reads output of a shell.
type ReadShellRequest struct {
	WorkspaceID   string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	ShellID       string `json:"shell_id" cli:"SHELL_ID,arg" doc:"id of the shell"`
	Cursor        int64  `json:"cursor,omitempty" cli:"cursor" doc:"where to read from: 0 is the beginning, next_cursor of the last read goes on"`
	MaxChars      int    `json:"max_chars,omitempty" cli:"max-chars" default:"65536" doc:"bytes of output to return at most; at most 1 MiB"`
	Plain         bool   `json:"plain,omitempty" cli:"plain" doc:"as a terminal would show it, without control sequences; cursors count the raw bytes all the same"`
	WaitMS        int    `json:"wait_ms,omitempty" doc:"if there is no output, wait so many milliseconds for some, at most 60,000"`
	WaitForIdleMS int    `json:"wait_for_idle_ms,omitempty" cli:"wait-for-idle-ms" doc:"wait until there was no output for so many milliseconds, at most 60 s in all"`
}

// ShellOutput answers ReadShell.
type ShellOutput struct {
	WorkspaceID   string        `json:"workspace_id" doc:"id of the workspace"`
	ShellID       string        `json:"shell_id" doc:"id of the shell"`
	State         ShellState    `json:"state" doc:"running or exited"`
	Cursor        int64         `json:"cursor" doc:"where the output begins"`
	NextCursor    int64         `json:"next_cursor" doc:"where the next read goes on"`
	Output        string        `json:"output" doc:"the output, invalid UTF-8 replaced"`
	OutputBase64  string        `json:"output_base64,omitempty" doc:"the bytes of the output, if they are not UTF-8"`
	Truncated     bool          `json:"truncated" doc:"there is more behind next_cursor"`
	DroppedBytes  int64         `json:"dropped_bytes" doc:"bytes between the cursor asked for and the oldest that is kept"`
	ExitCode      *int          `json:"exit_code" doc:"exit code once it has ended, else null"`
	Plain         bool          `json:"plain" doc:"control sequences were resolved"`
	ExecutionMode ExecutionMode `json:"execution_mode" doc:"where it runs"`
}

// WriteShellRequest types into a shell.
type WriteShellRequest struct {
	WorkspaceID   string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	ShellID       string `json:"shell_id" cli:"SHELL_ID,arg" doc:"id of the shell"`
	Input         string `json:"input" cli:"input,empty" doc:"what to type; may be empty, to press return only"`
	AppendNewline *bool  `json:"append_newline,omitempty" default:"true" doc:"press return behind it"`
}

// ShellWritten answers WriteShell.
type ShellWritten struct {
	WorkspaceID  string     `json:"workspace_id" doc:"id of the workspace"`
	ShellID      string     `json:"shell_id" doc:"id of the shell"`
	State        ShellState `json:"state" doc:"running or exited"`
	WrittenBytes int        `json:"written_bytes" doc:"bytes typed"`
	NextCursor   int64      `json:"next_cursor" doc:"cursor behind the output there was before; what the input brings about is behind it"`
}

// ResizeShellRequest changes the size of a shell's terminal.
type ResizeShellRequest struct {
	WorkspaceID string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	ShellID     string `json:"shell_id" cli:"SHELL_ID,arg" doc:"id of the shell"`
	Cols        int    `json:"cols" cli:"cols" doc:"columns"`
	Rows        int    `json:"rows" cli:"rows" doc:"rows"`
}

// SignalShellRequest sends a signal to what runs in a shell.
type SignalShellRequest struct {
	WorkspaceID string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	ShellID     string `json:"shell_id" cli:"SHELL_ID,arg" doc:"id of the shell"`
	SignalName  string `json:"signal_name,omitempty" cli:"signal" default:"INT" doc:"INT, TERM, HUP, QUIT, KILL, USR1, USR2, TSTP or CONT; INT, QUIT and TSTP go to what runs in the foreground, the others to all of the session"`
}

// ClosedShell answers CloseShell.
type ClosedShell struct {
	WorkspaceID string `json:"workspace_id" doc:"id of the workspace"`
	ShellID     string `json:"shell_id" doc:"id of the shell, which is gone"`
	Closed      bool   `json:"closed" doc:"always true"`
}

var shellErrors = append([]Kind{KindExec}, workspaceErrors...)

// The operations on shells.
var (
	OpenShell = call[OpenShellRequest, Shell](Operation{
		Name: "open_shell", CLI: "workspace shell open", MCP: "shell_open", Python: "open_shell", Group: "Shells",
		Summary: "Open a shell in a workspace",
		Doc: "Starts bash, or sh where there is none, on a terminal of its own that stays open between calls and when pyro's background process is replaced. " +
			"What is written to the terminal is kept in a buffer that is read by cursor. Reset, stop and delete of the workspace close it.",
		Effect: Changes, Errors: shellErrors, Example: "pyro workspace shell open ws-0123456789ab",
	})
	ListShells = call[WorkspaceRequest, ShellList](Operation{
		Name: "list_shells", CLI: "workspace shell list", Group: "Shells",
		Summary: "List the shells of a workspace", Effect: Reads, Errors: workspaceErrors, Example: "pyro workspace shell list ws-0123456789ab",
	})
	ReadShell = call[ReadShellRequest, ShellOutput](Operation{
		Name: "read_shell", CLI: "workspace shell read", MCP: "shell_read", Python: "read_shell", Group: "Shells",
		Summary: "Read output of a shell",
		Doc: "Returns what stands behind the cursor, at most `max_chars` bytes; `next_cursor` is where the next read goes on. " +
			"The newest 8 MiB are kept; `dropped_bytes` says how much of what was asked for is gone.",
		Effect: Reads, Errors: workspaceErrors, Example: "pyro workspace shell read ws-0123456789ab sh-012345 --plain --wait-for-idle-ms 300",
	})
	WriteShell = call[WriteShellRequest, ShellWritten](Operation{
		Name: "write_shell", CLI: "workspace shell write", MCP: "shell_write", Python: "write_shell", Group: "Shells",
		Summary: "Type into a shell", Doc: "Control characters work as on a keyboard: `\\u0003` is Ctrl-C.",
		Effect: Changes, Errors: workspaceErrors, Example: "pyro workspace shell write ws-0123456789ab sh-012345 --input make",
	})
	ResizeShell = call[ResizeShellRequest, Shell](Operation{
		Name: "resize_shell", CLI: "workspace shell resize", Group: "Shells",
		Summary: "Change the size of a shell's terminal", Effect: Changes, Errors: workspaceErrors,
		Example: "pyro workspace shell resize ws-0123456789ab sh-012345 --cols 100 --rows 40",
	})
	SignalShell = call[SignalShellRequest, Shell](Operation{
		Name: "signal_shell", CLI: "workspace shell signal", MCP: "shell_signal", Python: "signal_shell", Group: "Shells",
		Summary: "Send a signal to what runs in a shell", Effect: Changes, Errors: workspaceErrors,
		Example: "pyro workspace shell signal ws-0123456789ab sh-012345 --signal INT",
	})
	CloseShell = call[ShellRequest, ClosedShell](Operation{
		Name: "close_shell", CLI: "workspace shell close", MCP: "shell_close", Python: "close_shell", Group: "Shells",
		Summary: "Close a shell", Doc: "Hangs up, and kills what does not end of that. Its output is gone.",
		Effect: Destroys, Errors: workspaceErrors, Example: "pyro workspace shell close ws-0123456789ab sh-012345",
	})
)
