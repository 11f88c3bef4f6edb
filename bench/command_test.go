package bench

import (
	"context"

	"pyro/api"
	"pyro/client"
)

// commandContest: one more command in a workspace.
func commandContest(ctx context.Context) (*contest, error) {
	c := &contest{rounds: 51}
	v, err := newRivals(ctx, c)
	if err != nil {
		return nil, err
	}
	direct, err := v.ours.cli.client()
	if err != nil {
		return nil, err
	}
	const (
		ours   = "`pyro workspace exec`"
		call   = "the same by package client"
		status = "`pyro workspace status`"
		run    = "`pyro run`"
		other  = "`runsc exec`"
		what   = "one more `true`"
	)
	req := api.ExecWorkspaceRequest{WorkspaceID: v.ours.id, Command: []string{"true"}, TimeoutSeconds: 30, Cwd: api.WorkspacePath}
	c.contenders = []contender{
		{name: ours, ours: true, once: func(ctx context.Context) (figures, error) { return v.ours.timed(ctx, "exec", "--", "true") }},
		{name: call, ours: true, once: func(ctx context.Context) (figures, error) {
			return timed(func() error {
				_, err := client.Exec(ctx, direct, api.ExecWorkspace, req, client.Stdio{})
				return err
			})
		}},
		{name: status, ours: true, once: func(ctx context.Context) (figures, error) { return v.ours.timed(ctx, "status") }},
		{name: run, ours: true, once: func(ctx context.Context) (figures, error) {
			return timed(func() error { return v.ours.cli.run(ctx, "run", workspaceEnvironment, "--", "true") })
		}},
		{name: other, once: func(ctx context.Context) (figures, error) {
			return timed(func() error { return v.other.runsc.run(ctx, "exec", v.other.id, "/bin/true") })
		}},
	}
	c.rows = []row{
		{what: what, pyro: ours, other: other, unit: duration},
		{what: what, pyro: ours, other: run, unit: duration},
		{what: what, pyro: call, other: other, unit: duration},
		{what: "a command that asks for nothing of the sandbox", pyro: status, other: other, unit: duration},
	}
	return c, nil
}
