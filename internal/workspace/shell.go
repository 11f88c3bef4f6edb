package workspace

import (
	"context"
	"encoding/base64"
	"time"
	"unicode/utf8"

	"pyro/api"
	"pyro/internal/agent/wire"
	"pyro/internal/redact"
	"pyro/internal/sandbox"
	"pyro/internal/terminal"
)

// plainContext is how much of what stands before a range decides how it looks
// on a terminal, in bytes.
const plainContext = 64 << 10

// maxTerminal is the largest terminal, in columns and rows.
const maxTerminal = 1000

func checkSize(cols, rows int) error {
	if cols < 1 || cols > maxTerminal || rows < 1 || rows > maxTerminal {
		return api.Errorf(api.KindUsage, "a terminal of %d columns and %d rows is not possible, 1 to %d each are", cols, rows, maxTerminal).
			WithHint("use for example --cols 120 --rows 30")
	}
	return nil
}

// OpenShell opens a shell. A stopped workspace is started.
func (m *Manager) OpenShell(ctx context.Context, req api.OpenShellRequest) (api.Shell, error) {
	if err := checkSize(req.Cols, req.Rows); err != nil {
		return api.Shell{}, err
	}
	if err := sandbox.CheckCommand(req.Command); err != nil {
		return api.Shell{}, err
	}
	in, leave, err := m.enter(req.WorkspaceID)
	if err != nil {
		return api.Shell{}, err
	}
	defer leave()
	env, err := in.environ(req.SecretEnv)
	if err != nil {
		return api.Shell{}, err
	}
	var info wire.ShellInfo
	var on *life
	err = m.onMachine(ctx, in, func(l *life) error {
		defer l.touched()
		on = l
		return l.ask(ctx, wire.ShellOpen, wire.ShellOpenParams{
			ID: sandbox.NewID("sh-"), Argv: req.Command, Cwd: workDir(req.Cwd), Cols: req.Cols, Rows: req.Rows, Env: env,
		}, &info)
	})
	if err != nil {
		return api.Shell{}, err
	}
	return in.shell(info, on), nil
}

func (in *instance) shell(s wire.ShellInfo, l *life) api.Shell {
	return api.Shell{
		WorkspaceID: in.id, ShellID: validText(s.ID), State: shellState(s.State), Command: in.words(s.Argv), Cwd: in.text(s.Cwd),
		Cols: s.Cols, Rows: s.Rows, StartedAt: guestTime(s.StartedAt), EndedAt: guestTime(s.EndedAt), ExitCode: exitCode(s.ExitCode),
		FirstCursor: s.CursorBegin, NextCursor: s.CursorEnd, ExecutionMode: l.mode(),
	}
}

func shellState(s string) api.ShellState {
	if s == wire.ShellRunning {
		return api.ShellRunning
	}
	return api.ShellExited
}

// ListShells lists the shells. A stopped workspace has none.
func (m *Manager) ListShells(ctx context.Context, id string) (api.ShellList, error) {
	list := api.ShellList{WorkspaceID: id, Shells: []api.Shell{}}
	none := func(*instance) error { return nil }
	err := m.inGuest(id, none, func(in *instance, l *life) error {
		var res wire.ShellListResult
		if err := l.ask(ctx, wire.ShellList, nil, &res); err != nil {
			return err
		}
		for _, s := range res.Shells {
			list.Shells = append(list.Shells, in.shell(s, l))
		}
		return nil
	})
	return list, err
}

// withShell begins an operation on a shell.
func (m *Manager) withShell(id, shell string, f func(*instance, *life) error) error {
	gone := func(in *instance) error { return noShell(in, shell) }
	return m.inGuest(id, gone, func(in *instance, l *life) error {
		err := f(in, l)
		if api.KindOf(err) == api.KindNotFound {
			return noShell(in, shell)
		}
		return err
	})
}

func noShell(in *instance, shell string) *api.Error {
	return api.Errorf(api.KindNotFound, "%s has no shell %s", in.what(), shell).
		WithHint("see which there are: pyro workspace shell list %s; or open one: pyro workspace shell open %s", in.id, in.id)
}

// shellHint says of an error of the agent's about a shell what to do next.
func shellHint(err error, in *instance, shell string) error {
	switch api.KindOf(err) {
	case api.KindConflict: // it has exited
		return api.AsError(err).WithHint("see what it said: pyro workspace shell read %s %s --plain; or open another: pyro workspace shell open %s", in.id, shell, in.id)
	case api.KindUsage: // the name of a signal
		return api.AsError(err).WithHint("use for example --signal INT")
	}
	return err
}

