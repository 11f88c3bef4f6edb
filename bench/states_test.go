package bench

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// diffContest: ten files of the sandbox have changed.
func diffContest(ctx context.Context) (*contest, error) {
	c := &contest{rounds: 11}
	v, err := newRivals(ctx, c)
	if err != nil {
		return nil, err
	}
	changed, err := newProject("changed")
	if err != nil {
		return nil, err
	}
	inner := c.end
	c.end = func() error { return errors.Join(inner(), os.RemoveAll(changed)) }
	const (
		ours  = "`pyro workspace diff`"
		again = ours + ", again"
		git   = onHost + "`git diff --no-index` of two folders"
		stat  = onHost + "`git diff --no-index --stat`"
		taken = "`runsc exec tar \\| tar`, then that `git diff`"
		what  = "show what differs from the baseline: 10 files"
	)
	_, noGit := exec.LookPath("git")
	compare := func(ctx context.Context, to string, flags ...string) error {
		// Exit code 1 says that there are differences.
		argv := append([]string{"/bin/sh", "-c", `git diff --no-index "$@"; test $? = 1`, "sh"}, flags...)
		var patch strings.Builder
		return theLab.command(ctx, nil, &patch, append(argv, v.project, to)...)
	}
	c.contenders = []contender{
		{name: ours, ours: true, once: func(ctx context.Context) (figures, error) {
			word := edits()
			if _, err := v.ours.exec(ctx, editScript(word)); err != nil {
				return nil, err
			}
			if _, err := v.other.exec(ctx, editScript(word)); err != nil {
				return nil, err
			}
			if err := editOnHost(ctx, changed, word); err != nil {
				return nil, err
			}
			return v.ours.diff(ctx)
		}},
		{name: again, ours: true, once: func(ctx context.Context) (figures, error) { return v.ours.diff(ctx) }},
		{name: git, once: func(ctx context.Context) (figures, error) {
			return timed(func() error { return compare(ctx, changed) })
		}},
		{name: stat, once: func(ctx context.Context) (figures, error) {
			return timed(func() error { return compare(ctx, changed, "--stat") })
		}},
		{name: taken, once: func(ctx context.Context) (figures, error) {
			start := time.Now()
			into, err := theLab.folder("projects/taken")
			if err == nil {
				err = v.other.tar(ctx, into)
			}
			if err == nil {
				err = compare(ctx, into)
			}
			until := took(start)
			return until, errors.Join(err, os.RemoveAll(into))
		}},
	}
	for i := range c.contenders {
		if p := &c.contenders[i]; noGit != nil && !p.ours {
			p.missing = "needs git"
		}
	}
	c.rows = []row{
		{what: what, pyro: ours, other: git, unit: duration, target: target{figure: 0.1}},
		{what: what, pyro: ours, other: stat, unit: duration},
		{what: what, pyro: ours, other: taken, unit: duration},
		{what: "once more, nothing has changed since", pyro: again, other: git, unit: duration},
	}
	return c, nil
}

// snapshotContest: the state of the sandbox is kept; ten files have changed.
func snapshotContest(ctx context.Context) (*contest, error) {
	c := &contest{rounds: 11}
	v, err := newRivals(ctx, c)
	if err != nil {
		return nil, err
	}
	const (
		ours       = "`pyro workspace snapshot create`"
		checkpoint = "`runsc fscheckpoint --leave-running`"
		tar        = onHost + "`tar` of the project to a file"
		what       = "keep the state of a sandbox in which 10 files have changed"
	)
	c.contenders = []contender{
		{name: ours, ours: true, once: func(ctx context.Context) (figures, error) {
			if err := v.ours.edit(ctx); err != nil {
				return nil, err
			}
			return v.ours.snapshot(ctx)
		}},
		{name: checkpoint, once: func(ctx context.Context) (figures, error) {
			start := time.Now()
			dir, err := v.other.checkpoint(ctx)
			until := took(start)
			return until, errors.Join(err, os.RemoveAll(dir))
		}},
		{name: tar, once: func(ctx context.Context) (figures, error) {
			file := filepath.Join(filepath.Dir(v.project), "kept.tar")
			defer os.Remove(file)
			return timed(func() error { return theLab.command(ctx, nil, nil, "tar", "-C", v.project, "-cf", file, ".") })
		}},
	}
	c.rows = []row{
		{what: what, pyro: ours, other: checkpoint, unit: duration, target: target{figure: 0.1}},
		{what: what, pyro: ours, other: tar, unit: duration},
	}
	return c, nil
}

// resetContest: back to the project as it was, until a command has run.
func resetContest(ctx context.Context) (*contest, error) {
	c := &contest{rounds: 9}
	v, err := newRivals(ctx, c)
	if err != nil {
		return nil, err
	}
	saved, err := v.other.checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	const (
		ours     = "`pyro workspace reset`, `exec`"
		untar    = "`runsc delete`, `run --detach`, " + tarIntoRunsc + ", `exec`"
		restored = "`runsc delete`, `run --detach --fs-restore-image-path`, `exec`"
		what     = "throw away 10 changed files and run `true` in a fresh sandbox with the project"
	)
	c.contenders = []contender{
		{name: ours, ours: true, once: func(ctx context.Context) (figures, error) {
			if err := v.ours.edit(ctx); err != nil {
				return nil, err
			}
			return v.ours.reset(ctx)
		}},
		{name: untar, once: func(ctx context.Context) (_ figures, err error) {
			return timed(func() error {
				if err := v.other.delete(); err != nil {
					return err
				}
				if v.other, err = v.other.runsc.fill(ctx, v.project); err != nil {
					return err
				}
				_, err = v.other.exec(ctx, "true")
				return err
			})
		}},
		{name: restored, once: func(ctx context.Context) (figures, error) {
			old, err := v.other.runsc.restored(ctx, saved)
			if err != nil {
				return nil, errors.Join(err, old.delete())
			}
			start := time.Now()
			return firstExec(ctx, start, func() (*container, error) {
				if err := old.delete(); err != nil {
					return old, err
				}
				return old.runsc.restored(ctx, saved)
			})
		}},
	}
	c.rows = []row{
		{what: what, pyro: ours, other: untar, unit: duration, target: target{figure: 0.25}},
		{what: what, pyro: ours, other: restored, unit: duration},
	}
	return c, nil
}
