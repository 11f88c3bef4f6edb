package bench

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pyro/internal/debian"
)

// runBuilds is the program behind make bench-environments.
func runBuilds(ctx context.Context) error {
	var table strings.Builder
	err := hold(ctx, &table, []maker{
		{"debian:12-base", buildContest("debian:12-base")},
		{"debian:12", buildContest("debian:12")},
		{"debian:12-build", buildContest("debian:12-build")},
	})
	if err != nil {
		return err
	}
	return publish(*docFlag, [2]string{"environments", describeMachine() + "\n" + table.String()})
}

// buildContest: an environment from the Debian archive, with nothing cached.
func buildContest(name string) func(context.Context) (*contest, error) {
	return func(context.Context) (*contest, error) {
		const ours, other = "`pyro env pull`", "`mmdebstrap --variant=minbase`"
		builder := contender{name: other}
		if _, err := exec.LookPath("mmdebstrap"); err != nil {
			builder.missing = "needs mmdebstrap"
		}
		packages, err := packagesOf(name)
		if err != nil {
			return nil, err
		}
		builder.once = func(ctx context.Context) (figures, error) { return mmdebstrap(ctx, packages) }
		return &contest{
			rounds: 2,
			contenders: []contender{
				{name: ours, ours: true, once: func(ctx context.Context) (figures, error) { return coldPull(ctx, name) }},
				builder,
			},
			rows: []row{{what: name + ", nothing cached", pyro: ours, other: other, unit: duration, target: target{ratio: 1}}},
		}, nil
	}
}

// coldPull installs an environment with an empty cache and no background
// process.
func coldPull(ctx context.Context, name string) (figures, error) {
	dir, err := theLab.folder("build")
	if err != nil {
		return nil, err
	}
	p, err := newCLI("build", filepath.Join(dir, "cache"))
	if err != nil {
		return nil, err
	}
	start := time.Now()
	err = p.run(ctx, "env", "pull", name)
	until := took(start)
	return until, errors.Join(err, p.stop(context.WithoutCancel(ctx)), os.RemoveAll(dir))
}

// mmdebstrap builds the same root file system as root, from the same mirrors
// and suites, into a tar file.
func mmdebstrap(ctx context.Context, packages []string) (figures, error) {
	mirrors, err := debian.FindMirrors(os.DirFS("/"), os.Getenv)
	if err != nil {
		return nil, err
	}
	dir, err := theLab.folder("build")
	if err != nil {
		return nil, err
	}
	argv := []string{
		"mmdebstrap", "--mode=root", "--variant=minbase", "--include=" + strings.Join(packages, ","),
		"bookworm", filepath.Join(dir, "rootfs.tar"),
	}
	for _, suite := range []string{"bookworm", "bookworm-updates", "bookworm-security"} {
		mirror := mirrors.Main
		if strings.HasSuffix(suite, "-security") {
			mirror = mirrors.Security
		}
		argv = append(argv, "deb "+mirror+" "+suite+" main")
	}
	start := time.Now()
	err = theLab.command(ctx, nil, nil, argv...)
	return took(start), errors.Join(err, os.RemoveAll(dir))
}

// catalogEntry is what matters here of an entry of the catalogue.
type catalogEntry struct {
	Name   string
	Recipe struct {
		Extends  string
		Packages []string
	}
}

// packagesOf reads the packages that the catalogue adds to the essential ones.
func packagesOf(name string) ([]string, error) {
	b, err := os.ReadFile("../internal/environment/catalog.json")
	if err != nil {
		return nil, err
	}
	var catalog struct{ Environments []catalogEntry }
	if err := json.Unmarshal(b, &catalog); err != nil {
		return nil, err
	}
	var packages []string
	for name != "" {
		i := slices.IndexFunc(catalog.Environments, func(e catalogEntry) bool { return e.Name == name })
		if i < 0 {
			return nil, errors.New("the catalogue has no " + name)
		}
		recipe := catalog.Environments[i].Recipe
		packages = append(packages, recipe.Packages...)
		name = recipe.Extends
	}
	return packages, nil
}
