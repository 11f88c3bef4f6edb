package environment

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"pyro/api"
	"pyro/internal/oci"
	"pyro/internal/tree"
)

// packageBuilder makes a root file system of packages; package debian does. It
// is an interface so that everything around it can be tested without an archive.
type packageBuilder interface {
	build(ctx context.Context, r buildRequest) (*buildResult, error)
}

type buildRequest struct {
	suites, components []string
	arch               string
	packages           []string   // to install
	base               *tree.Tree // to add to, or nil; it is changed
	// baseLock, if not nil, is what the base holds. The build is refused with
	// errStaleBase when the archive has something newer for it; allPackages is
	// what was asked for in the base and here.
	baseLock    []api.Package
	allPackages []string
	cache       *cache
	spoolDir    string
	// configure runs the maintainer scripts of a stage tree in a sandbox. Their
	// standard output goes to output as well.
	configure func(ctx context.Context, stage *tree.Tree, argv, env []string, output io.Writer) (upper io.ReadCloser, err error)
	report    *reporter
}

type buildResult struct {
	tree     *tree.Tree // the base, if there was one
	modTime  time.Time
	packages []api.Package // everything that is installed in the tree
	releases []Release
	mirror   string
}

// errStaleBase is returned by a packageBuilder that cannot add to a base because
// the archive has moved on.
var errStaleBase = errors.New("the base is older than the archive")

// base is what a recipe extends.
type base struct {
	tree    *tree.Tree
	release func()
	digest  string        // of the installed image, or of the image manifest
	lock    []api.Package // of the installed image
	config  oci.Config
}

// build makes the root file system of a recipe.
//
// A recipe that extends an image of a registry starts from that. One that
// extends an environment starts from its image if that is installed and the
// archive has nothing newer for it; otherwise the packages of all recipes down
// the chain are installed at once, which costs less than building each link.
func (m *Manager) build(ctx context.Context, j *job, e *Entry, report *reporter) (*rootfs, error) {
	if m.configure == nil {
		return nil, api.Errorf(api.KindUnavailable, "its packages must be configured in a sandbox, and this host can run none").
			WithHint("pyro doctor")
	}
	chain, ref, err := m.chain(e)
	if err != nil {
		return nil, err
	}
	if ref != nil {
		under, err := m.pullImage(ctx, j, *ref, report)
		if err != nil {
			return nil, err
		}
		b := &base{tree: under.tree, digest: under.meta.Source.Digest, config: under.meta.Config}
		return m.buildOn(ctx, j, chain, len(chain), b, report)
	}
	if len(chain) > 1 {
		r, err := m.buildOnInstalled(ctx, j, chain, report)
		if r != nil || !errors.Is(err, errStaleBase) {
			return r, err
		}
	}
	return m.buildOn(ctx, j, chain, len(chain), nil, report)
}

// chain returns the entry and the entries it extends, itself first, and the
// image reference at the end of the chain if there is one.
func (m *Manager) chain(e *Entry) ([]*Entry, *oci.Reference, error) {
	chain := []*Entry{e}
	for {
		last := chain[len(chain)-1]
		if last.Recipe == nil {
			ref, err := last.OCI.reference()
			return chain[:len(chain)-1], &ref, err
		}
		if last.Recipe.Extends == "" {
			return chain, nil, nil
		}
		ref, err := parseExtends(last.Recipe.Extends)
		if ref != nil || err != nil {
			return chain, ref, err
		}
		next, err := m.lookup(last.Recipe.Extends)
		if err != nil {
			return nil, nil, err
		}
		if next.entry == nil {
			return nil, nil, api.Errorf(api.KindUnsupported, "%s extends %s, which has no recipe", last.Name, next.name)
		}
		if slices.ContainsFunc(chain, func(c *Entry) bool { return c.Name == next.name }) {
			return nil, nil, api.Errorf(api.KindUsage, "%s extends %s, which extends it in turn", last.Name, next.name).
				WithHint("edit the file of one of them")
		}
		chain = append(chain, next.entry)
	}
}

func packagesOf(chain []*Entry) []string {
	var all []string
	for _, e := range chain {
		all = append(all, e.Recipe.Packages...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// buildOnInstalled builds on the nearest installed link of the chain. errStaleBase
// says that there is none of use.
func (m *Manager) buildOnInstalled(ctx context.Context, j *job, chain []*Entry, report *reporter) (*rootfs, error) {
	for i := 1; i < len(chain); i++ {
		img, err := m.Acquire(ctx, chain[i].Name)
		if err != nil {
			continue // not installed or damaged: not worth a word, it is only a shortcut
		}
		defer img.Release()
		if slices.IndexFunc(chain[:i], func(e *Entry) bool { return !slices.Equal(e.Recipe.Suites, chain[i].Recipe.Suites) }) >= 0 {
			return nil, errStaleBase
		}
		meta, err := m.cache.readMeta(img.Digest)
		if err != nil || len(meta.Packages) == 0 {
			return nil, errStaleBase
		}
		t, release, err := m.openImage(img.Digest, j.dir)
		if err != nil {
			return nil, err
		}
		b := &base{tree: t, release: release, digest: img.Digest, lock: meta.Packages, config: meta.Config}
		return m.buildOn(ctx, j, chain, i, b, report)
	}
	return nil, errStaleBase
}

// buildOn builds the packages of the first links of a chain, on a base if there
// is one, which it owns from here on.
func (m *Manager) buildOn(ctx context.Context, j *job, chain []*Entry, links int, b *base, report *reporter) (*rootfs, error) {
	e := chain[0]
	req := buildRequest{
		suites: e.Recipe.Suites, components: e.Recipe.Components, arch: m.arch,
		packages: packagesOf(chain[:links]), allPackages: packagesOf(chain),
		cache: m.cache, spoolDir: j.dir, report: report,
		configure: func(ctx context.Context, stage *tree.Tree, argv, env []string, output io.Writer) (io.ReadCloser, error) {
			return m.runScripts(ctx, j, stage, argv, env, output, report)
		},
	}
	release := func() {}
	if b != nil {
		req.base, req.baseLock = b.tree, b.lock
		if b.release != nil {
			release = b.release
		}
	}
	res, err := m.packages.build(ctx, req)
	if err != nil {
		if b != nil {
			b.tree.Close()
		}
		release()
		return nil, err
	}
	meta := Meta{
		Source:       Source{Kind: FromDebian, Location: res.mirror},
		RecipeDigest: recipeDigest(e.Recipe, m.arch, res.packages),
		Packages:     res.packages,
		Releases:     res.releases,
	}
	if b != nil {
		meta.Source.Extends, meta.Config = b.digest, b.config
	}
	return &rootfs{tree: res.tree, modTime: res.modTime, meta: meta, release: release}, nil
}
