package debian

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"pyro/api"
)

// StaleBaseError says that a package of the base is too old for what shall be
// added to it. Building the base again helps.
type StaleBaseError struct {
	Package   string // of the base
	Installed string // its version there
	Available string // its version in the archive
	Wanted    Relation
	By        string // the package that wants it
}

func (e *StaleBaseError) Error() string {
	return fmt.Sprintf("%s needs %s, but the base has %s %s and the archive %s", e.By, e.Wanted, e.Package, e.Installed, e.Available)
}

// resolve returns the packages to install, sorted by name: those wanted, the
// essential and required ones, and what all of them need, without what is
// installed. The result depends on the arguments only.
func (x *Index) resolve(want []string, installed []*Package) ([]*Package, error) {
	r := resolver{index: x, selected: map[string]*Package{}, installed: map[string]*Package{}, provided: map[string][]provision{}}
	for _, p := range installed {
		r.installed[p.Name] = p
		if err := r.record(p); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(x.byName)) {
		if p := x.byName[name][0]; p.Essential || p.Priority == "required" {
			if err := r.choose(p); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range want {
		if err := r.want(name); err != nil {
			return nil, err
		}
	}
	for len(r.queue) > 0 {
		p := r.queue[0]
		r.queue = r.queue[1:]
		if err := r.satisfy(p); err != nil {
			return nil, err
		}
	}
	if err := r.checkConflicts(); err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(r.selected), func(a, b *Package) int { return cmp.Compare(a.Name, b.Name) }), nil
}

type resolver struct {
	index     *Index
	selected  map[string]*Package // chosen from the index
	installed map[string]*Package // in the base
	provided  map[string][]provision
	queue     []*Package // chosen, its dependencies not looked at yet
}

// provision is a name that a chosen or installed package provides.
type provision struct {
	by  *Package
	rel Relation
}

// current returns the package of that name in the result, or nil.
func (r *resolver) current(name string) *Package {
	return cmp.Or(r.selected[name], r.installed[name])
}

// choose adds p unless a package of its name is there.
func (r *resolver) choose(p *Package) error {
	if r.current(p.Name) != nil {
		return nil
	}
	r.selected[p.Name] = p
	r.queue = append(r.queue, p)
	return r.record(p)
}

// record notes what p provides.
func (r *resolver) record(p *Package) error {
	provides, err := p.relations(p.provides)
	for _, alts := range provides {
		rel := alts[0]
		r.provided[rel.Name] = append(r.provided[rel.Name], provision{p, rel})
	}
	return err
}

// relations reads one dependency field of p.
func (p *Package) relations(field string) ([]Alternatives, error) {
	rel, err := ParseDepends(field)
	if err != nil {
		return nil, api.Errorf(api.KindVerification, "package %s is malformed: %w", p, err).
			WithHint("try another mirror (%s)", MirrorEnv)
	}
	return rel, nil
}

// want chooses a package that was asked for by name.
func (r *resolver) want(name string) error {
	if versions := r.index.byName[name]; len(versions) > 0 {
		return r.choose(versions[0])
	}
	if r.current(name) != nil || len(r.provided[name]) > 0 {
		return nil
	}
	if providers := r.index.provided[name]; len(providers) == 1 {
		return r.choose(providers[0])
	}
	return api.Errorf(api.KindNotFound, "there is no package %q in the archive", clip(name)).
		WithHint("search its name on https://packages.debian.org")
}

// satisfy chooses what p needs.
func (r *resolver) satisfy(p *Package) error {
	for _, field := range []string{p.preDepends, p.depends} {
		groups, err := p.relations(field)
		if err != nil {
			return err
		}
		for _, alts := range groups {
			if err := r.satisfyOne(p, alts); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *resolver) satisfyOne(p *Package, alts Alternatives) error {
	for _, rel := range alts {
		if r.satisfied(rel) {
			return nil
		}
	}
	for _, rel := range alts {
		if q := r.candidate(rel); q != nil {
			return r.choose(q)
		}
	}
	return r.unsatisfiable(p, alts)
}

// satisfied reports whether the result has rel already.
func (r *resolver) satisfied(rel Relation) bool {
	if !nativeArch(rel) {
		return false
	}
	if p := r.current(rel.Name); p != nil && rel.admits(p.Version) {
		return true
	}
	return slices.ContainsFunc(r.provided[rel.Name], func(pr provision) bool { return pr.fulfils(rel) })
}

// nativeArch reports whether rel can mean a package of the one architecture
// that there is.
func nativeArch(rel Relation) bool {
	return rel.Arch == "" || rel.Arch == "any" || rel.Arch == "native"
}

// fulfils reports whether what is provided is what rel asks for. A version can
// only be asked of a provision with a version.
func (pr provision) fulfils(rel Relation) bool {
	return pr.rel.Name == rel.Name && (rel.Op == "" || pr.rel.Op == "=" && rel.admits(pr.rel.Version))
}

// candidate returns the package to choose for rel, or nil: the newest version
// that is admitted, else who provides it, by priority and name.
func (r *resolver) candidate(rel Relation) *Package {
	if !nativeArch(rel) {
		return nil
	}
	if r.current(rel.Name) == nil {
		for _, p := range r.index.byName[rel.Name] {
			if rel.admits(p.Version) {
				return p
			}
		}
	}
	for _, p := range r.index.provided[rel.Name] {
		if r.current(p.Name) != nil {
			continue
		}
		provides, _ := ParseDepends(p.provides)
		for _, alts := range provides {
			if (provision{p, alts[0]}).fulfils(rel) {
				return p
			}
		}
	}
	return nil
}

// unsatisfiable explains why none of alts is possible.
func (r *resolver) unsatisfiable(p *Package, alts Alternatives) error {
	for _, rel := range alts {
		old := r.installed[rel.Name]
		if old == nil {
			continue
		}
		for _, q := range r.index.byName[rel.Name] {
			if rel.admits(q.Version) {
				stale := &StaleBaseError{Package: old.Name, Installed: old.Version, Available: q.Version, Wanted: rel, By: p.Name}
				return api.Errorf(api.KindConflict, "%w", stale).WithHint("build the base environment again, then this one: pyro env pull")
			}
		}
	}
	for _, rel := range alts {
		if q := r.current(rel.Name); q != nil {
			return api.Errorf(api.KindConflict, "package %s needs %s, but %s is chosen", p, alts, q).
				WithHint("leave one of the packages out")
		}
	}
	return api.Errorf(api.KindNotFound, "package %s needs %s, which the archive does not have", p, alts).
		WithHint("check that the suites belong together")
}
