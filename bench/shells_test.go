package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pyro/api"
	"pyro/client"
)

// runShells is the program behind make bench-shells.
func runShells(ctx context.Context) error {
	machine := describeMachine()
	var table strings.Builder
	if err := hold(ctx, &table, []maker{{"key", keyContest}, {"read", readContest}}); err != nil {
		return err
	}
	if *onlyFlag == "" {
		return publish(*docFlag, [2]string{"shells", machine + "\n" + table.String()})
	}
	return publish("", [2]string{"shells", table.String()})
}

// newPair makes a workspace and a container of raw runsc of the same image, which
// are removed with the contest.
func newPair(ctx context.Context, c *contest) (*workspace, *container, error) {
	p, err := workspaceCLI()
	if err != nil {
		return nil, nil, err
	}
	r, err := workspaceRunsc()
	if err != nil {
		return nil, nil, err
	}
	ours, err := p.createWorkspace(ctx, workspaceEnvironment)
	if err != nil {
		return nil, nil, err
	}
	other := &container{r, r.newID()}
	c.end = func() error { return errors.Join(ours.delete(), other.delete()) }
	return ours, other, other.runsc.start(ctx, other.id, false)
}

// openShell opens a shell with a command and returns its id.
func (w *workspace) openShell(ctx context.Context, argv ...string) (string, error) {
	var shell api.Shell
	direct, err := w.cli.client()
	if err == nil {
		shell, err = client.Do(ctx, direct, api.OpenShell, api.OpenShellRequest{WorkspaceID: w.id, Command: argv, Cols: 120, Rows: 30})
	}
	return shell.ShellID, err
}

// keyContest: what a person at a terminal waits for.
func keyContest(ctx context.Context) (*contest, error) {
	c := &contest{rounds: 51}
	ours, other, err := newPair(ctx, c)
	if err != nil {
		return nil, err
	}
	const (
		attach = "`pyro workspace shell attach`"
		call   = "a write and a read by package client"
		raw    = "`runsc exec` on a terminal"
		key    = "a key in bash, until its echo"
		line   = "a line in bash, until its answer"
	)
	id, err := ours.openShell(ctx, bash...)
	if err != nil {
		return nil, errors.Join(err, c.end())
	}
	one, err := theLab.sit(ours.cli.env, append([]string{ours.cli.program}, ours.args("shell attach", id)...)...)
	if err != nil {
		return nil, errors.Join(err, c.end())
	}
	two, err := theLab.sit(nil, other.runsc.command(append([]string{"exec", other.id}, bash...)...)...)
	if err != nil {
		return nil, errors.Join(err, one.leave(), c.end())
	}
	end := c.end
	c.end = func() error { return errors.Join(one.leave(), two.leave(), end()) }
	caller, err := newCaller(ctx, ours)
	for _, k := range []*keyboard{one, two} {
		err = errors.Join(err, k.press("", prompt))
	}
	if err != nil {
		return nil, errors.Join(err, c.end())
	}
	typing := func(press typist) func(context.Context) (figures, error) {
		return func(context.Context) (figures, error) { return press.round() }
	}
	c.contenders = []contender{
		{name: attach, ours: true, once: typing(one.press)},
		{name: call, ours: true, once: typing(caller.press)},
		{name: raw, once: typing(two.press)},
	}
	for _, figure := range []struct{ what, name string }{{key, "key"}, {line, "line"}} {
		for _, contender := range []string{attach, call} {
			c.rows = append(c.rows, row{what: figure.what, figure: figure.name, pyro: contender, other: raw, unit: fine})
		}
	}
	return c, nil
}

// caller types into a shell and reads it as an agent does, call by call.
type caller struct {
	ctx    context.Context
	client *client.Client
	read   api.ReadShellRequest
}

func newCaller(ctx context.Context, w *workspace) (*caller, error) {
	direct, err := w.cli.client()
	if err != nil {
		return nil, err
	}
	id, err := w.openShell(ctx, bash...)
	if err != nil {
		return nil, err
	}
	k := &caller{ctx, direct, api.ReadShellRequest{WorkspaceID: w.id, ShellID: id, MaxChars: api.MaxOutput, WaitMS: int(keyTime.Milliseconds())}}
	return k, k.await(prompt)
}

func (k *caller) press(keys, text string) error {
	_, err := client.Do(k.ctx, k.client, api.WriteShell, api.WriteShellRequest{
		WorkspaceID: k.read.WorkspaceID, ShellID: k.read.ShellID, Input: keys, AppendNewline: new(false),
	})
	if err != nil {
		return err
	}
	return k.await(text)
}

// await reads on until the text comes.
func (k *caller) await(text string) error {
	shown := ""
	for !strings.Contains(shown, text) {
		out, err := client.Do(k.ctx, k.client, api.ReadShell, k.read)
		if err != nil {
			return err
		}
		if out.NextCursor == k.read.Cursor {
			return fmt.Errorf("%q was not shown, but %q", text, shown)
		}
		shown, k.read.Cursor = shown+out.Output, out.NextCursor
	}
	return nil
}

// said is what the shells of the read contest have written.
const said = `i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo "line $i of what a shell has said to us"; done`

// readContest: what an agent waits for that wants to know what a shell has
// written. Without pyro that would have gone to a file.
func readContest(ctx context.Context) (*contest, error) {
	c := &contest{rounds: 101}
	ours, other, err := newPair(ctx, c)
	if err != nil {
		return nil, err
	}
	id, err := ours.openShell(ctx, "/bin/sh", "-c", said+"; exec sleep infinity")
	if err == nil { // until all of it is there
		_, err = ours.output(ctx, "shell read", id, "--wait-for-idle-ms", "1000")
	}
	if err == nil {
		_, err = other.exec(ctx, "cd /; "+said+" >/tmp/said")
	}
	direct, clientErr := ours.cli.client()
	if err = errors.Join(err, clientErr); err != nil {
		return nil, errors.Join(err, c.end())
	}
	const (
		command = "`pyro workspace shell read`"
		plain   = "`pyro workspace shell read --plain`"
		call    = "the same by package client"
		raw     = "`runsc exec cat` of a file"
		what    = "100 lines that a shell has written"
	)
	c.contenders = []contender{
		{name: command, ours: true, once: func(ctx context.Context) (figures, error) { return ours.timed(ctx, "shell read", id) }},
		{name: plain, ours: true, once: func(ctx context.Context) (figures, error) { return ours.timed(ctx, "shell read", id, "--plain") }},
		{name: call, ours: true, once: func(ctx context.Context) (figures, error) {
			return timed(func() error {
				_, err := client.Do(ctx, direct, api.ReadShell, api.ReadShellRequest{WorkspaceID: ours.id, ShellID: id, MaxChars: 65536})
				return err
			})
		}},
		{name: raw, once: func(ctx context.Context) (figures, error) {
			return timed(func() error { return other.runsc.run(ctx, "exec", other.id, "/bin/cat", "/tmp/said") })
		}},
	}
	for _, contender := range []string{command, plain, call} {
		c.rows = append(c.rows, row{what: what, pyro: contender, other: raw, unit: fine})
	}
	return c, nil
}
