package environment

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"pyro/api"
	"pyro/internal/oci"
)

// target is what a name stands for.
type target struct {
	name  string         // canonical
	entry *Entry         // of the catalogue or the user, or
	ref   *oci.Reference // an image of a registry, or
	// neither: something imported, which cannot be pulled
	installed bool // only looked up for the last kind
}

// pullName is what users type to install it.
func (t *target) pullName() string {
	if t.ref != nil {
		return "docker://" + t.name
	}
	return t.name
}

// lookup finds what a name stands for: an entry, a reference with its scheme, or
// anything that is installed under that name. An unknown name is an error of
// KindNotFound that suggests what may have been meant.
func (m *Manager) lookup(name string) (*target, error) {
	if oci.HasScheme(name) {
		ref, err := oci.ParseReference(name)
		if err != nil {
			return nil, err
		}
		return &target{name: ref.String(), ref: &ref}, nil
	}
	e, err := m.findEntry(name)
	if err != nil {
		return nil, err
	}
	if e != nil {
		return &target{name: name, entry: e}, nil
	}
	if isEnvironmentName(name) {
		_, err := m.cache.readRecord(name, m.arch)
		if err == nil || errors.Is(err, errDamaged) {
			return installedTarget(name), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, storageError(m.cache.dir, err)
		}
	}
	return nil, m.unknown(name)
}

// findEntry returns the entry of that name, of the catalogue or the user's; nil
// if there is none. Errors are of the user's files, which are not read for a
// name of the catalogue.
func (m *Manager) findEntry(name string) (*Entry, error) {
	if e := builtin().find(name); e != nil {
		return e, nil
	}
	entries, err := m.userEntries()
	if err != nil {
		return nil, err
	}
	return (&catalog{Environments: entries}).find(name), nil
}

// installedTarget tells a pulled reference from an import by its form.
func installedTarget(name string) *target {
	t := &target{name: name, installed: true}
	if checkName(name) != nil {
		if ref, err := oci.ParseReference(name); err == nil {
			t.ref = &ref
		}
	}
	return t
}

func (m *Manager) unknown(name string) error {
	err := api.Errorf(api.KindNotFound, "environment %q is not known", clip(name))
	if strings.Contains(name, "/") {
		if ref, refErr := oci.ParseReference(name); refErr == nil {
			return err.WithHint("for an image of a registry: pyro env pull docker://%s", ref)
		}
	}
	var known []string
	user, userErr := m.userEntries()
	if userErr != nil {
		return userErr
	}
	for _, e := range slices.Concat(builtin().Environments, user) {
		known = append(known, e.Name)
	}
	if records, listErr := m.cache.listRecords(m.arch); listErr == nil {
		for _, r := range records {
			known = append(known, r.Name)
		}
	}
	if near := nearest(name, known); near != "" {
		return err.WithHint("did you mean %s? All names: pyro env list", near)
	}
	return err.WithHint("pyro env list")
}

// nearest returns the name that was probably meant, or "".
func nearest(name string, known []string) string {
	best, bestDistance := "", 1+max(1, min(len(name), 20)/4)
	for _, k := range known {
		// Leaving out the end ("debian") is the commonest slip.
		if d := distance(name, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" && len(name) >= 3 {
		i := slices.IndexFunc(known, func(k string) bool { return strings.HasPrefix(k, name) })
		if i >= 0 {
			best = known[i]
		}
	}
	return best
}

// distance is the edit distance of two short strings.
func distance(a, b string) int {
	if len(a) > maxNameLength {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			prev, row[j+1] = row[j+1], min(prev+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
