package bench

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"pyro/api"
	"pyro/client"
	"pyro/internal/paths"
)

// workspaceEnvironment is what workspaces are measured with, if nothing is
// needed that it lacks.
const workspaceEnvironment = "debian:12-base"

// workspaceCLI is pyro as a command with that environment installed. What it
// makes is found by its folder, apart from what other contests make.
var workspaceCLI = sync.OnceValues(func() (*cli, error) { return installedCLI("ws", workspaceEnvironment) })

// workspaceRunsc is raw runsc with the same image.
var workspaceRunsc = sync.OnceValues(func() (*runsc, error) {
	p, err := workspaceCLI()
	if err != nil {
		return nil, err
	}
	img, err := p.imageOf(workspaceEnvironment)
	if err != nil {
		return nil, err
	}
	return runscOf(img, "runsc-ws")
})

// workspace is a workspace, used as one types it.
type workspace struct {
	cli *cli
	id  string
}

// createWorkspace makes one, with further flags.
func (p *cli) createWorkspace(ctx context.Context, environment string, flags ...string) (*workspace, error) {
	var made api.Workspace
	err := p.answer(ctx, &made, append([]string{"workspace", "create", environment}, flags...)...)
	return &workspace{p, made.WorkspaceID}, err
}

// args are those of `pyro workspace VERB ID ...`.
func (w *workspace) args(verb string, args ...string) []string {
	return append(append([]string{"workspace"}, strings.Fields(verb)...), append([]string{w.id}, args...)...)
}

func (w *workspace) do(ctx context.Context, verb string, args ...string) error {
	return w.cli.run(ctx, w.args(verb, args...)...)
}

// output is what a command prints to stdout.
func (w *workspace) output(ctx context.Context, verb string, args ...string) (string, error) {
	var out strings.Builder
	err := theLab.command(ctx, w.cli.env, &out, append([]string{w.cli.program}, w.args(verb, args...)...)...)
	return out.String(), err
}

// exec runs a script in the workspace and returns what it prints.
func (w *workspace) exec(ctx context.Context, script string) (string, error) {
	return w.output(ctx, "exec", "--timeout-seconds", "600", "--", "sh", "-ec", script)
}

// edit changes ten files of the project in the workspace.
func (w *workspace) edit(ctx context.Context) error {
	_, err := w.exec(ctx, editScript(edits()))
	return err
}

func (w *workspace) delete() error { return w.do(context.Background(), "delete") }

// timed measures one command.
func (w *workspace) timed(ctx context.Context, verb string, args ...string) (figures, error) {
	return timed(func() error { return w.do(ctx, verb, args...) })
}

// push pushes a project and makes sure that only what was edited is sent.
func (w *workspace) push(ctx context.Context, project string) (figures, error) {
	var pushed api.PushResult
	start := time.Now()
	err := w.cli.answer(ctx, &pushed, w.args("sync push", project)...)
	until := took(start)
	if err == nil && pushed.SentEntries != edited {
		err = fmt.Errorf("%d entries were sent, want %d", pushed.SentEntries, edited)
	}
	return until, err
}

// diff has the edited files shown, and nothing else.
func (w *workspace) diff(ctx context.Context, flags ...string) (figures, error) {
	start := time.Now()
	text, err := w.output(ctx, "diff", flags...)
	until := took(start)
	if n := strings.Count(text, "\ndiff --git ") + 1; err == nil && n != edited {
		err = fmt.Errorf("the diff shows %d files, want %d", n, edited)
	}
	return until, err
}

// snapshot makes a snapshot, which is deleted without being measured.
func (w *workspace) snapshot(ctx context.Context) (figures, error) {
	until, err := w.timed(ctx, "snapshot create", "measured")
	if err != nil {
		return nil, err
	}
	return until, w.do(ctx, "snapshot delete", "measured")
}

// reset throws the workspace back and runs a first command in it.
func (w *workspace) reset(ctx context.Context, flags ...string) (figures, error) {
	start := time.Now()
	err := w.do(ctx, "reset", flags...)
	if err == nil {
		err = w.do(ctx, "exec", "--", "true")
	}
	return took(start), err
}

// client talks to the background process of a CLI without its command.
func (p *cli) client() (*client.Client, error) {
	var dirs paths.Dirs
	for _, v := range p.env {
		name, value, _ := strings.Cut(v, "=")
		switch name {
		case "PYRO_STATE_DIR":
			dirs.State = value
		case "PYRO_CONFIG_DIR":
			dirs.Config = value
		case "PYRO_CACHE_DIR":
			dirs.Cache = value
		}
	}
	return client.New(client.Options{Executable: p.program, Env: theLab.env(), Dirs: dirs})
}
