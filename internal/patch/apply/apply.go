// Package apply reads unified diffs and applies them to a tree: all of a patch or
// nothing. What it gives is the list of what changes; writing it is the caller's.
//
// # What is taken
//
// What git writes (git-diff-tree(1), "Generating patch text with -p") and plain
// unified diffs: changed, new and deleted files and links, modes, renames,
// copies, and git's binary patches. Names stand behind a/ and b/; those of a plain
// diff may also stand behind any two other folders, as for patch -p1, or behind
// none, if they are the same on both sides. A file is its bytes: nothing is said about the ends
// of lines or about encodings.
//
// # What is promised
//
//   - Every path stays below the root: absolute ones, "..", and those that lead
//     through a link or a file are refused.
//   - Every hunk must fit. Its lines may stand elsewhere than it says, as long as
//     they are all the same; the nearest place is taken, as git apply does. A hunk that
//     begins with the first line belongs there, one without lines behind its
//     changes to the end.
//   - Sizes are bounded, whatever the patch says.
//
// Errors name the file and the hunk and are of kind conflict when the tree is not
// what the patch is for, of kind usage when the patch cannot be read, of kind
// unsafe_content when it wants what may not be.
package apply

import (
	"bytes"
	"slices"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"

	"pyro/api"
	"pyro/internal/tree"
)

// Bounds of a patch.
const (
	// maxFiles bounds the sections of a patch.
	maxFiles = 100_000
	// maxFile bounds a file, before and after.
	maxFile = 64 << 20
	// maxTotal bounds what all changed files have together.
	maxTotal = 256 << 20
)

// Content is what stands at a path.
type Content struct {
	Link     bool   // a symbolic link, whose target Data is
	Data     []byte // of a file
	Mode     uint32 // 07777; of a file
	UID, GID uint32
}

// Change is what a patch makes of one path. Before is nil if nothing was there,
// After if nothing is to be.
type Change struct {
	Path          string // relative to the root
	Before, After *Content
	// Folder says that a folder is there, which the patch leaves empty and whose
	// place After takes.
	Folder         bool
	Added, Deleted int // lines
}

// Status says in the words of a diff what happens.
func (c Change) Status() string {
	switch {
	case c.Before == nil:
		return "added"
	case c.After == nil:
		return "deleted"
	case c.Before.Link != c.After.Link:
		return "type_changed"
	}
	return "modified"
}

// Patch is a patch that could be read.
type Patch struct{ files []*gitdiff.File }

// Parse reads a patch. An empty one changes nothing; text that has no patch in it
// is an error.
func Parse(text []byte) (p *Patch, err error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return &Patch{}, nil
	}
	if text[len(text)-1] != '\n' {
		text = append(slices.Clip(text), '\n') // as a mail or a model may have lost it
	}
	files, _, err := gitdiff.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, api.Errorf(api.KindUsage, "the patch cannot be read: %s", strings.TrimPrefix(err.Error(), "gitdiff: ")).
			WithHint("a hunk begins with the numbers of its lines, @@ -1,3 +1,4 @@, and all its lines with a space, + or -")
	}
	if len(files) == 0 {
		return nil, api.Errorf(api.KindUsage, "there is no patch in the text").
			WithHint("give a unified diff, as git diff and pyro workspace diff write it")
	}
	if err := finish(text, files); err != nil {
		return nil, err
	}
	if len(files) > maxFiles {
		return nil, api.Errorf(api.KindUsage, "the patch has %d files, at most %d are possible", len(files), maxFiles)
	}
	return &Patch{files}, nil
}

// To applies the patch to what is below root, the folder that a patch's names
// are relative to. The tree stays as it is. The changes are sorted by path.
func (p *Patch) To(t *tree.Tree) ([]Change, error) {
	s := &state{tree: t, paths: map[string]*path{}}
	for _, f := range p.files {
		if err := s.leaving(f); err != nil {
			return nil, err
		}
	}
	for _, f := range p.files {
		if err := s.apply(f); err != nil {
			return nil, err
		}
	}
	changes := s.changes()
	if err := s.checkPlaces(changes); err != nil {
		return nil, err
	}
	return changes, nil
}
