package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"pyro/internal/runtime"
)

// crowd is how many sandboxes are there at the same time.
const crowd = 50

// settle is how long new sandboxes are left alone before their memory counts.
const settle = 5 * time.Second

// each runs f for every sandbox of the crowd, so many at a time.
func each(ctx context.Context, parallel int, f func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := range crowd {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return f(ctx, i)
		})
	}
	return g.Wait()
}

// group is a crowd of sandboxes of one kind.
type group struct {
	create func(ctx context.Context, i int) error // makes the i-th, and runs a command in it if so asked
	remove func(i int) error
	folder string // which its processes name
}

func (d driver) group(withCommand bool) group {
	machines := make([]runtime.Machine, crowd)
	return group{
		folder: theLab.dir + "/driver",
		create: func(ctx context.Context, i int) (err error) {
			if machines[i], err = d.create(ctx); err == nil && withCommand {
				err = execTrue(ctx, machines[i])
			}
			return err
		},
		remove: func(i int) error {
			if machines[i] == nil {
				return nil
			}
			return d.remove(machines[i])
		},
	}
}

func (r *runsc) group(withCommand bool) group {
	ids := make([]string, crowd)
	return group{
		folder: r.dir,
		create: func(ctx context.Context, i int) error {
			ids[i] = r.newID()
			err := r.start(ctx, ids[i], false)
			if err == nil && withCommand {
				err = r.run(ctx, "exec", ids[i], "/bin/true")
			}
			return err
		},
		remove: func(i int) error {
			if ids[i] == "" {
				return nil
			}
			return r.delete(ids[i])
		},
	}
}

// makeAll makes the crowd, has it measured and removes it.
func (g group) makeAll(ctx context.Context, parallel int, measure func() (figures, error)) (figures, error) {
	err := each(ctx, parallel, g.create)
	var values figures
	if err == nil {
		values, err = measure()
	}
	removeErr := each(context.Background(), 4, func(_ context.Context, i int) error { return g.remove(i) })
	return values, errors.Join(err, removeErr)
}

// memory is what each of an idle crowd holds.
func (g group) memory(ctx context.Context) (figures, error) {
	before, err := meminfo("MemAvailable")
	if err != nil {
		return nil, err
	}
	return g.makeAll(ctx, 2, func() (figures, error) {
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		after, err := meminfo("MemAvailable")
		return figures{
			"MemAvailable": (before - after) / crowd,
			"PSS":          pss(processesOf(g.folder, true)) / crowd,
		}, err
	})
}

// idleContest: the memory of a sandbox that does nothing.
func idleContest(context.Context) (*contest, error) {
	d, raw, err := both()
	if err != nil {
		return nil, err
	}
	const ours, other, what = "agent, idle", "`runsc`, `sleep`", "memory of each of 50 idle sandboxes, "
	return &contest{
		rounds: 3,
		contenders: []contender{
			{name: ours, ours: true, once: func(ctx context.Context) (figures, error) { return d.group(false).memory(ctx) }},
			{name: other, once: func(ctx context.Context) (figures, error) { return raw.group(false).memory(ctx) }},
		},
		rows: []row{
			{what: what + "`MemAvailable`", figure: "MemAvailable", pyro: ours, other: other, unit: megabytes, target: target{figure: 17e6}},
			{what: what + "PSS of their processes", figure: "PSS", pyro: ours, other: other, unit: megabytes, target: target{figure: 17e6}},
		},
	}, nil
}

// manyContest: 50 sandboxes at once, each with a command.
func manyContest(context.Context) (*contest, error) {
	d, raw, err := both()
	if err != nil {
		return nil, err
	}
	c := &contest{rounds: 3}
	for _, parallel := range []int{2, 8} {
		race := func(g func(bool) group) func(ctx context.Context) (figures, error) {
			return func(ctx context.Context) (figures, error) {
				start := time.Now()
				return g(true).makeAll(ctx, parallel, func() (figures, error) { return took(start), nil })
			}
		}
		suffix := fmt.Sprintf(", %d at a time", parallel)
		ours, other := inProcess+suffix, runscQuick+suffix
		c.contenders = append(c.contenders,
			contender{name: ours, ours: true, once: race(d.group)},
			contender{name: other, once: race(raw.group)})
		c.rows = append(c.rows, row{
			what: "50 sandboxes that live at once, `true` in each" + suffix,
			pyro: ours, other: other, unit: duration, target: target{ratio: 1.2},
		})
	}
	return c, nil
}

// both are the contenders of most contests.
func both() (driver, *runsc, error) {
	d, err := newDriver()
	if err != nil {
		return driver{}, nil, err
	}
	raw, err := newRunsc()
	return d, raw, err
}
