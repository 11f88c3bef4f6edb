package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"pyro/api"
)

// leaveTime is how long output that is on its way may hold up the end.
const leaveTime = time.Second

// connect connects the terminal, which is raw, with a shell. It returns the
// last answer of a shell that has ended, or errDetached.
func (t *attached) connect(ctx context.Context, shell api.Shell) (*api.ShellOutput, error) {
	whole := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)

	var ended *api.ShellOutput
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended, err = t.show(ctx, shell, func(cut bool) { go t.followSize(ctx, shell, resized, cut) })
	}()
	go t.typeInto(ctx, shell, cancel)

	select {
	case <-done:
	case <-ctx.Done():
		select { // nothing may be written once the terminal is restored
		case <-done:
		case <-time.After(leaveTime):
			return nil, context.Cause(ctx)
		}
	}
	if cause := context.Cause(ctx); cause != nil && whole.Err() == nil && err != nil {
		return nil, cause
	}
	return ended, err
}

// show writes what the shell writes: first what stands on its screen, then what
// comes, until it has ended. live is called between both; cut says that the
// first part does not hold all.
func (t *attached) show(ctx context.Context, shell api.Shell, live func(cut bool)) (*api.ShellOutput, error) {
	req := api.ReadShellRequest{WorkspaceID: shell.WorkspaceID, ShellID: shell.ShellID, MaxChars: replayBytes}
	cut := false
	if !t.fresh {
		req.Cursor = max(shell.FirstCursor, shell.NextCursor-replayBytes)
		cut = req.Cursor > 0
		for req.Cursor < shell.NextCursor {
			req.MaxChars = int(shell.NextCursor - req.Cursor)
			out, err := again(ctx, t.client, api.ReadShell, req)
			if err != nil {
				return nil, err
			}
			if err := t.write(&out, func(b []byte) []byte { return replay(b, cut && req.Cursor == out.Cursor) }); err != nil {
				return nil, err
			}
			if out.NextCursor <= req.Cursor {
				break
			}
			req.Cursor = out.NextCursor
		}
	}
	live(cut)
	req.MaxChars, req.WaitMS = replayBytes, longPoll
	for {
		out, err := again(ctx, t.client, api.ReadShell, req)
		if err != nil {
			return nil, err
		}
		if err := t.write(&out, nil); err != nil {
			return nil, err
		}
		if out.State == api.ShellExited {
			if out.NextCursor == req.Cursor {
				return &out, nil
			}
			req.WaitMS = 0 // one more read, which has nothing to wait for
		}
		req.Cursor = out.NextCursor
	}
}

// write writes what was read to the terminal, through form if there is one.
func (t *attached) write(out *api.ShellOutput, form func([]byte) []byte) error {
	output, err := rawOutput(out)
	if err != nil {
		return err
	}
	if form != nil {
		output = form(output)
	}
	if out.DroppedBytes > 0 {
		fmt.Fprintf(t.out, "\r\n[workspace-shell-attach] dropped_bytes=%d\r\n", out.DroppedBytes)
	}
	if len(output) == 0 {
		return nil
	}
	_, _ = t.modes.Write(output)
	t.column.Store(output[len(output)-1] != '\n')
	_, err = t.out.Write(output)
	return outputError(err)
}

// followSize gives the shell's terminal the size of this one, now and whenever
// it changes. A shell that cannot be resized goes on as it is.
//
// A program that draws the whole screen does so again when the size changes. If
// what was shown of its screen is incomplete and the size is right already, it
// gets a change and its undoing.
func (t *attached) followSize(ctx context.Context, shell api.Shell, resized <-chan os.Signal, redraw bool) {
	cols, rows, ok := t.size()
	if ok && redraw && rows > 1 && cols == shell.Cols && rows == shell.Rows {
		t.resize(ctx, &shell, cols, rows-1)
	}
	for {
		if cols, rows, ok = t.size(); ok && (cols != shell.Cols || rows != shell.Rows) {
			t.resize(ctx, &shell, cols, rows)
		}
		select {
		case <-ctx.Done():
			return
		case <-resized:
		}
	}
}

func (t *attached) resize(ctx context.Context, shell *api.Shell, cols, rows int) {
	now, err := again(ctx, t.client, api.ResizeShell, api.ResizeShellRequest{WorkspaceID: shell.WorkspaceID, ShellID: shell.ShellID, Cols: cols, Rows: rows})
	if err == nil {
		shell.Cols, shell.Rows = now.Cols, now.Rows
	}
}
