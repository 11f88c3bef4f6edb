package debian

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"

	"pyro/api"
	"pyro/internal/tree"
)

// owners knows which package a file belongs to, folders apart. Two packages may
// have one file only if one of them says that it Replaces the other.
type owners struct {
	byPath   map[string]*Package
	lost     map[*Package]map[string]bool // files that others have taken over
	diverted map[string]string            // path to the package that keeps others from it
}

func newOwners() owners {
	return owners{byPath: map[string]*Package{}, lost: map[*Package]map[string]bool{}}
}

// loadBase takes in what the packages of a base own.
func (o *owners) loadBase(t *tree.Tree, db *database) error {
	for _, p := range db.packages {
		b, err := t.ReadFile(infoDir + p.infoName() + ".list")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			path := strings.TrimSuffix(line, "\n")
			if n, err := t.Lookup(path); err == nil && n.Type != tree.Dir {
				o.byPath[plainPath(path)] = p
			}
		}
	}
	return o.loadDiversions(t)
}

// loadDiversions reads the three lines of each diversion: from, to, package.
func (o *owners) loadDiversions(t *tree.Tree) error {
	b, err := t.ReadFile(dpkgDir + "diversions")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	o.diverted = map[string]string{}
	lines := bytes.Split(b, []byte("\n"))
	for i := 0; i+2 < len(lines); i += 3 {
		o.diverted[plainPath(string(lines[i]))] = string(lines[i+2])
	}
	return nil
}

// claim records that p has the file path, or says why it may not.
func (o *owners) claim(p *Package, path string) error {
	key := plainPath(path)
	if by, ok := o.diverted[key]; ok && by != p.Name {
		return api.Errorf(api.KindUnsupported, "package %s has %s, which %s diverts", p, path, by).
			WithHint("leave the package out")
	}
	old := o.byPath[key]
	o.byPath[key] = p
	if old == nil || old == p {
		return nil
	}
	replaces, err := p.relations(p.replaces)
	if err != nil {
		return err
	}
	for _, alts := range replaces {
		if alts[0].Name == old.Name && alts[0].admits(old.Version) {
			if o.lost[old] == nil {
				o.lost[old] = map[string]bool{}
			}
			o.lost[old][key] = true
			return nil
		}
	}
	return api.Errorf(api.KindConflict, "packages %s and %s both have %s", old, p, path).
		WithHint("leave one of the packages out")
}

// keeps reports whether path is still p's.
func (o *owners) keeps(p *Package, path string) bool { return !o.lost[p][plainPath(path)] }

// plainPath gives a path the form in which the merged /usr has it.
func plainPath(path string) string {
	for _, dir := range mergedDirs {
		if strings.HasPrefix(path, "/"+dir+"/") {
			return "/usr" + path
		}
	}
	return path
}
