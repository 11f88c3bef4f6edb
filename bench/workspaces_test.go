package bench

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"
)

// runWorkspaces is the program behind make bench-workspaces.
func runWorkspaces(ctx context.Context) error {
	machine := describeMachine()
	var sections [][2]string
	for _, s := range []struct {
		name   string
		makers []maker
	}{
		{"workspaces", []maker{
			{"create", createContest},
			{"push", pushContest},
			{"diff", diffContest},
			{"snapshot", snapshotContest},
			{"reset", resetContest},
			{"export", exportContest},
			{"command", commandContest},
			{"pause", pauseContest},
			{"quiet", quietContest},
		}},
		{"seeds", []maker{{"seed", seedContest}}},
		{"places", []maker{{"place", placeContest}}},
	} {
		var table strings.Builder
		if err := hold(ctx, &table, s.makers); err != nil {
			return err
		}
		sections = append(sections, [2]string{s.name, table.String()})
	}
	sections[0][1] = machine + "\n" + sections[0][1]
	return publish(*docFlag, sections...)
}

// Contenders of several contests.
const (
	tarIntoRunsc = "`tar \\| runsc exec tar`"
	onHost       = "on the host, "
)

// rivals are a workspace and a container of raw runsc with the same project,
// for a contest.
type rivals struct {
	project string // on the host
	ours    *workspace
	other   *container
}

// newRivals makes them; what it has made is removed with the contest.
func newRivals(ctx context.Context, c *contest) (*rivals, error) {
	p, err := workspaceCLI()
	if err != nil {
		return nil, err
	}
	r, err := workspaceRunsc()
	if err != nil {
		return nil, err
	}
	v := &rivals{}
	if v.project, err = newProject("rivals"); err != nil {
		return nil, err
	}
	if v.ours, err = p.createWorkspace(ctx, workspaceEnvironment, "--seed-path", v.project); err != nil {
		return nil, err
	}
	c.end = func() error { return errors.Join(v.ours.delete(), v.other.delete(), os.RemoveAll(v.project)) }
	v.other, err = r.fill(ctx, v.project)
	return v, err
}

// createContest: a sandbox that holds a project.
func createContest(context.Context) (*contest, error) {
	p, err := workspaceCLI()
	if err != nil {
		return nil, err
	}
	r, err := workspaceRunsc()
	if err != nil {
		return nil, err
	}
	project, err := newProject("create")
	if err != nil {
		return nil, err
	}
	const (
		ours   = "`pyro workspace create --seed-path`"
		untar  = "`runsc run --detach`, " + tarIntoRunsc
		seeded = "`tar` to a file, `runsc run` with it as the upper layer"
		what   = "make a sandbox with the project in it"
	)
	return &contest{
		rounds: 7,
		contenders: []contender{
			{name: ours, ours: true, once: func(ctx context.Context) (figures, error) {
				start := time.Now()
				w, err := p.createWorkspace(ctx, workspaceEnvironment, "--seed-path", project)
				until := took(start)
				if err != nil {
					return nil, err
				}
				return until, w.delete()
			}},
			{name: untar, once: func(ctx context.Context) (figures, error) {
				start := time.Now()
				c, err := r.fill(ctx, project)
				until := took(start)
				return until, errors.Join(err, c.delete())
			}},
			{name: seeded, once: func(ctx context.Context) (figures, error) {
				start := time.Now()
				c, err := r.seeded(ctx, project)
				until := took(start)
				return until, errors.Join(err, c.delete())
			}},
		},
		rows: []row{
			{what: what, pyro: ours, other: untar, unit: duration, target: target{figure: 0.8}},
			{what: what, pyro: ours, other: seeded, unit: duration},
		},
		end: func() error { return os.RemoveAll(project) },
	}, nil
}
