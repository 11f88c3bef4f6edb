package seed

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"pyro/internal/tree"
)

// checkLinks refuses the first symlink, by name, that leaves the root. It is
// asked when all names are known, since what a link passes matters.
func (st *stage) checkLinks(source string, absolute bool) error {
	isLink := map[string]bool{}
	for _, s := range st.names {
		if s.node.typ == tree.Symlink {
			isLink[s.path] = true
		}
	}
	var worst string
	var reason error
	count := 0
	for _, s := range st.names {
		if s.node.typ != tree.Symlink {
			continue
		}
		err := st.judgeLink(s, absolute, isLink)
		if err == nil {
			continue
		}
		if count++; worst == "" || s.path < worst {
			worst, reason = s.path, err
		}
	}
	if count > 1 {
		reason = fmt.Errorf("%w (and so are %d others)", reason, count-1)
	}
	if count > 0 {
		return refused(source, worst, reason)
	}
	return nil
}

func (st *stage) judgeLink(s staged, absolute bool, isLink map[string]bool) error {
	place, target := s.path, s.node.target
	if strings.HasPrefix(target, "/") {
		below, ok := st.belowDest(target)
		if !absolute || !ok {
			return fmt.Errorf("a symbolic link to %q, an absolute path", target)
		}
		place, target = "", below
	}
	if err := climbs(place, target, isLink); err != nil {
		return fmt.Errorf("a symbolic link to %q, %w", s.node.target, err)
	}
	return nil
}

// belowDest returns the rest of an absolute path of the guest below dest.
func (st *stage) belowDest(target string) (string, bool) {
	rest := target
	for part := range strings.SplitSeq(strings.Trim(st.dest, "/"), "/") {
		var ok bool
		if rest, ok = strings.CutPrefix(strings.TrimLeft(rest, "/"), part); !ok {
			return "", false
		}
		if rest != "" && part != "" && rest[0] != '/' {
			return "", false
		}
	}
	return rest, true
}

// maxDetours bounds the names of a target that are judged because ".." follows.
const maxDetours = 40

// climbs says why the link target, seen from the link at place, leaves the root.
// Paths of places never pass links, so the way is certain until it passes one,
// which ends inside by its own judgement. Going up from there is not certain.
func climbs(place, target string, isLink map[string]bool) error {
	var at []string
	if place != "" {
		at = strings.Split(place, "/")
		at = slices.Clip(at[:len(at)-1])
	}
	parts := strings.FieldsFunc(target, func(r rune) bool { return r == '/' })
	last := -1 // the last part that goes up; names after it only go down
	for i, part := range parts {
		if part == ".." {
			last = i
		}
	}
	detours, passed := 0, false
	for _, part := range parts[:last+1] {
		switch part {
		case ".":
		case "..":
			if passed {
				return errors.New(`which goes up with ".." after another link`)
			}
			if len(at) == 0 {
				return errors.New("which leaves the root")
			}
			at = at[:len(at)-1]
		default:
			if detours++; detours > maxDetours {
				return fmt.Errorf("which goes down and up again more than %d times", maxDetours)
			}
			at = append(at, part)
			passed = passed || isLink[strings.Join(at, "/")]
		}
	}
	return nil
}
