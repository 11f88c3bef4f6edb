package export

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"strings"

	"pyro/api"
	"pyro/internal/tree"
)

// The default limits.
const (
	DefaultEntries = tree.DefaultEntries
	DefaultBytes   = tree.DefaultBytes
)

// maxWarnings bounds the warnings kept; the others are counted.
const maxWarnings = 1000

// Options bound an export; the zero value has limits that no real one reaches.
type Options struct {
	MaxEntries int   // 2,000,000 by default
	MaxBytes   int64 // of file data, hard links counted once; 64 GiB by default
}

func (o Options) withDefaults() Options {
	return Options{cmp.Or(o.MaxEntries, DefaultEntries), cmp.Or(o.MaxBytes, int64(DefaultBytes))}
}

// Source says what to export.
type Source struct {
	Tree *tree.Tree
	// Path is absolute, or relative to Root.
	Path string
	// Root is the folder that links may not lead out of; "/" by default.
	Root string
}

// Report says what was exported.
type Report struct {
	Path     string // of the tree, links resolved
	Folder   bool   // or a file
	Entries  int    // names; a folder itself is not counted, a file is
	Files    int    // names of regular files
	Bytes    int64  // of file data, hard links counted once
	Warnings []Warning
	Dropped  int // warnings beyond the first 1,000
}

// Warning is about one entry that differs from its original.
type Warning struct {
	Path   string // relative to what is exported
	Reason string // a phrase: "is a fifo, which is not exported"
}

func (w Warning) String() string { return fmt.Sprintf("%q %s", w.Path, w.Reason) }

// plan is an export whose extent is known.
type plan struct {
	tree   *tree.Tree
	node   *tree.Node
	name   string // what errors call the source
	report Report
}

// newPlan finds the source and counts what there is to write. Its errors are of
// KindNotFound, KindUsage, KindUnsafe (a link leaves the root) or KindDiskLimit.
func newPlan(src Source, o Options) (*plan, error) {
	p, n, err := src.resolve()
	if err != nil {
		return nil, err
	}
	if n.Type != tree.Dir && n.Type != tree.Regular {
		return nil, api.Errorf(api.KindUsage, "%s is a %s; files and folders can be exported", p, n.Type)
	}
	pl := &plan{tree: src.Tree, node: n, name: p, report: Report{Path: p, Folder: n.Type == tree.Dir}}
	return pl, pl.count(o.withDefaults())
}

// count fills in the report, but what writing brings about is the same.
func (pl *plan) count(o Options) error {
	r := &pl.report
	seen := map[*tree.Node]bool{}
	one := func(rel string, n *tree.Node) error {
		if reason := left(n); reason != "" {
			pl.warn(rel, reason)
			return nil
		}
		if n.Type != tree.Symlink && n.Mode&0o7000 != 0 {
			pl.warn(rel, fmt.Sprintf("had mode %04o; its special bits are dropped", n.Mode&0o7777))
		}
		if n.Type == tree.Symlink && pointsOut(rel, n.Target) {
			pl.warn(rel, fmt.Sprintf("is a symbolic link to %q, outside of what is exported", n.Target))
		}
		if rel == "" && n.Type == tree.Dir {
			return nil
		}
		if r.Entries++; r.Entries > o.MaxEntries {
			return api.Errorf(api.KindDiskLimit, "%s has more than %d entries, the most that is exported", pl.name, o.MaxEntries)
		}
		if n.Type != tree.Regular {
			return nil
		}
		r.Files++
		if !seen[n] {
			seen[n] = true
			if r.Bytes += n.Size; r.Bytes > o.MaxBytes || r.Bytes < 0 {
				return api.Errorf(api.KindDiskLimit, "%s has more than %d bytes, the most that is exported", pl.name, o.MaxBytes)
			}
		}
		return nil
	}
	return each("", pl.node, one)
}

// each calls fn for n at rel and all below it, in the order of a tree's Walk.
func each(rel string, n *tree.Node, fn func(rel string, n *tree.Node) error) error {
	if err := fn(rel, n); err != nil {
		return err
	}
	for name, child := range n.Children() {
		if err := each(join(rel, name), child, fn); err != nil {
			return err
		}
	}
	return nil
}

func join(rel, name string) string {
	if rel == "" {
		return name
	}
	return rel + "/" + name
}

// left says why a node is left out, "" if it is not.
func left(n *tree.Node) string {
	switch n.Type {
	case tree.Regular, tree.Dir, tree.Symlink:
		return ""
	}
	return fmt.Sprintf("is a %s, which is not exported", n.Type)
}

// pointsOut judges a link lexically: it is a hint to people, not a fence.
func pointsOut(rel, target string) bool {
	if path.IsAbs(target) {
		return true
	}
	to := path.Join(path.Dir(rel), target)
	return to == ".." || strings.HasPrefix(to, "../")
}

func (pl *plan) warn(rel, reason string) {
	if len(pl.report.Warnings) == maxWarnings {
		pl.report.Dropped++
		return
	}
	pl.report.Warnings = append(pl.report.Warnings, Warning{path.Join(".", rel), reason})
}

// stopped is ctx's end as an error of this package, nil before.
func stopped(ctx context.Context, what string) error {
	if ctx.Err() == nil {
		return nil
	}
	return api.Errorf(api.KindCanceled, "the export of %s was stopped: %w", what, context.Cause(ctx))
}
