package bench

import (
	"context"
	"errors"
	"os"
	"time"

	"pyro/api"
)

const (
	// quietCrowd is how many workspaces do nothing at the same time.
	quietCrowd = 10
	// quietTime is how long they are watched.
	quietTime = 30 * time.Second
)

// quietContest: what workspaces cost that do nothing.
func quietContest(ctx context.Context) (*contest, error) {
	c := &contest{rounds: 2}
	p, err := workspaceCLI()
	if err != nil {
		return nil, err
	}
	r, err := workspaceRunsc()
	if err != nil {
		return nil, err
	}
	project, err := newProject("quiet")
	if err != nil {
		return nil, err
	}
	var spaces []*workspace
	var containers []*container
	c.end = func() error {
		var errs []error
		for _, w := range spaces {
			errs = append(errs, w.delete())
		}
		for _, c := range containers {
			errs = append(errs, c.delete())
		}
		return errors.Join(append(errs, os.RemoveAll(project))...)
	}
	for range quietCrowd {
		w, err := p.createWorkspace(ctx, workspaceEnvironment, "--seed-path", project)
		if err != nil {
			return nil, err
		}
		spaces = append(spaces, w)
		if _, err := w.exec(ctx, editScript("once")); err != nil {
			return nil, err
		}
		other, err := r.fill(ctx, project)
		containers = append(containers, other)
		if err == nil {
			_, err = other.exec(ctx, editScript("once"))
		}
		if err != nil {
			return nil, err
		}
	}
	const ours, other = "background process and sandboxes", "`runsc`, filled by `tar`"
	c.contenders = []contender{
		{name: ours, ours: true, once: func(ctx context.Context) (figures, error) {
			var daemon api.DaemonInfo
			if err := p.answer(ctx, &daemon, "daemon", "status"); err != nil {
				return nil, err
			}
			// The folder of p: no other contest uses it.
			return quiet(ctx, theLab.dir+"/ws", daemon.PID)
		}},
		{name: other, once: func(ctx context.Context) (figures, error) { return quiet(ctx, r.dir, 0) }},
	}
	const each = "each of 10 sandboxes that do nothing, "
	c.rows = []row{
		{what: each + "CPU time in 30 s", figure: "CPU", pyro: ours, other: other, unit: duration},
		{what: each + "of that the background process", figure: "CPU of one", pyro: ours, other: other, unit: duration},
		{what: each + "memory (PSS)", figure: "PSS", pyro: ours, other: other, unit: megabytes},
		{what: each + "of that the background process", figure: "PSS of one", pyro: ours, other: other, unit: megabytes},
	}
	return c, nil
}

// quiet measures what the processes of a folder take, in all and one of them.
func quiet(ctx context.Context, dir string, one int) (figures, error) {
	select { // what was done last is being saved
	case <-time.After(settle):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	all := processesOf(dir, true)
	before, beforeOne := cpuTime(all), cpuTime([]int{one})
	select {
	case <-time.After(quietTime):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	v := figures{"CPU": (cpuTime(all) - before) / quietCrowd, "PSS": pss(all) / quietCrowd}
	if one > 0 {
		v["CPU of one"], v["PSS of one"] = (cpuTime([]int{one})-beforeOne)/quietCrowd, pss([]int{one})/quietCrowd
	}
	return v, nil
}
