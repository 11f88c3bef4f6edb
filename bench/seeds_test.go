package bench

import (
	"context"
	"errors"
	"os"

	"pyro/api"
)

// The two places where the files of a workspace can be.
const (
	inImage = "in an image"
	inLayer = "in the writable layer"
)

// seedContest: what it costs later that a workspace began with its project as a
// read-only image, and what it would cost if the project had been written into
// the sandbox, as it is with a tar of the upper layer.
func seedContest(ctx context.Context) (*contest, error) {
	p, err := workspaceCLI()
	if err != nil {
		return nil, err
	}
	project, err := newProject("seed")
	if err != nil {
		return nil, err
	}
	image, err := p.createWorkspace(ctx, workspaceEnvironment, "--seed-path", project)
	if err != nil {
		return nil, err
	}
	layer, err := p.createWorkspace(ctx, workspaceEnvironment)
	if err == nil {
		err = layer.do(ctx, "sync push", project)
	}
	if err != nil {
		return nil, err
	}
	const kept = "kept"
	c := &contest{rounds: 7, end: func() error { return errors.Join(image.delete(), layer.delete(), os.RemoveAll(project)) }}
	for _, w := range []*workspace{image, layer} {
		if err := w.do(ctx, "snapshot create", kept); err != nil {
			return nil, err
		}
	}
	for _, op := range []struct {
		what string
		unit unit
		once func(ctx context.Context, w *workspace) (figures, error)
	}{
		{"`snapshot create`", duration, func(ctx context.Context, w *workspace) (figures, error) { return w.snapshot(ctx) }},
		{"`diff`", duration, func(ctx context.Context, w *workspace) (figures, error) { return w.diff(ctx, "--from", kept) }},
		{"`reset`, `exec`", duration, func(ctx context.Context, w *workspace) (figures, error) { return w.reset(ctx, "--snapshot", kept) }},
		{"`stop`", duration, func(ctx context.Context, w *workspace) (figures, error) { return w.timed(ctx, "stop") }},
		{"`start`, `exec`", duration, func(ctx context.Context, w *workspace) (figures, error) {
			if err := w.do(ctx, "stop"); err != nil {
				return nil, err
			}
			return w.timed(ctx, "exec", "--", "true")
		}},
		{"how long the sandbox stands still for an autosave", duration, func(ctx context.Context, w *workspace) (figures, error) {
			return w.pause(ctx)
		}},
		{"what a snapshot takes on the disk", megabytes, func(ctx context.Context, w *workspace) (figures, error) { return w.snapshotSize(ctx) }},
	} {
		in := func(w *workspace, label string) string {
			name := op.what + " " + label
			c.contenders = append(c.contenders, contender{name: name, label: label, ours: true, once: func(ctx context.Context) (figures, error) {
				if err := w.edit(ctx); err != nil {
					return nil, err
				}
				return op.once(ctx, w)
			}})
			return name
		}
		c.rows = append(c.rows, row{what: op.what, pyro: in(image, inImage), other: in(layer, inLayer), unit: op.unit})
	}
	return c, nil
}

// snapshotSize is how much a snapshot takes.
func (w *workspace) snapshotSize(ctx context.Context) (figures, error) {
	var made api.Snapshot
	if err := w.cli.answer(ctx, &made, w.args("snapshot create", "size")...); err != nil {
		return nil, err
	}
	return figures{"": float64(made.SizeBytes)}, w.do(ctx, "snapshot delete", "size")
}
