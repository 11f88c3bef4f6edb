package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"pyro/api"
	"pyro/client"
)

// exec runs a row of ModeExec and ends with the command's exit code.
func (a *app) exec(op *api.Operation, req any, asJSON bool) error {
	talk := &execTalk{app: a, label: label(op), quiet: asJSON}
	if asJSON {
		var stdout, stderr api.Output
		res, err := a.stream(op, req, &stdout, &stderr, talk)
		if err != nil {
			return err
		}
		res.Stdout, res.StdoutTruncated = stdout.Text()
		res.Stderr, res.StderrTruncated = stderr.Text()
		if err := a.printJSON(res); err != nil {
			return err
		}
		return exitCode(res.ExitCode)
	}
	res, err := a.stream(op, req, a.Stdout, a.Stderr, talk)
	if err != nil {
		return err
	}
	talk.result(res)
	return exitCode(res.ExitCode)
}

// stream runs the command with this process's stdin and signals.
func (a *app) stream(op *api.Operation, req any, stdout, stderr io.Writer, talk *execTalk) (api.ExecResult, error) {
	c, err := a.newClient()
	if err != nil {
		return api.ExecResult{}, err
	}
	signals, giveBack := a.signals()
	defer giveBack()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	toCommand := make(chan os.Signal, 8)
	f := &forwarder{running: make(chan struct{}), out: toCommand}
	go f.forward(ctx, signals, cancel)
	started := sync.OnceFunc(func() { close(f.running) })
	pull := a.progress("pull")
	defer pull.end()
	res, err := c.Exec(ctx, op, req, client.Stdio{
		Stdin: a.stdin(), Stdout: stdout, Stderr: stderr, Signals: toCommand,
		OnPull: pull.tell,
		OnEvent: func(ev api.ExecEvent) {
			pull.end()
			if ev.Phase == "execute" {
				started()
			}
			talk.event(ev)
		},
	})
	return res, causeOf(ctx, err)
}

// stdin returns what to pass to a command: nothing if it is a terminal,
// because commands have no terminal yet, or /dev/null.
func (a *app) stdin() io.Reader {
	f, ok := a.Stdin.(*os.File)
	if !ok {
		return a.Stdin
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice != 0 {
		return nil
	}
	return f
}

// label is the word in the brackets: run, vm-exec.
func label(op *api.Operation) string { return strings.ReplaceAll(op.CLI, " ", "-") }

// execTalk writes the bracketed lines of one command.
type execTalk struct {
	*app
	label string
	quiet bool // with --json
}

// event tells a phase. A workspace has none worth telling: it is there already.
func (t *execTalk) event(ev api.ExecEvent) {
	if t.quiet || ev.WorkspaceID != "" {
		return
	}
	line := fmt.Sprintf("[%s] phase=%s", t.label, ev.Phase)
	if ev.VMID != "" {
		line += " vm_id=" + ev.VMID
	} else if ev.Environment != "" {
		line += " environment=" + ev.Environment
	}
	fmt.Fprintln(t.Stderr, line)
	t.notice(ev.Notice)
}

// result says how the command ended and, if a limit ended it, which one.
func (t *execTalk) result(res api.ExecResult) {
	where := "environment=" + res.Environment
	if res.WorkspaceID != "" {
		where = fmt.Sprintf("workspace_id=%s sequence=%d cwd=%s", res.WorkspaceID, res.Sequence, shellQuote(res.Cwd))
	}
	fmt.Fprintf(t.Stderr, "[%s] %s execution_mode=%s exit_code=%d duration_ms=%d\n",
		t.label, where, res.ExecutionMode, res.ExitCode, res.DurationMS)
	if res.Limit != nil {
		t.say(res.Limit)
	}
	if r := res.Recovery; r != nil {
		fmt.Fprintf(t.Stderr, "[%s] the sandbox had been lost (%s); the command ran in the state of %s\n", t.label, printable(r.Reason), stamp(r.SavedAt))
	}
}