// ReadShell returns output behind a cursor.
func (m *Manager) ReadShell(ctx context.Context, req api.ReadShellRequest) (api.ShellOutput, error) {
	if req.MaxChars > api.MaxOutput {
		return api.ShellOutput{}, api.Errorf(api.KindUsage, "max_chars is %d, at most %d are possible", req.MaxChars, api.MaxOutput).
			WithHint("read the rest with further calls, each from the next_cursor of the last")
	}
	if max(req.WaitMS, req.WaitForIdleMS) > wire.MaxWaitMS {
		return api.ShellOutput{}, api.Errorf(api.KindUsage, "a read waits at most %d ms", wire.MaxWaitMS).WithHint("call again")
	}
	var out api.ShellOutput
	err := m.withShell(req.WorkspaceID, req.ShellID, func(in *instance, l *life) error {
		hide, err := in.hidden()
		if err != nil {
			return err
		}
		until := time.Now().Add(time.Duration(req.WaitMS) * time.Millisecond)
		for {
			var held int64
			out, held, err = in.readShell(ctx, l, hide, req)
			if api.KindOf(err) == api.KindUsage { // only a cursor can be wrong here
				return api.AsError(err).WithHint("read from 0 on, or from the next_cursor of the last read")
			}
			if err != nil || held < 0 || out.Output != "" || !time.Now().Before(until) {
				return err
			}
			if err := in.awaitShell(ctx, l, req.ShellID, held, until); err != nil {
				return err
			}
			req.WaitMS, req.WaitForIdleMS = 0, 0
		}
	})
	return out, err
}

// readShell reads once. held is the end of the output if its last bytes were held
// back because they may be the beginning of a secret, else -1.
func (in *instance) readShell(ctx context.Context, l *life, hide *redact.Set, req api.ReadShellRequest) (_ api.ShellOutput, held int64, err error) {
	params := wire.ShellReadParams{
		ID: req.ShellID, Cursor: req.Cursor, Max: min(req.MaxChars, wire.MaxData), WaitMS: int64(req.WaitMS), IdleMS: int64(req.WaitForIdleMS),
	}
	if req.WaitForIdleMS > 0 {
		params.WaitMS = wire.MaxWaitMS
	}
	var first wire.ShellReadResult
	if err := l.ask(ctx, wire.ShellRead, params, &first); err != nil {
		return api.ShellOutput{}, -1, err
	}
	out := api.ShellOutput{
		WorkspaceID: in.id, ShellID: req.ShellID, State: shellState(first.State), Cursor: first.Cursor, NextCursor: first.NextCursor,
		DroppedBytes: first.Dropped, ExitCode: exitCode(first.ExitCode), Plain: req.Plain, ExecutionMode: l.mode(),
	}
	raw, end := first.Data, first.CursorEnd
	for len(raw) < req.MaxChars && out.NextCursor < end { // what one answer of the agent cannot hold
		var more wire.ShellReadResult
		err := l.ask(ctx, wire.ShellRead, wire.ShellReadParams{ID: req.ShellID, Cursor: out.NextCursor, Max: min(req.MaxChars-len(raw), wire.MaxData)}, &more)
		if err != nil {
			return api.ShellOutput{}, -1, err
		}
		if len(more.Data) == 0 || more.Dropped > 0 { // the rest is for the next read, which tells what was lost
			break
		}
		raw, out.NextCursor, end = append(raw, more.Data...), more.NextCursor, more.CursorEnd
	}
	out.Truncated = out.NextCursor < end
	w := &window{text: raw, to: len(raw)}
	if hide != nil {
		if w, err = in.hideShell(ctx, l, hide, raw, end, &out); err != nil {
			return api.ShellOutput{}, -1, err
		}
		out.NextCursor -= int64(w.from + len(raw) - w.to)
	}
	held = -1
	if w.held {
		held, out.Truncated = end, false // there is nothing behind it that could be read now
	}
	if req.Plain {
		err := in.plain(ctx, l, w, terminal.Options{Cols: first.Cols, Rows: first.Rows}, &out)
		out.Output = hide.Text(out.Output) // what control sequences had taken apart
		return out, held, err
	}
	shown := w.shown()
	out.Output = validText(string(shown))
	if !utf8.Valid(shown) {
		out.OutputBase64 = base64.StdEncoding.EncodeToString(shown)
	}
	return out, held, nil
}

