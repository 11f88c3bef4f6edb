package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// editOnHost edits a project on the host.
func editOnHost(ctx context.Context, project, word string) error {
	return theLab.command(ctx, nil, nil, "/bin/sh", "-ec", `cd "$1"; `+editScript(word), "sh", project)
}

// pushContest: ten files of the host's project have changed.
func pushContest(ctx context.Context) (*contest, error) {
	c := &contest{rounds: 11}
	v, err := newRivals(ctx, c)
	if err != nil {
		return nil, err
	}
	const ours, other = "`pyro workspace sync push`", tarIntoRunsc + " of all"
	c.contenders = []contender{
		{name: ours, ours: true, once: func(ctx context.Context) (figures, error) {
			if err := editOnHost(ctx, v.project, edits()); err != nil {
				return nil, err
			}
			return v.ours.push(ctx, v.project)
		}},
		{name: other, once: func(ctx context.Context) (figures, error) {
			return timed(func() error { return v.other.untar(ctx, v.project) })
		}},
	}
	c.rows = []row{{what: "bring 10 files that changed on the host into the sandbox", pyro: ours, other: other, unit: duration, target: target{figure: 0.1}}}
	return c, nil
}

// exportContest: the project comes out of the sandbox.
func exportContest(ctx context.Context) (*contest, error) {
	c := &contest{rounds: 7}
	v, err := newRivals(ctx, c)
	if err != nil {
		return nil, err
	}
	const (
		ours  = "`pyro workspace export`"
		host  = onHost + "`tar \\| tar`"
		taken = "`runsc exec tar \\| tar`"
		what  = "copy the whole project to a folder of the host"
	)
	// into has f fill an empty folder of the host, which must hold all files then.
	into := func(f func(dir string) error) (figures, error) {
		dir, err := theLab.folder("projects/exported")
		if err != nil {
			return nil, err
		}
		until, err := timed(func() error { return f(dir) })
		if err == nil {
			err = wholeProject(dir)
		}
		return until, errors.Join(err, os.RemoveAll(dir))
	}
	c.contenders = []contender{
		{name: ours, ours: true, once: func(ctx context.Context) (figures, error) {
			return into(func(dir string) error {
				return v.ours.do(ctx, "export", ".", "--output", filepath.Join(dir, "workspace"))
			})
		}},
		{name: host, once: func(ctx context.Context) (figures, error) {
			return into(func(dir string) error {
				return theLab.command(ctx, nil, nil, "/bin/sh", "-c", `tar -C "$1" -cf - . | tar -C "$2" -xf -`, "sh", v.project, dir)
			})
		}},
		{name: taken, once: func(ctx context.Context) (figures, error) {
			return into(func(dir string) error { return v.other.tar(ctx, dir) })
		}},
	}
	c.rows = []row{
		{what: what, pyro: ours, other: host, unit: duration},
		{what: what, pyro: ours, other: taken, unit: duration},
	}
	return c, nil
}

// wholeProject makes sure that all files of the project are somewhere below dir.
func wholeProject(dir string) error {
	files := 0
	err := filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files++
		}
		return err
	})
	if err == nil && files != projectFiles {
		err = fmt.Errorf("%d files have arrived, want %d", files, projectFiles)
	}
	return err
}
