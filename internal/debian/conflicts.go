package debian

import (
	"maps"
	"slices"

	"pyro/api"
)

// checkConflicts looks for two packages of the result that cannot be together.
func (r *resolver) checkConflicts() error {
	all := maps.Clone(r.installed)
	maps.Copy(all, r.selected)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		p := all[name]
		for _, f := range []struct{ verb, field string }{{"conflicts with", p.conflicts}, {"breaks", p.breaks}} {
			groups, err := p.relations(f.field)
			if err != nil {
				return err
			}
			for _, alts := range groups {
				if q := r.inTheWay(p, alts[0]); q != nil {
					return api.Errorf(api.KindConflict, "packages %s and %s cannot be installed together: %s %s %s", p, q, p.Name, f.verb, alts[0]).
						WithHint("leave one of the packages out")
				}
			}
		}
	}
	return nil
}

// inTheWay returns the package of the result that rel of p's Conflicts or
// Breaks means, or nil. Two that were installed together before may stay so.
func (r *resolver) inTheWay(p *Package, rel Relation) *Package {
	if !nativeArch(rel) {
		return nil
	}
	old := r.installed[p.Name] == p
	if q := r.current(rel.Name); q != nil && q != p && rel.admits(q.Version) && !(old && r.installed[q.Name] == q) {
		return q
	}
	for _, pr := range r.provided[rel.Name] {
		if pr.by != p && pr.fulfils(rel) && !(old && r.installed[pr.by.Name] == pr.by) {
			return pr.by
		}
	}
	return nil
}
