package seed

import (
	"path"
	"slices"
	"strings"

	"pyro/api"
)

// Selection is a choice of a folder's files, by their paths below it. Folders on
// the way to a file come along; a folder that is named itself does not, so that
// what took the place of a file brings nothing else in.
type Selection struct {
	files   map[string]bool
	folders map[string]bool
}

// NewSelection makes a selection of paths with slashes, at least one. Absolute
// ones, those with .. and those that no file can have are an error of KindUsage.
func NewSelection(paths []string) (*Selection, error) {
	if len(paths) == 0 {
		return nil, api.Errorf(api.KindUsage, "no file is named").WithHint("name at least one, or leave the list out for all files")
	}
	s := &Selection{files: map[string]bool{}, folders: map[string]bool{}}
	for _, p := range paths {
		clean := path.Clean(p)
		if clean == "." || clean == ".." || strings.HasPrefix(clean, "../") || path.IsAbs(clean) || strings.Contains(clean, "\x00") {
			return nil, api.Errorf(api.KindUsage, "%q names no file below the folder", p).WithHint("name files by their paths below the folder, such as src/main.c")
		}
		s.files[clean] = true
		for dir := path.Dir(clean); dir != "." && !s.folders[dir]; dir = path.Dir(dir) {
			s.folders[dir] = true
		}
	}
	return s, nil
}

// wants reports whether an entry of the folder is chosen, or a folder on the way
// to one that is. A nil selection wants everything.
func (s *Selection) wants(p string, folder bool) bool {
	switch {
	case s == nil:
		return true
	case folder:
		return s.folders[p]
	}
	return s.files[p]
}

// missing warns of the files that were not met. Of those the caller has a
// warning already nothing more is said.
func (s *Selection) missing(names []staged, warnings []Warning) []Warning {
	if s == nil {
		return nil
	}
	left := map[string]bool{}
	for p := range s.files {
		left[p] = true
	}
	for _, n := range names {
		delete(left, n.path)
	}
	for _, w := range warnings {
		delete(left, w.Path)
	}
	var missing []Warning
	for p := range left {
		missing = append(missing, Warning{Path: p, Reason: "is not there, or not a file"})
	}
	slices.SortFunc(missing, func(a, b Warning) int { return strings.Compare(a.Path, b.Path) })
	return missing
}
