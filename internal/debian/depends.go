package debian

import (
	"fmt"
	"strings"
)

// Relation names a package and perhaps its versions: "libc6 (>= 2.36)",
// "perl:any". It is one alternative of a dependency, one name that is provided,
// or one package that is in the way.
type Relation struct {
	Name    string
	Arch    string // what follows the colon: "any", "native", an architecture, or ""
	Op      string // "", "<<", "<=", "=", ">=" or ">>"
	Version string
}

func (r Relation) String() string {
	s := r.Name
	if r.Arch != "" {
		s += ":" + r.Arch
	}
	if r.Op != "" {
		s += " (" + r.Op + " " + r.Version + ")"
	}
	return s
}

// admits reports whether version v is one that r asks for.
func (r Relation) admits(v string) bool {
	if r.Op == "" {
		return true
	}
	c := compareVersions(v, r.Version)
	switch r.Op {
	case "<<":
		return c < 0
	case "<=":
		return c <= 0
	case "=":
		return c == 0
	case ">=":
		return c >= 0
	case ">>":
		return c > 0
	}
	return false
}

// Alternatives is one member of a Depends field: any of them will do.
type Alternatives []Relation

func (a Alternatives) String() string {
	parts := make([]string, len(a))
	for i, r := range a {
		parts[i] = r.String()
	}
	return strings.Join(parts, " | ")
}

// ParseDepends reads a dependency field of a binary package: Depends,
// Pre-Depends, Provides, Conflicts, Breaks or Replaces. The form is that of
// Debian Policy 7.1 without the restrictions of source packages.
func ParseDepends(s string) ([]Alternatives, error) {
	var out []Alternatives
	for member := range strings.SplitSeq(s, ",") {
		if strings.TrimSpace(member) == "" {
			continue // a trailing comma is allowed
		}
		var alts Alternatives
		for alt := range strings.SplitSeq(member, "|") {
			r, err := parseRelation(strings.TrimSpace(alt))
			if err != nil {
				return nil, fmt.Errorf("dependency %q: %w", clip(strings.TrimSpace(member)), err)
			}
			alts = append(alts, r)
		}
		out = append(out, alts)
	}
	return out, nil
}

func parseRelation(s string) (Relation, error) {
	var r Relation
	s, restriction, bounded := strings.Cut(s, "(")
	if bounded {
		inner, rest, closed := strings.Cut(restriction, ")")
		if !closed || strings.TrimSpace(rest) != "" {
			return r, fmt.Errorf("its parentheses do not close")
		}
		if err := r.parseBound(strings.TrimSpace(inner)); err != nil {
			return r, err
		}
	}
	name, arch, qualified := strings.Cut(strings.TrimSpace(s), ":")
	if !validPackageName(name) {
		return r, fmt.Errorf("%q is not the name of a package", clip(name))
	}
	if qualified && !validPackageName(arch) {
		return r, fmt.Errorf("%q is not an architecture", clip(arch))
	}
	r.Name, r.Arch = name, arch
	return r, nil
}

// parseBound reads ">= 1.2". The old forms "<" and ">" mean "<=" and ">=".
func (r *Relation) parseBound(s string) error {
	n := 0
	for n < len(s) && strings.IndexByte("<=>", s[n]) >= 0 {
		n++
	}
	r.Op, r.Version = s[:n], strings.TrimSpace(s[n:])
	switch r.Op {
	case "<":
		r.Op = "<="
	case ">":
		r.Op = ">="
	case "<<", "<=", "=", ">=", ">>":
	default:
		return fmt.Errorf("%q compares no versions", clip(s))
	}
	if !validVersion(r.Version) {
		return fmt.Errorf("%q is not a version", clip(r.Version))
	}
	return nil
}

// validPackageName reports whether s can name a package: letters, digits and
// "+-.", which keeps it one harmless part of a path. Policy asks for lower case
// and two characters; names in an archive are not always so strict.
func validPackageName(s string) bool {
	if s == "" || len(s) > 200 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '+' && c != '-' && c != '.' && c != '_') {
			return false
		}
	}
	return true
}
