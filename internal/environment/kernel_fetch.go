package environment

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"pyro/internal/debian"
)

// kernelFetcher gets kernels; package debian does. It is an interface so that
// everything around it can be tested without an archive.
type kernelFetcher interface {
	fetch(ctx context.Context, r kernelRequest) (k *debian.Kernel, from string, err error)
}

type kernelRequest struct {
	entry   *KernelEntry
	arch    string
	cache   *cache
	scratch string
	report  *reporter
}

// debianKernels gets them from the archive.
type debianKernels struct {
	getenv func(string) string
	log    *slog.Logger
}

func (d debianKernels) fetch(ctx context.Context, r kernelRequest) (*debian.Kernel, string, error) {
	mirrors, err := debian.FindMirrors(os.DirFS("/"), d.getenv)
	if err != nil {
		return nil, "", err
	}
	r.report.begin(phaseResolve, fmt.Sprintf("mirror %s (from %s)", redact(mirrors.Main), mirrors.MainFrom))
	seen := &lastSeen{path: filepath.Join(r.cache.indexes(), "last-seen.json")}
	seen.load()
	k, err := debian.FetchKernel(ctx, debian.Options{
		Mirrors: mirrors, Suites: r.entry.Suites, Arch: r.arch, Packages: []string{r.entry.Package},
		Blobs: r.cache, LastSeen: seen.date,
		Progress: func(p debian.Phase, done, total int64) {
			step := debianPhases[p]
			r.report.step(step.phase, done, total, step.unit, "")
		},
	}, r.entry.Modules)
	if err != nil {
		return nil, "", err
	}
	if err := seen.add(r.scratch, k.Releases); err != nil {
		d.log.Warn("the dates of the archive could not be remembered", "error", err)
	}
	return k, redact(mirrors.Main), nil
}
