package workspace

import (
	"context"
	"encoding/json"
	"io"
	"path"
	"strings"
	"syscall"

	"pyro/api"
	"pyro/internal/runtime"
	"pyro/internal/sandbox"
	"pyro/internal/store"
)

// Exec runs a command in the workspace and records it in the command log.
func (m *Manager) Exec(ctx context.Context, req api.ExecWorkspaceRequest, stdio sandbox.Stdio) (api.ExecResult, error) {
	if err := sandbox.CheckCommand(req.Command); err != nil {
		return api.ExecResult{}, err
	}
	in, leave, err := m.enter(req.WorkspaceID)
	if err != nil {
		return api.ExecResult{}, err
	}
	defer leave()
	env, err := in.environ(req.SecretEnv)
	if err != nil {
		return api.ExecResult{}, err
	}
	asked := now()
	var row store.Command // recorded once, on whatever machine it runs in the end
	var res api.ExecResult
	err = m.onMachine(ctx, in, func(l *life) error {
		if row.Sequence == 0 {
			if row, err = m.begin(ctx, in, l, req); err != nil {
				return err
			}
		}
		res, err = m.run(ctx, in, l, row, req, env, stdio)
		res.ExecutionMode = l.mode()
		return err
	})
	if row.Sequence > 0 {
		m.end(in, row, res, err)
	}
	if err != nil {
		return api.ExecResult{}, err
	}
	res.WorkspaceID, res.Sequence, res.Cwd = in.id, row.Sequence, row.Cwd
	res.Environment, res.Command = in.record().Environment, row.Argv
	if rec := recovery(in.record()); rec != nil && !rec.RestoredAt.Before(asked) {
		res.Recovery = rec
	}
	return res, nil
}

// run runs the recorded command. Its error is of the machine's death only if the
// command has not started.
func (m *Manager) run(ctx context.Context, in *instance, l *life, row store.Command, req api.ExecWorkspaceRequest, env []string, stdio sandbox.Stdio) (api.ExecResult, error) {
	leave, err := in.use(l)
	if err != nil {
		return api.ExecResult{}, err
	}
	defer leave()
	stdio.Tell(api.ExecEvent{Phase: "execute", WorkspaceID: in.id, Sequence: row.Sequence, ExecutionMode: l.mode()})
	output := l.log.Begin(row.Sequence)
	stdio.Stdout, stdio.Stderr = tee(output.Stdout(), stdio.Stdout), tee(output.Stderr(), stdio.Stderr)
	stdio, flush := in.hideOutput(stdio)
	l.touched()
	defer l.touched()
	x := sandbox.Exec{
		Machine: l.machine, Life: l.ctx, Where: in.what(), Environment: in.record().Environment,
		Argv: req.Command, Env: env, Dir: workDir(req.Cwd), Timeout: api.Seconds(req.TimeoutSeconds), Logger: m.log, Replaceable: true,
		Kill: func(p runtime.Process, _ *api.Error) {
			if err := p.Kill(); err != nil && l.ctx.Err() == nil {
				m.log.Error("command cannot be killed", "workspace", in.id, "sequence", row.Sequence, "error", err)
			}
		},
	}
	res, err := x.Run(ctx, stdio)
	flush()
	sizes, logErr := output.Close()
	if logErr != nil {
		m.log.Error("output of a command is not kept", "workspace", in.id, "sequence", row.Sequence, "error", logErr)
	}
	if in.secrets.hide != nil { // what was hidden has another length
		res.StdoutBytes, res.StderrBytes = sizes.StdoutBytes, sizes.StderrBytes
	}
	res.Limit = in.secrets.hideIn(in.ownLimit(l, res.Limit))
	return res, err
}

// ownLimit tells of a limit as one of the workspace, whose limits were set when it
// was created, and not of one of its sandboxes.
func (in *instance) ownLimit(l *life, limit *api.Error) *api.Error {
	if limit == nil {
		return nil
	}
	own := *limit
	own.Message = strings.ReplaceAll(own.Message, "sandbox "+l.machine.ID(), in.what())
	if flag, ok := strings.CutPrefix(own.Hint, "allow more with: "); ok {
		own.Hint = "limits are set at creation: pyro workspace create " + in.record().Environment + " " + flag
	}
	return &own
}

// workDir makes the folder of a command absolute.
func workDir(cwd string) string {
	if path.IsAbs(cwd) {
		return path.Clean(cwd)
	}
	return path.Join(api.WorkspacePath, cwd)
}

// begin records that a command starts, and gives it its sequence.
func (m *Manager) begin(ctx context.Context, in *instance, l *life, req api.ExecWorkspaceRequest) (store.Command, error) {
	cmd := store.Command{
		Workspace: in.id, Argv: in.secrets.hide.Words(req.Command), Cwd: in.secrets.hide.Text(workDir(req.Cwd)), State: api.CommandRunning,
		StdoutBytes: -1, StderrBytes: -1,
	}
	ctx = context.WithoutCancel(ctx)
	err := in.update(func(r *store.Workspace) {
		cmd.StartedAt = now()
		r.Commands++
		r.LastActivityAt = cmd.StartedAt
		cmd.Sequence = r.Commands
	}, func(store.Workspace) error {
		if in.currentLife() != l {
			return l.orCause(api.Errorf(api.KindCanceled, "%s has another sandbox now", in.what()))
		}
		return m.store.InsertCommand(ctx, cmd) // from which Recover takes the count
	})
	return cmd, err
}