// plain gives output the form that it has on the shell's terminal, of whose size
// o tells.
func (in *instance) plain(ctx context.Context, l *life, w *window, o terminal.Options, out *api.ShellOutput) error {
	if n := min(out.Cursor, plainContext); n > 0 {
		var before wire.ShellReadResult
		if err := l.ask(ctx, wire.ShellRead, wire.ShellReadParams{ID: out.ShellID, Cursor: out.Cursor - n, Max: int(n)}, &before); err != nil {
			return err
		}
		o.Before, o.Cut = before.Data[:min(max(0, out.Cursor-before.Cursor), int64(len(before.Data)))], before.Cursor > 0
	}
	text, rest := terminal.Plain(w.shown(), o)
	out.Output = text
	if out.State == api.ShellRunning || out.Truncated {
		out.NextCursor -= int64(w.back(rest)) // half a sequence: the next read begins with it
	}
	return nil
}

// WriteShell types into a shell.
func (m *Manager) WriteShell(ctx context.Context, req api.WriteShellRequest) (api.ShellWritten, error) {
	input := []byte(req.Input)
	if req.AppendNewline == nil || *req.AppendNewline {
		input = append(input, '\r') // what the return key sends
	}
	res := api.ShellWritten{WorkspaceID: req.WorkspaceID, ShellID: req.ShellID}
	err := m.withShell(req.WorkspaceID, req.ShellID, func(in *instance, l *life) error {
		if len(input) == 0 {
			info, err := in.shellInfo(ctx, l, req.ShellID)
			res.State, res.NextCursor = shellState(info.State), info.CursorEnd
			return err
		}
		defer l.touched()
		for res.WrittenBytes < len(input) {
			piece := input[res.WrittenBytes:min(len(input), res.WrittenBytes+wire.MaxData)]
			var wrote wire.ShellWriteResult
			if err := l.ask(ctx, wire.ShellWrite, wire.ShellWriteParams{ID: req.ShellID, Data: piece}, &wrote); err != nil {
				return shellHint(err, in, req.ShellID)
			}
			if res.WrittenBytes == 0 {
				res.State, res.NextCursor = shellState(wrote.State), wrote.CursorEnd
			}
			res.WrittenBytes += min(max(0, wrote.Written), len(piece))
			if wrote.Full || wrote.Written <= 0 {
				return api.Errorf(api.KindConflict, "shell %s takes no more input, %d of %d bytes were typed: nothing in it reads", req.ShellID, res.WrittenBytes, len(input)).
					WithHint("see what runs there: pyro workspace shell read %s %s --plain; or interrupt it: pyro workspace shell signal %s %s", in.id, req.ShellID, in.id, req.ShellID)
			}
		}
		return nil
	})
	return res, err
}

func (in *instance) shellInfo(ctx context.Context, l *life, id string) (wire.ShellInfo, error) {
	var res wire.ShellListResult
	if err := l.ask(ctx, wire.ShellList, nil, &res); err != nil {
		return wire.ShellInfo{}, err
	}
	for _, s := range res.Shells {
		if s.ID == id {
			return s, nil
		}
	}
	return wire.ShellInfo{}, noShell(in, id)
}

// ResizeShell changes the size of a shell's terminal.
func (m *Manager) ResizeShell(ctx context.Context, req api.ResizeShellRequest) (api.Shell, error) {
	if err := checkSize(req.Cols, req.Rows); err != nil {
		return api.Shell{}, err
	}
	return m.shellCall(ctx, req.WorkspaceID, req.ShellID, wire.ShellResize, wire.ShellResizeParams{ID: req.ShellID, Cols: req.Cols, Rows: req.Rows})
}

// SignalShell sends a signal to what runs in a shell.
func (m *Manager) SignalShell(ctx context.Context, req api.SignalShellRequest) (api.Shell, error) {
	return m.shellCall(ctx, req.WorkspaceID, req.ShellID, wire.ShellSignal, wire.ShellSignalParams{ID: req.ShellID, Signal: req.SignalName})
}

// shellCall makes a call of the agent that answers with the shell.
func (m *Manager) shellCall(ctx context.Context, id, shell string, method wire.Method, params any) (api.Shell, error) {
	var res api.Shell
	err := m.withShell(id, shell, func(in *instance, l *life) error {
		defer l.touched()
		var info wire.ShellInfo
		if err := l.ask(ctx, method, params, &info); err != nil {
			return shellHint(err, in, shell)
		}
		res = in.shell(info, l)
		return nil
	})
	return res, err
}

// closeTime bounds how long processes may take to end that were told to.
const closeTime = 30 * time.Second

// CloseShell ends a shell and everything in its session.
func (m *Manager) CloseShell(ctx context.Context, req api.ShellRequest) (api.ClosedShell, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if _, err := m.shellCall(ctx, req.WorkspaceID, req.ShellID, wire.ShellClose, wire.ShellParams{ID: req.ShellID}); err != nil {
		return api.ClosedShell{}, err
	}
	return api.ClosedShell{WorkspaceID: req.WorkspaceID, ShellID: req.ShellID, Closed: true}, nil
}
