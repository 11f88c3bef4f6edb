package debian

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pyro/api"
)

// maxPackages bounds an unpacked Packages index; Debian's main has 50 MB.
const maxPackages = 1 << 30

// Index is what the suites of a build offer.
type Index struct {
	Releases []*Release // in the order of the suites asked for
	byName   map[string][]*Package
	// provided lists who provides a name, see [Index.providers].
	provided map[string][]*Package
}

// add takes p over. The first of two equal versions stays.
func (x *Index) add(p *Package) { x.byName[p.Name] = append(x.byName[p.Name], p) }

// finish sorts the versions of every package and finds what is provided.
func (x *Index) finish() {
	x.provided = map[string][]*Package{}
	for _, versions := range x.byName {
		if len(versions) > 1 {
			slices.SortStableFunc(versions, func(a, b *Package) int { return compareVersions(b.Version, a.Version) })
		}
		p := versions[0]
		if p.provides == "" {
			continue
		}
		provides, _ := ParseDepends(p.provides)
		for _, alts := range provides {
			x.provided[alts[0].Name] = append(x.provided[alts[0].Name], p)
		}
	}
	for _, providers := range x.provided {
		slices.SortFunc(providers, func(a, b *Package) int {
			return cmp.Or(cmp.Compare(priorityRank(a), priorityRank(b)), cmp.Compare(a.Name, b.Name))
		})
	}
}

// priorityRank orders packages that are equally good otherwise.
func priorityRank(p *Package) int {
	if i := slices.Index([]string{"required", "important", "standard", "optional"}, p.Priority); i >= 0 {
		return i
	}
	return 4
}

// indexer loads an Index.
type indexer struct {
	store    store
	keys     Keyring
	arch     string
	lastSeen func(Suite) time.Time
	now      time.Time
	progress func(delta, total int64)
}

// load fetches and verifies all suites at the same time.
func (x indexer) load(ctx context.Context, suites []Suite) (*Index, error) {
	index := &Index{Releases: make([]*Release, len(suites)), byName: map[string][]*Package{}}
	packages := make([][]*Package, len(suites))
	var total struct {
		sync.Mutex
		bytes int64
	}
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range suites {
		g.Go(func() (err error) {
			index.Releases[i], packages[i], err = x.suite(ctx, s, func(delta, size int64) {
				if x.progress != nil {
					total.Lock()
					defer total.Unlock()
					total.bytes += size
					x.progress(delta, total.bytes)
				}
			})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, list := range packages {
		for _, p := range list {
			index.add(p)
		}
	}
	index.finish()
	return index, nil
}

// suite verifies one suite and returns its packages. progress is told the bytes
// that arrived and, once, the size of the index.
func (x indexer) suite(ctx context.Context, s Suite, progress func(delta, size int64)) (*Release, []*Package, error) {
	b, err := x.store.fetch.Bytes(ctx, s.dist()+"/InRelease", maxInRelease)
	if err != nil {
		return nil, nil, err
	}
	var last time.Time
	if x.lastSeen != nil {
		last = x.lastSeen(s)
	}
	r, err := checkRelease(s, b, x.keys, last, x.now)
	if err != nil {
		return nil, nil, err
	}
	f, name, err := x.packagesFile(ctx, r, progress)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	list, err := x.parse(f, r, name)
	if err != nil {
		return nil, nil, refuse(s, "its index %s is malformed: %w", name, err).WithHint("try another mirror (%s)", MirrorEnv)
	}
	return r, list, nil
}

// packagesFile brings the index of r for the architecture into the cache. gzip
// is preferred: it unpacks in a third of the time of xz.
func (x indexer) packagesFile(ctx context.Context, r *Release, progress func(delta, size int64)) (*os.File, string, error) {
	base := "main/binary-" + x.arch + "/Packages"
	for _, suffix := range []string{".gz", ".xz", ""} {
		entry, ok := r.files[base+suffix]
		if !ok {
			continue
		}
		f, err := x.indexFile(ctx, r, base+suffix, entry, progress)
		return f, base + suffix, err
	}
	return nil, "", api.Errorf(api.KindUnsupported, "suite %s of %s has no packages for %s", r.Name, r.Mirror, x.arch).
		WithHint("choose an architecture of Debian: amd64 or arm64")
}

func (x indexer) indexFile(ctx context.Context, r *Release, name string, entry indexFile, progress func(delta, size int64)) (*os.File, error) {
	progress(0, entry.size)
	f := remote{r.dist() + "/" + name, entry.size, entry.sha256}
	if r.byHash { // the file by its name may be of another day already
		f.url = r.dist() + "/" + path.Dir(name) + "/by-hash/SHA256/" + entry.sha256
	}
	if err := x.store.ensure(ctx, f, func(delta int64) { progress(delta, 0) }); err != nil {
		return nil, err
	}
	return x.store.open(ctx, f)
}

func (x indexer) parse(f *os.File, r *Release, name string) ([]*Package, error) {
	limit := int64(maxPackages)
	if plain, ok := r.files["main/binary-"+x.arch+"/Packages"]; ok {
		limit = min(limit, plain.size)
	}
	d, err := decompress(f, path.Ext(name), limit)
	if err != nil {
		return nil, fmt.Errorf("it cannot be unpacked: %w", err)
	}
	defer d.Close()
	var list []*Package
	err = parsePackages(d, r.Mirror, x.arch, func(p *Package) { list = append(list, p) })
	return list, err
}
