package debian

import (
	"cmp"
	"context"
	"slices"
	"time"

	"pyro/api"
	"pyro/internal/tree"
)

// Options say what to build.
type Options struct {
	Mirrors Mirrors
	// Suites are their names, the release itself first: "bookworm",
	// "bookworm-updates", "bookworm-security". Of a package that several have, the
	// newest version is taken.
	Suites []string
	Arch   string // "amd64" or "arm64"
	// Packages are the names to install. Essential and required packages, and
	// whatever all of these need, come by themselves.
	Packages []string
	// Base is what to build on, nil for nothing. Build changes it and returns it
	// as the result; after an error it is only good for Close.
	Base *tree.Tree
	// Skip, if set, leaves out the files of packages that it returns true for:
	// manuals, say. Paths are absolute and clean.
	Skip func(path string) bool

	Blobs    Blobs  // the cache; required
	SpoolDir string // where the tree's spool goes; not used with a Base
	// LastSeen returns the newest Date that was accepted for a suite so far, or
	// the zero time. Nil means that nobody remembers.
	LastSeen  func(Suite) time.Time
	Configure Configure // required, runs the maintainer scripts in a sandbox
	// Progress, if set, is told how far each phase is. It is called from several
	// goroutines at once.
	Progress func(phase Phase, done, total int64)

	Fetcher *Fetcher         // nil for the default
	Keys    Keyring          // the zero value means ArchiveKeys
	Now     func() time.Time // nil for time.Now; judges Valid-Until

	// plain configures without stand-ins for slow scripts. Tests compare.
	plain bool
}

// Phase is a part of Build. Phases overlap, but begin in this order.
type Phase string

// The phases, and what their progress counts.
const (
	PhaseIndex     Phase = "index"     // bytes of Packages indexes
	PhaseDownload  Phase = "download"  // bytes of .debs
	PhaseUnpack    Phase = "unpack"    // packages
	PhaseConfigure Phase = "configure" // packages
	PhaseMerge     Phase = "merge"     // 1 of 1
)

// Result is a root file system that was built.
type Result struct {
	Tree *tree.Tree // for the caller to Close
	// ModTime is the time of the archive's state: the newest Date of the suites.
	// No file is younger.
	ModTime  time.Time
	Lock     []LockedPackage // what was installed, without the packages of the base, by name
	Releases []Release       // of the suites, in their order
}

// LockedPackage is a package to the byte.
type LockedPackage struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
	SHA256  string `json:"sha256"` // of the .deb
}

// Plan is what a build would install, found out without fetching a package.
type Plan struct {
	Releases []Release
	Lock     []LockedPackage
	Bytes    int64 // of all .debs
}

// Resolve finds out what Build would install. It fetches the indexes alone, and
// needs neither Configure nor SpoolDir. It leaves the base as it is.
func Resolve(ctx context.Context, o Options) (*Plan, error) {
	b, err := newBuild(o)
	if err != nil {
		return nil, err
	}
	if err := b.resolve(ctx); err != nil {
		return nil, err
	}
	plan := &Plan{Releases: b.releases(), Lock: b.lock()}
	for _, p := range b.pkgs {
		plan.Bytes += p.Size
	}
	return plan, nil
}

// Build makes a root file system: it fetches, unpacks and records packages, has
// them configured, and merges what that changed. The same state of the archive
// gives the same tree to the byte.
func Build(ctx context.Context, o Options) (*Result, error) {
	if o.Configure == nil {
		return nil, api.Errorf(api.KindInternal, "a build without a sandbox to configure packages in")
	}
	b, err := newBuild(o)
	if err != nil {
		return nil, err
	}
	if err := b.resolve(ctx); err != nil {
		return nil, err
	}
	if err := b.run(ctx); err != nil {
		if o.Base == nil && b.tree != nil {
			b.tree.Close()
		}
		return nil, err
	}
	return &Result{Tree: b.tree, ModTime: b.mtime, Lock: b.lock(), Releases: b.releases()}, nil
}

// build is the state of one Build.
type build struct {
	Options
	store store
	db    *database // of the base
	index *Index
	pkgs  []*Package // to install, by name
	mtime time.Time
	tree  *tree.Tree
}

