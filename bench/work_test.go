package bench

import (
	"context"
	"fmt"
	"os/exec"
	goruntime "runtime"

	"pyro/internal/runtime"
)

// work is what developers do in a sandbox, as scripts for sh. Each makes its
// files in a folder of its own and removes them.
var work = []struct{ what, script string }{
	{"200 processes, one after the other", `i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done`},
	{"computing (Perl)", `perl -e '$x += sqrt($_) for 1..5000000'`},
	{"SHA-256 of 256 MiB through a pipe", `head -c 268435456 /dev/zero | sha256sum >/dev/null`},
	{"write and read 5000 files of 1 kB", `perl -e '
		for (1..5000) { open F, ">", "f$_" or die; print F "x" x 1000; close F }
		for (1..5000) { open F, "<", "f$_" or die; read F, $b, 1000; close F }'`},
	{"git init, add, commit, status of 1000 files", `
		i=0; while [ $i -lt 1000 ]; do echo $i >f$i; i=$((i+1)); done
		git init -q . 2>/dev/null; git add .
		git -c user.name=bench -c user.email=bench@localhost commit -qm all; git status >/dev/null`},
}

func inFolder(script string) []string {
	return []string{"/bin/sh", "-e", "-c", `d=$(mktemp -d); cd "$d"; ` + script + `; cd /; rm -rf "$d"`}
}

// workContest: work inside a sandbox with all CPUs of the host, against the
// same on the host.
func workContest(ctx context.Context) (*contest, error) {
	d, err := newDriver()
	if err != nil {
		return nil, err
	}
	spec := theLab.spec(d.image)
	spec.VCPUs, spec.MemoryBytes = goruntime.NumCPU(), 2<<30
	m, err := theLab.create(ctx, d.Driver, spec)
	if err != nil {
		return nil, err
	}
	_, noGit := exec.LookPath("git")
	c := &contest{rounds: 5, end: func() error { return d.remove(m) }}
	for i, w := range work {
		argv := inFolder(w.script)
		ours, other := fmt.Sprintf("sandbox %d", i), fmt.Sprintf("host %d", i)
		host := contender{name: other, label: "on the host", once: func(ctx context.Context) (figures, error) {
			return timed(func() error { return theLab.command(ctx, nil, nil, argv...) })
		}}
		if noGit != nil {
			host.missing = "needs git"
		}
		c.contenders = append(c.contenders, host, contender{
			name: ours, label: "in a sandbox", ours: true, once: func(ctx context.Context) (figures, error) {
				return timed(func() error { return execute(ctx, m, runtime.Command{Argv: argv, Dir: "/"}) })
			},
		})
		c.rows = append(c.rows, row{what: w.what, pyro: ours, other: other, unit: duration})
	}
	return c, nil
}
