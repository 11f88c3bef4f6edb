package bench

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// places are where the project lies in the sandbox of placeContest.
var places = []struct{ dir, label string }{
	{"/workspace", inImage},
	{"/root/copy", inLayer}, // of the root file system
}

// placeWork is what is done in both, as scripts for sh. A second time is one
// after warm; without it, one after the script itself.
var placeWork = []struct{ what, script, warm string }{
	{what: "`git status`", script: `test -z "$(git status --porcelain)"`},
	{what: "`grep -r` of all", script: `! grep -r nosuchword d*`},
	{what: "`find \\| xargs stat`", script: `find d* -print0 | xargs -0 stat -c %Y >/dev/null`},
	{what: "`python3` imports 1,000 modules", script: `python3 -B -c '
import importlib, sys
sys.path.insert(0, ".")
for i in range(100):
    for j in range(10):
        importlib.import_module("d%02d.m%d" % (i, j))'`},
	{what: "append a line to 1,000 files", script: `for f in d*/f1*.txt; do echo more >>$f; done`, warm: "cat d*/* >/dev/null"},
	{what: "`cp -a` of all", script: `mkdir new; cp -a d* new`, warm: "cat d*/* >/dev/null"},
	{what: "`rm -r` of all", script: `rm -r d*`, warm: "cat d*/* >/dev/null"},
}

// placeContest: work with files that the sandbox began with as an image, and
// with files that were written in it.
func placeContest(ctx context.Context) (*contest, error) {
	const both = "both"
	p, err := installedCLI("ws", "debian:12-build") // git and Python
	if err != nil {
		return nil, err
	}
	if _, err := exec.LookPath("git"); err != nil {
		return nil, errors.New("needs git")
	}
	project, err := newProject("places")
	if err != nil {
		return nil, err
	}
	commit := `cd "$1"; git init -q .; git add .; git -c user.name=bench -c user.email=bench@localhost -c gc.auto=0 commit -qm all; git gc -q`
	if err := theLab.command(ctx, nil, nil, "/bin/sh", "-ec", commit, "sh", project); err != nil {
		return nil, err
	}
	w, err := p.createWorkspace(ctx, "debian:12-build", "--seed-path", project, "--vcpu-count", "2", "--mem-mib", "2048")
	if err == nil {
		_, err = w.exec(ctx, "cp -a /workspace "+places[1].dir)
	}
	if err == nil {
		err = w.do(ctx, "snapshot create", both)
	}
	if err != nil {
		return nil, err
	}
	c := &contest{rounds: 5, end: func() error { return errors.Join(w.delete(), os.RemoveAll(project)) }}
	for _, work := range placeWork {
		for _, time := range []string{"the first time", "again"} {
			r := row{what: work.what + ", " + time, unit: duration}
			for i, place := range places {
				name := r.what + ", " + place.label
				*[]*string{&r.pyro, &r.other}[i] = name
				c.contenders = append(c.contenders, contender{name: name, label: place.label, ours: true, once: func(ctx context.Context) (figures, error) {
					if err := w.fresh(ctx, both); err != nil {
						return nil, err
					}
					in := "cd " + place.dir + "; "
					if time == "again" {
						warm := work.warm
						if warm == "" {
							warm = work.script
						}
						if _, err := w.exec(ctx, in+warm); err != nil {
							return nil, err
						}
					}
					return timed(func() error {
						_, err := w.exec(ctx, in+work.script)
						return err
					})
				}})
			}
			c.rows = append(c.rows, r)
		}
	}
	return c, nil
}

// fresh gives the workspace a new sandbox with the state of a snapshot, after
// the host has forgotten the workspace's files.
func (w *workspace) fresh(ctx context.Context, snapshot string) error {
	if err := w.do(ctx, "stop"); err != nil { // a running one would hold on to them
		return err
	}
	if err := evict(filepath.Join(theLab.dir, "ws", "s", "workspaces")); err != nil {
		return err
	}
	return w.do(ctx, "reset", "--snapshot", snapshot)
}

// evict has the host forget what it has in memory of the files below dir.
func evict(dir string) error {
	return filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) { // somebody removes things meanwhile
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Sync(); err != nil { // what is not written yet cannot be forgotten
			return err
		}
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}