func newBuild(o Options) (*build, error) {
	if o.Arch != "amd64" && o.Arch != "arm64" {
		return nil, api.Errorf(api.KindUnsupported, "architecture %q is not supported", clip(o.Arch)).WithHint("use amd64 or arm64")
	}
	if len(o.Suites) == 0 {
		return nil, api.Errorf(api.KindUsage, "no suite is named to build from").WithHint("name one, for example bookworm")
	}
	for _, name := range o.Suites {
		if !validPackageName(name) {
			return nil, api.Errorf(api.KindUsage, "%q is not the name of a suite", clip(name)).WithHint("name one, for example bookworm")
		}
	}
	if o.Progress == nil {
		o.Progress = func(Phase, int64, int64) {}
	}
	if o.Keys.keys == nil {
		o.Keys = ArchiveKeys()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &build{
		Options: o,
		store:   store{o.Blobs, cmp.Or(o.Fetcher, new(Fetcher))},
		db:      new(database),
	}, nil
}

// resolve loads the indexes and chooses the packages.
func (b *build) resolve(ctx context.Context) (err error) {
	if b.Base != nil {
		if b.db, err = readDatabase(b.Base); err != nil {
			return err
		}
	}
	if err := b.loadIndex(ctx); err != nil {
		return err
	}
	b.pkgs, err = b.index.resolve(b.Packages, b.db.packages)
	return err
}

// loadIndex loads and verifies the indexes of the suites.
func (b *build) loadIndex(ctx context.Context) (err error) {
	var suites []Suite
	for _, name := range b.Suites {
		suites = append(suites, b.Mirrors.Suite(name))
	}
	count := counter{tell: func(done, total int64) { b.Progress(PhaseIndex, done, total) }}
	b.index, err = indexer{
		store: b.store, keys: b.Keys, arch: b.Arch, lastSeen: b.LastSeen, now: b.Now(), progress: count.add,
	}.load(ctx, suites)
	if err != nil {
		return err
	}
	for _, r := range b.index.Releases {
		if r.Date.After(b.mtime) {
			b.mtime = r.Date
		}
	}
	return nil
}

func (b *build) lock() []LockedPackage {
	lock := make([]LockedPackage, len(b.pkgs))
	for i, p := range b.pkgs {
		lock[i] = LockedPackage{p.Name, p.Version, p.Arch, p.SHA256}
	}
	return lock
}

func (b *build) releases() []Release {
	var out []Release
	for _, r := range b.index.Releases {
		out = append(out, *r)
	}
	return out
}

// run makes the tree. Nothing to install is a build too: it scrubs the base.
func (b *build) run(ctx context.Context) (err error) {
	if b.tree = b.Base; b.tree == nil {
		if b.tree, err = tree.New(b.SpoolDir); err != nil {
			return err
		}
		if err := putSkeleton(b.tree, b.Arch, b.mtime); err != nil {
			return err
		}
	}
	if len(b.pkgs) > 0 {
		if err := b.install(ctx); err != nil {
			return err
		}
	}
	if err := Scrub(b.tree, b.mtime); err != nil {
		return err
	}
	b.Progress(PhaseMerge, 1, 1)
	return nil
}

func (b *build) install(ctx context.Context) error {
	owners := newOwners()
	if b.Base != nil {
		if err := owners.loadBase(b.tree, b.db); err != nil {
			return err
		}
	}
	unpacked, err := b.unpack(ctx, owners)
	if err != nil {
		return err
	}
	installed := slices.Clone(b.db.packages)
	r := recorder{tree: b.tree, db: b.db, owners: &owners, arch: b.Arch, mtime: b.mtime}
	if err := r.run(unpacked); err != nil {
		return err
	}
	s := &stage{tree: b.tree, mtime: b.mtime}
	if err := s.prepare(unpacked, installed, b.plain); err != nil {
		return err
	}
	upper, err := b.Configure(ctx, Job{
		Tree:     b.tree,
		Args:     []string{"/bin/sh", stageDir + "/configure"},
		Env:      configureEnv(b.mtime.Unix()),
		Packages: len(unpacked),
		Output: &statusCounter{seen: map[string]bool{}, tell: func(done int) {
			b.Progress(PhaseConfigure, int64(done), int64(len(unpacked)))
		}},
	})
	if err != nil {
		return err
	}
	defer upper.Close()
	b.Progress(PhaseMerge, 0, 1)
	if err := mergeUpper(b.tree, upper, s.standsIn); err != nil {
		return err
	}
	return s.restore()
}

// unpack downloads the packages and puts each into the tree as soon as it and
// those before it are there.
func (b *build) unpack(ctx context.Context, owners owners) ([]*unpacked, error) {
	var total int64
	for _, p := range b.pkgs {
		total += p.Size
	}
	bytes := counter{total: total, tell: func(done, total int64) { b.Progress(PhaseDownload, done, total) }}
	count := counter{total: int64(len(b.pkgs)), tell: func(done, total int64) { b.Progress(PhaseUnpack, done, total) }}
	order, err := applyOrder(b.pkgs)
	if err != nil {
		return nil, err
	}
	d := startDownloads(ctx, b.store, order, func(delta int64) { bytes.add(delta, 0) })
	defer d.stop()
	u := unpacker{tree: b.tree, store: b.store, skip: b.Skip, owners: owners, ready: d.wait, done: func(*Package) { count.add(1, 0) }}
	return u.run(ctx, order)
}
