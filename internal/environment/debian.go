package environment

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"pyro/api"
	"pyro/internal/debian"
)

// debianBuilder builds with package debian.
type debianBuilder struct {
	getenv func(string) string
	log    *slog.Logger
}

func (b debianBuilder) build(ctx context.Context, r buildRequest) (*buildResult, error) {
	mirrors, err := debian.FindMirrors(os.DirFS("/"), b.getenv)
	if err != nil {
		return nil, err
	}
	r.report.begin(phaseResolve, fmt.Sprintf("mirror %s (from %s)", redact(mirrors.Main), mirrors.MainFrom))
	seen := &lastSeen{path: filepath.Join(r.cache.indexes(), "last-seen.json")}
	seen.load()
	o := debian.Options{
		Mirrors: mirrors, Suites: r.suites, Arch: r.arch, Packages: r.packages,
		Base: r.base, Blobs: r.cache, SpoolDir: r.spoolDir, LastSeen: seen.date,
		Progress: func(p debian.Phase, done, total int64) {
			step := debianPhases[p]
			if total > 0 {
				done = min(done, total) // triggers configure packages of the base again
			}
			r.report.step(step.phase, done, total, step.unit, "")
		},
		Configure: func(ctx context.Context, job debian.Job) (io.ReadCloser, error) {
			return r.configure(ctx, job.Tree, job.Args, job.Env, job.Output)
		},
	}
	if r.baseLock != nil {
		if err := checkBase(ctx, o, r); err != nil {
			return nil, err
		}
	}
	res, err := debian.Build(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := seen.add(r.spoolDir, res.Releases); err != nil {
		b.log.Warn("the dates of the archive could not be remembered", "error", err)
	}
	return &buildResult{
		tree: res.Tree, modTime: res.ModTime, mirror: redact(mirrors.Main),
		packages: joinLocks(r.baseLock, lockOf(res.Lock)), releases: releasesOf(res.Releases),
	}, nil
}

var debianPhases = map[debian.Phase]struct{ phase, unit string }{
	debian.PhaseIndex:     {phaseResolve, "bytes"},
	debian.PhaseDownload:  {phaseDownload, "bytes"},
	debian.PhaseUnpack:    {phaseUnpack, "packages"},
	debian.PhaseConfigure: {phaseConfigure, "packages"},
	debian.PhaseMerge:     {phaseImage, ""},
}

// checkBase returns errStaleBase unless the archive would install every package
// of the base in the very version that is there: an environment must not carry
// old packages only because another one was installed earlier.
func checkBase(ctx context.Context, o debian.Options, r buildRequest) error {
	o.Base, o.Packages, o.Configure = nil, r.allPackages, nil
	plan, err := debian.Resolve(ctx, o)
	if err != nil {
		return err
	}
	now := lockOf(plan.Lock)
	for _, p := range r.baseLock {
		if !slices.Contains(now, p) {
			return fmt.Errorf("%w: %s %s", errStaleBase, p.Name, p.Version)
		}
	}
	return nil
}

func lockOf(packages []debian.LockedPackage) []api.Package {
	out := make([]api.Package, len(packages))
	for i, p := range packages {
		out[i] = api.Package(p)
	}
	return out
}

func joinLocks(base, added []api.Package) []api.Package {
	all := slices.Concat(base, added)
	slices.SortFunc(all, comparePackages)
	return all
}

func releasesOf(releases []debian.Release) []Release {
	out := make([]Release, len(releases))
	for i, r := range releases {
		out[i] = Release{Mirror: redact(r.Mirror), Suite: r.Name, SHA256: r.SHA256, Date: r.Date.UTC()}
	}
	return out
}

// redact takes a password out of a URL that is shown or stored.
func redact(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		return s
	}
	return u.Redacted()
}

// lastSeen remembers the newest date of each suite's InRelease file, so that an
// older one is refused later: a mirror that keeps still hides security fixes.
type lastSeen struct {
	path string

	mu    sync.Mutex // guards dates
	dates map[string]time.Time
}

const maxLastSeenFile = 1 << 20

func seenKey(s debian.Suite) string { return redact(s.Mirror) + " " + s.Name }

// load reads the file. One that is missing or damaged means that nothing was seen.
func (l *lastSeen) load() {
	dates := map[string]time.Time{}
	if data, err := readSmall(l.path, maxLastSeenFile); err == nil && json.Unmarshal(data, &dates) != nil {
		clear(dates)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dates = dates
}

func (l *lastSeen) date(s debian.Suite) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dates[seenKey(s)]
}

// add stores what a build accepted. Two builds at once may lose the date of one;
// the next build writes it again.
func (l *lastSeen) add(scratch string, releases []debian.Release) error {
	l.load()
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := false
	for _, r := range releases {
		if key := seenKey(r.Suite); r.Date.After(l.dates[key]) {
			if l.dates == nil {
				l.dates = map[string]time.Time{}
			}
			l.dates[key] = r.Date.UTC()
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return writeJSON(scratch, l.path, l.dates)
}