// end records how a command ended, unless a reset has cleared the log meanwhile.
func (m *Manager) end(in *instance, cmd store.Command, res api.ExecResult, err error) {
	cmd.State, cmd.ExitCode, cmd.DurationMS = api.CommandExited, res.ExitCode, res.DurationMS
	cmd.StdoutBytes, cmd.StderrBytes = res.StdoutBytes, res.StderrBytes
	limit := res.Limit
	if err != nil { // it was killed
		limit = in.secrets.hideIn(api.AsError(err))
		cmd.ExitCode, cmd.DurationMS = api.ExitSignalBase+int(syscall.SIGKILL), now().Sub(cmd.StartedAt).Milliseconds()
	}
	if limit != nil {
		if b, err := json.Marshal(limit); err == nil { // it has nothing that cannot be marshaled
			cmd.Limit = string(b)
		}
	}
	in.used()
	err = m.store.UpdateCommand(context.Background(), cmd)
	if err != nil && api.KindOf(err) != api.KindNotFound { // the log knows its commands by their start too
		m.log.Error("the end of a command is not recorded", "workspace", in.id, "sequence", cmd.Sequence, "error", err)
	}
}

// tee writes to the log, which never fails, and then to the caller, who may be nil.
func tee(log, caller io.Writer) io.Writer {
	if caller == nil {
		return log
	}
	return io.MultiWriter(log, caller)
}

const (
	// maxLog bounds the output of all commands in one answer, in bytes.
	maxLog = 16 << 20
	// minLogOutput is what every stdout and stderr may have of it at least.
	minLogOutput = 512
)

// Logs returns the command log.
func (m *Manager) Logs(ctx context.Context, req api.LogsWorkspaceRequest) (api.CommandLog, error) {
	in, leave, err := m.enter(req.WorkspaceID)
	if err != nil {
		return api.CommandLog{}, err
	}
	defer leave()
	if req.MaxBytes > api.MaxOutput {
		return api.CommandLog{}, api.Errorf(api.KindUsage, "max_bytes is %d, at most %d are possible", req.MaxBytes, api.MaxOutput).
			WithHint("read the whole from the file that stdout_path names")
	}
	row := in.record()
	from, count := 1, 0
	if req.Last > 0 {
		from = max(1, row.Commands-req.Last+1)
	}
	if req.Sequence > 0 {
		from, count = req.Sequence, 1
	}
	rows, err := m.store.Commands(ctx, in.id, from, count)
	if err != nil {
		return api.CommandLog{}, err
	}
	if req.Sequence > 0 && (len(rows) == 0 || rows[0].Sequence != req.Sequence) {
		return api.CommandLog{}, api.Errorf(api.KindNotFound, "%s has no command %d in its log, which has %d", in.what(), req.Sequence, row.Commands).
			WithHint("pyro workspace logs %s", in.id)
	}
	log := api.CommandLog{WorkspaceID: in.id, Commands: []api.Command{}, Count: row.Commands}
	each := min(req.MaxBytes, max(minLogOutput, maxLog/(2*max(1, len(rows)))))
	for _, c := range rows {
		cmd, err := in.command(c, each)
		if err != nil {
			return api.CommandLog{}, err
		}
		log.Commands = append(log.Commands, cmd)
	}
	return log, nil
}

// command is an entry of the log as callers see it.
func (in *instance) command(c store.Command, maxBytes int) (api.Command, error) {
	cmd := api.Command{
		Sequence: c.Sequence, Command: c.Argv, Cwd: c.Cwd, State: c.State, StartedAt: c.StartedAt, DurationMS: c.DurationMS,
		StdoutBytes: max(0, c.StdoutBytes), StderrBytes: max(0, c.StderrBytes),
	}
	if c.State == api.CommandExited {
		cmd.ExitCode = &c.ExitCode
	}
	if c.Limit != "" {
		cmd.Limit = &api.Error{}
		if err := json.Unmarshal([]byte(c.Limit), cmd.Limit); err != nil {
			return cmd, api.Errorf(api.KindInternal, "command %d of %s: %w", c.Sequence, in.what(), err)
		}
	}
	log := in.commandLog()
	var err error
	if cmd.Stdout, cmd.StdoutTruncated, cmd.StdoutPath, err = log.Read(c.Sequence, true, c.StdoutBytes, maxBytes); err != nil {
		return cmd, err
	}
	cmd.Stderr, cmd.StderrTruncated, cmd.StderrPath, err = log.Read(c.Sequence, false, c.StderrBytes, maxBytes)
	return cmd, err
}
