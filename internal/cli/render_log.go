package cli

import (
	"fmt"
	"io"
	"strings"

	"pyro/api"
)

// logWriter plays a command log: what each command wrote goes to where it wrote
// it, after a bracketed line about the command.
type logWriter struct {
	stdout, stderr io.Writer
	label          string // in the brackets
	// terminal says that both are read in one place, by a person.
	terminal bool
	open     bool // the last line that a reader of stderr sees has no end
	err      error
}

func (a *app) logWriter(op *api.Operation) *logWriter {
	return &logWriter{stdout: a.Stdout, stderr: a.Stderr, label: label(op), terminal: isTerminal(a.Stdout)}
}

func (a *app) renderLog(op *api.Operation, log *api.CommandLog) error {
	w := a.logWriter(op)
	if len(log.Commands) == 0 {
		w.line("workspace_id=%s count=%d", log.WorkspaceID, log.Count)
	}
	for i := range log.Commands {
		w.command(&log.Commands[i])
	}
	return outputError(w.err)
}

func (w *logWriter) command(c *api.Command) {
	w.line("sequence=%d %s duration_ms=%d cwd=%s command=%s", c.Sequence, outcome(c), c.DurationMS, shellQuote(c.Cwd), shellQuote(c.Command...))
	w.output(c.Stdout, c.Stderr)
	w.cut(c.Sequence, "stdout", c.StdoutTruncated, c.StdoutBytes, c.StdoutPath)
	w.cut(c.Sequence, "stderr", c.StderrTruncated, c.StderrBytes, c.StderrPath)
	if c.Limit != nil {
		w.line("sequence=%d limit=%s: %s", c.Sequence, c.Limit.Kind, printable(c.Limit.Message))
	}
}

// output writes each of a command's outputs to where it belongs.
func (w *logWriter) output(stdout, stderr string) {
	if _, err := io.WriteString(w.stdout, stdout); err != nil && w.err == nil {
		w.err = err
	}
	if w.terminal {
		w.wrote(stdout)
	}
	fmt.Fprint(w.stderr, stderr)
	w.wrote(stderr)
}

// outcome says how a command ended, or that it has no exit code.
func outcome(c *api.Command) string {
	if c.ExitCode == nil {
		return fmt.Sprintf("state=%s exit_code=-", c.State)
	}
	return fmt.Sprintf("exit_code=%d", *c.ExitCode)
}

// cut says that one of the outputs is not whole, and where more of it is.
func (w *logWriter) cut(sequence int, name string, truncated bool, total int64, path string) {
	if !truncated {
		return
	}
	mark := fmt.Sprintf("sequence=%d %s_truncated=true %s_bytes=%d", sequence, name, name, total)
	if path != "" {
		mark += fmt.Sprintf(" %s_path=%s", name, shellQuote(path))
	}
	w.line("%s", mark)
}

// line writes a bracketed line, which always begins a line.
func (w *logWriter) line(format string, args ...any) {
	if w.open {
		fmt.Fprintln(w.stderr)
	}
	fmt.Fprintf(w.stderr, "["+w.label+"] "+format+"\n", args...)
	w.open = false
}

// wrote remembers whether text ended its last line.
func (w *logWriter) wrote(text string) {
	if text != "" {
		w.open = !strings.HasSuffix(text, "\n")
	}
}
