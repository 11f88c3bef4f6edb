package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"pyro/api"
)

// failedStart is the error of a service that did not start. Its exit code is
// 125 whatever the kind is: 124 would say that a command ran until its limit.
type failedStart struct{ error }

func (f failedStart) Unwrap() error { return f.error }

// startFailure marks the error of an operation that started no service.
func startFailure(op *api.Operation, err error) error {
	if op.Name == api.StartService.Name && api.KindOf(err) == api.KindTimeout {
		return failedStart{err}
	}
	return err
}

// renderService writes a service. A start has a bracketed line too.
func (a *app) renderService(w io.Writer, op *api.Operation, s *api.Service) {
	if op.Name == api.StartService.Name {
		a.line(op, "workspace_id=%s service=%s state=%s cwd=%s ready_at=%s execution_mode=%s",
			s.WorkspaceID, s.ServiceName, s.State, shellQuote(s.Cwd), stamp(s.ReadyAt), s.ExecutionMode)
	}
	fmt.Fprintf(w, "Service: %s\nWorkspace ID: %s\nState: %s\n", s.ServiceName, s.WorkspaceID, s.State)
	field(w, "Reason", printable(s.StopReason))
	fmt.Fprintf(w, "Command: %s\nCwd: %s\nProbe: %s\n", shellQuote(s.Command...), printable(s.Cwd), probe(s.Readiness))
	fmt.Fprintf(w, "Started: %s\nReady: %s\n", stamp(s.StartedAt), stampOr(s.ReadyAt, "never"))
	if !s.EndedAt.IsZero() {
		fmt.Fprintf(w, "Ended: %s\nExit code: %s\n", stamp(s.EndedAt), codeOr(s.ExitCode))
	}
	for _, p := range s.Published {
		fmt.Fprintf(w, "Published: 127.0.0.1:%d -> %d\n", p.HostPort, p.GuestPort)
	}
	fmt.Fprintf(w, "Restarts: %d\n", s.Restarts)
	field(w, "Execution mode", string(s.ExecutionMode))
}

// probe says what a service must do to be ready.
func probe(r *api.Readiness) string {
	if r == nil {
		return "none"
	}
	return string(r.Type) + " " + shellQuote(r.Path+r.Address+r.URL+r.Command) // one of them is set
}

func renderServices(w io.Writer, list *api.ServiceList) {
	fmt.Fprintf(w, "Services: running=%d total=%d\n", list.RunningCount, list.Count)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tSTATE\tEXIT_CODE\tRESTARTS\tSTARTED\tREADY\tCOMMAND")
	for _, s := range list.Services {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n",
			s.ServiceName, s.State, codeOr(s.ExitCode), s.Restarts, stamp(s.StartedAt), stamp(s.ReadyAt), shellQuote(s.Command...))
	}
	tw.Flush()
}

// renderServiceLog writes what a service wrote to where it wrote it, in its
// order, and where the log stands to stderr.
func (a *app) renderServiceLog(op *api.Operation, log *api.ServiceLog) error {
	w := a.logWriter(op)
	w.chunks(log)
	w.line("workspace_id=%s service=%s state=%s next_cursor=%d truncated=%t%s",
		log.WorkspaceID, log.ServiceName, log.State, log.NextCursor, log.Truncated, dropped(log))
	return outputError(w.err)
}

// chunks writes what the service wrote.
func (w *logWriter) chunks(log *api.ServiceLog) {
	for _, c := range log.Chunks {
		if c.Stream == "stderr" {
			w.output("", c.Text)
		} else {
			w.output(c.Text, "")
		}
	}
}

func dropped(log *api.ServiceLog) string {
	if log.DroppedBytes == 0 {
		return ""
	}
	return fmt.Sprintf(" dropped_bytes=%d", log.DroppedBytes)
}
