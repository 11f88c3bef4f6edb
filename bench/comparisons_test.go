package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// Contenders of several contests.
const (
	inProcess  = "in the background process"
	asCommand  = "`pyro run`"
	runscSteps = "`runsc create`, `start`, `exec`"
	runscQuick = "`runsc run --detach`, `exec`"
	runscRun   = "`runsc run`"
)

// maker makes a contest; making may install things.
type maker struct {
	title string
	make  func(ctx context.Context) (*contest, error)
}

// runComparisons is the program behind make bench.
func runComparisons(ctx context.Context) error {
	machine := describeMachine()
	var table strings.Builder
	err := hold(ctx, &table, []maker{
		{"start", startContest},
		{"exec", execContest},
		{"version", versionContest},
		{"idle", idleContest},
		{"many", manyContest},
	})
	if err != nil {
		return err
	}
	var work strings.Builder
	if err := hold(ctx, &work, []maker{{"work", workContest}}); err != nil {
		return err
	}
	return publish(*docFlag, [2]string{"machine", machine}, [2]string{"comparison", table.String()}, [2]string{"work", work.String()})
}

// hold holds the contests that -only picks and writes their table.
func hold(ctx context.Context, table *strings.Builder, makers []maker) error {
	only, err := regexp.Compile(*onlyFlag)
	if err != nil {
		return err
	}
	if *onlyFlag != "" && *docFlag != "" {
		return fmt.Errorf("-only makes a part of a table, which -doc does not take")
	}
	table.WriteString(tableHead)
	for _, m := range makers {
		if !only.MatchString(m.title) {
			continue
		}
		c, err := m.make(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", m.title, err)
		}
		c.title = m.title
		if *roundsFlag > 0 {
			c.rounds = *roundsFlag
		}
		got, err := c.run(ctx)
		if c.end != nil {
			err = errors.Join(err, c.end())
		}
		if err != nil {
			return err
		}
		c.render(table, got)
	}
	return nil
}

// startContest: from nothing to the end of a first command.
func startContest(ctx context.Context) (*contest, error) {
	d, err := newDriver()
	if err != nil {
		return nil, err
	}
	raw, err := newRunsc()
	if err != nil {
		return nil, err
	}
	c := &contest{rounds: 25, contenders: []contender{
		{name: inProcess, ours: true, once: func(ctx context.Context) (figures, error) { return d.life(ctx, false) }},
		{name: runscSteps, once: func(ctx context.Context) (figures, error) { return raw.life(ctx, true) }},
		{name: runscQuick, once: func(ctx context.Context) (figures, error) { return raw.life(ctx, false) }},
		{name: inProcess + ", with removal", ours: true, once: func(ctx context.Context) (figures, error) { return d.life(ctx, true) }},
		{name: runscRun, once: func(ctx context.Context) (figures, error) {
			return timed(func() error { return raw.run(ctx, "run", "--bundle="+raw.bundle("true"), raw.newID()) })
		}},
		bubblewrap(),
		{name: "a plain process", once: func(ctx context.Context) (figures, error) {
			return timed(func() error { return theLab.command(ctx, nil, nil, "/bin/true") })
		}},
	}}
	const first, whole = "make a sandbox, run `true` in it", "make a sandbox, run `true` in it, remove it"
	c.rows = []row{
		{what: first, pyro: inProcess, other: runscSteps, unit: duration, target: target{ratio: 1.2}},
		{what: first, pyro: inProcess, other: runscQuick, unit: duration, target: target{ratio: 1.2}},
		{what: whole, pyro: inProcess + ", with removal", other: runscRun, unit: duration},
	}
	command, err := pyroRun()
	if err != nil {
		return nil, err
	}
	c.contenders = append(c.contenders, command)
	c.rows = append(c.rows,
		row{what: whole, pyro: asCommand, other: runscRun, unit: duration, target: target{ratio: 1.2}},
		row{what: whole, pyro: asCommand, other: bubblewrap().name, unit: duration},
		row{what: "the same without a sandbox", pyro: asCommand, other: "a plain process", unit: duration},
	)
	return c, nil
}

func timed(f func() error) (figures, error) {
	start := time.Now()
	err := f()
	return took(start), err
}

// pyroRun is the command, with the background process running already.
func pyroRun() (contender, error) {
	if testImage() != "" {
		return contender{name: asCommand, ours: true, missing: "PYRO_TEST_IMAGE is set"}, nil
	}
	p, err := warmCLI()
	return contender{name: asCommand, ours: true, once: func(ctx context.Context) (figures, error) {
		return timed(func() error { return p.run(ctx, "run", environment, "--", "true") })
	}}, err
}

// bubblewrap isolates by namespaces alone: the guest talks to the host's
// kernel. Its root is the host's, read-only.
func bubblewrap() contender {
	c := contender{name: "`bwrap --unshare-all --ro-bind / /`"}
	path, err := exec.LookPath("bwrap")
	if err != nil {
		c.missing = "needs bwrap from bubblewrap"
	}
	c.once = func(ctx context.Context) (figures, error) {
		return timed(func() error {
			return theLab.command(ctx, nil, nil, path, "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "/bin/true")
		})
	}
	return c
}

// execContest: one more command in a sandbox that runs.
func execContest(ctx context.Context) (*contest, error) {
	d, err := newDriver()
	if err != nil {
		return nil, err
	}
	raw, err := newRunsc()
	if err != nil {
		return nil, err
	}
	m, err := d.create(ctx)
	if err != nil {
		return nil, err
	}
	id := raw.newID()
	if err := raw.start(ctx, id, false); err != nil {
		return nil, err
	}
	return &contest{
		rounds: 101,
		contenders: []contender{
			{name: inProcess, ours: true, once: func(ctx context.Context) (figures, error) {
				return timed(func() error { return execTrue(ctx, m) })
			}},
			{name: "`runsc exec`", once: func(ctx context.Context) (figures, error) {
				return timed(func() error { return raw.run(ctx, "exec", id, "/bin/true") })
			}},
		},
		rows: []row{{what: "one more `true` in a sandbox that runs", pyro: inProcess, other: "`runsc exec`", unit: duration, target: target{ratio: 0.5}}},
		end:  func() error { return errors.Join(d.remove(m), raw.delete(id)) },
	}, nil
}

// versionContest: the start of the program itself.
func versionContest(context.Context) (*contest, error) {
	bin, err := pyroProgram()
	if err != nil {
		return nil, err
	}
	raw, err := newRunsc()
	if err != nil {
		return nil, err
	}
	version := func(path string) func(context.Context) (figures, error) {
		return func(ctx context.Context) (figures, error) {
			return timed(func() error { return theLab.command(ctx, nil, nil, path, "--version") })
		}
	}
	const ours, other = "`pyro --version`", "`runsc --version`"
	return &contest{
		rounds:     51,
		contenders: []contender{{name: ours, ours: true, once: version(bin)}, {name: other, once: version(raw.program)}},
		rows:       []row{{what: "start of the program", pyro: ours, other: other, unit: duration, target: target{figure: 0.020}}},
	}, nil
}
