package cli

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"pyro/api"
)

// renderShell writes the answer of opening a shell. What only changes one has
// no answer but its bracketed line.
func (a *app) renderShell(w io.Writer, op *api.Operation, req any, s *api.Shell) {
	if signal, ok := req.(*api.SignalShellRequest); ok {
		a.line(op, "workspace_id=%s shell_id=%s state=%s signal=%s", s.WorkspaceID, s.ShellID, s.State, signal.SignalName)
		return
	}
	a.line(op, "workspace_id=%s shell_id=%s state=%s cwd=%s cols=%d rows=%d execution_mode=%s",
		s.WorkspaceID, s.ShellID, s.State, shellQuote(s.Cwd), s.Cols, s.Rows, s.ExecutionMode)
	if op.Name != api.OpenShell.Name {
		return
	}
	fmt.Fprintf(w, "Shell ID: %s\nWorkspace ID: %s\nState: %s\nCommand: %s\nCwd: %s\nSize: cols=%d rows=%d\nStarted: %s\n",
		s.ShellID, s.WorkspaceID, s.State, shellQuote(s.Command...), printable(s.Cwd), s.Cols, s.Rows, stamp(s.StartedAt))
	field(w, "Execution mode", string(s.ExecutionMode))
}

func renderShells(w io.Writer, list *api.ShellList) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "SHELL_ID\tSTATE\tEXIT_CODE\tSIZE\tSTARTED\tCWD\tCOMMAND")
	for _, s := range list.Shells {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%dx%d\t%s\t%s\t%s\n",
			s.ShellID, s.State, codeOr(s.ExitCode), s.Cols, s.Rows, stamp(s.StartedAt), printable(s.Cwd), shellQuote(s.Command...))
	}
	tw.Flush()
}

// renderShellOutput writes the output as it is, and where it stands to stderr.
func (a *app) renderShellOutput(op *api.Operation, r *api.ShellOutput) error {
	output, err := rawOutput(r)
	if err != nil {
		return err
	}
	if _, err := a.Stdout.Write(output); err != nil {
		return outputError(err)
	}
	if isTerminal(a.Stdout) && len(output) > 0 && output[len(output)-1] != '\n' {
		fmt.Fprintln(a.Stderr)
	}
	var more strings.Builder
	if r.DroppedBytes > 0 {
		fmt.Fprintf(&more, " dropped_bytes=%d", r.DroppedBytes)
	}
	if r.State == api.ShellExited {
		more.WriteString(" exit_code=" + codeOr(r.ExitCode))
	}
	a.line(op, "workspace_id=%s shell_id=%s state=%s cursor=%d next_cursor=%d truncated=%t%s",
		r.WorkspaceID, r.ShellID, r.State, r.Cursor, r.NextCursor, r.Truncated, more.String())
	return nil
}

// rawOutput returns the bytes that the shell wrote.
func rawOutput(r *api.ShellOutput) ([]byte, error) {
	if r.OutputBase64 == "" {
		return []byte(r.Output), nil
	}
	raw, err := base64.StdEncoding.DecodeString(r.OutputBase64)
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "output_base64: %w", err)
	}
	return raw, nil
}

// codeOr writes an exit code, or that there is none.
func codeOr(code *int) string {
	if code == nil {
		return "-"
	}
	return fmt.Sprint(*code)
}
