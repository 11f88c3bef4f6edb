// Package patch tells what changed between two trees, and writes the changes of
// text as a patch that `git apply` and `patch -p1` take.
//
//	before ┐                       ┌ Compare ─ Diff: entries, counts, patch
//	       ├ Changes ─ Entry, ... ─┤
//	after  ┘                       └ Write ── the patch alone, as a stream
//
// An [Entry] is one path that differs. It carries the file's own part of the
// patch, its text, or the [Reason] why it has none. The whole patch is the text
// of all entries, one after the other:
//
//	diff --git a/run.sh b/run.sh         names quoted as git quotes them
//	old mode 100644                      of the mode only the owner's x bit counts
//	new mode 100755
//	index 3b18e51..9daeafb               hashes of the contents as git blobs
//	--- a/run.sh                         /dev/null where there is no file
//	+++ b/run.sh
//	@@ -1 +1 @@
//	-true
//	+false
//
// A symbolic link is a file of mode 120000 that holds its target. Folders have
// no part in a patch, they only have entries. Nothing is ever taken for renamed.
//
// # Promises
//
// The patch applies as a whole to the tree before: whatever a patch cannot
// express, and whatever would keep `git apply` from taking the rest, is an entry
// without text. That is why a new file below a folder that took the place of a
// binary file has none, and neither has anything inside a .git folder.
//
// Entries come in the order of the bytes of their paths, and two runs over the
// same trees give the same bytes. Contents are untrusted: what is read, kept and
// written is bounded by [Options], and the time for two texts that have nothing
// in common is bounded too, at the price of a longer patch.
package patch

import (
	"context"
	"io"
	"iter"
	"strings"

	"pyro/internal/tree"
)

// Options bounds and speeds up a comparison. The zero value is useful.
type Options struct {
	// Same says that two regular files surely hold the same bytes, so that they
	// are not read; false means that it cannot tell. It may look at the size and
	// the time, or at where the node came from. Modes are compared in any case.
	Same func(before, after *tree.Node) bool
	// MaxFileBytes is the size up to which a file gets a text; a larger one is
	// an entry with ReasonTooLarge (4 MiB, at most 1 GiB).
	MaxFileBytes int64
	// MaxPatchBytes bounds the patch. The first text that does not fit and all
	// after it are left out, with ReasonPatchFull (16 MiB, at most 1023 MiB,
	// which is all that git apply reads).
	MaxPatchBytes int64
	// MaxEntries bounds the entries that Compare keeps (100,000). The summary
	// counts all, and the patch has the text of all.
	MaxEntries int
	// TypeChanges gives a file that became a symbolic link, or the reverse, a
	// text that removes one and adds the other, and a file that became a folder
	// one that removes it, without which no patch can put anything into the
	// folder. git apply takes them; GNU patch takes all but the last. When
	// unset, changes of type are entries without text.
	TypeChanges bool
}

// The default bounds, and the largest ones.
const (
	DefaultFileBytes  = 4 << 20
	DefaultPatchBytes = 16 << 20
	DefaultEntries    = 100_000

	maxFileBytes  = 1<<30 - 1 // offsets of lines are kept in 32 bits
	maxPatchBytes = 1023<<20 - 1
)

func (o Options) withDefaults() Options {
	o.MaxFileBytes = bound(o.MaxFileBytes, DefaultFileBytes, maxFileBytes)
	o.MaxPatchBytes = bound(o.MaxPatchBytes, DefaultPatchBytes, maxPatchBytes)
	if o.MaxEntries <= 0 {
		o.MaxEntries = DefaultEntries
	}
	if o.Same == nil {
		o.Same = func(_, _ *tree.Node) bool { return false }
	}
	return o
}

func bound(value, standard, most int64) int64 {
	if value <= 0 {
		value = standard
	}
	return min(value, most)
}

// Diff is all that Compare found.
type Diff struct {
	Entries []Entry
	Summary Summary
	// Patch is the text of all entries.
	Patch string
	// PatchCut says that texts are missing for want of room (ReasonPatchFull).
	PatchCut bool
	// EntriesCut says that there are more than MaxEntries; Entries has the first.
	EntriesCut bool
}

// Compare returns what differs below the folder root of two trees. A tree
// without that folder counts as one where it is empty; something else in the
// folder's place is an error of KindConflict. What cannot be read is one of
// KindStorage, an ended ctx one of KindCanceled.
func Compare(ctx context.Context, before, after *tree.Tree, root string, o Options) (*Diff, error) {
	o = o.withDefaults()
	d := &Diff{}
	var patch strings.Builder
	var ends []int // where each kept entry's text ends in the patch
	for e, err := range Changes(ctx, before, after, root, o) {
		if err != nil {
			return nil, err
		}
		d.Summary.count(e)
		d.PatchCut = d.PatchCut || e.Reason == ReasonPatchFull
		patch.WriteString(e.Text)
		if d.EntriesCut = len(d.Entries) == o.MaxEntries; !d.EntriesCut {
			e.Text = "" // becomes a part of the whole, so that it is kept once
			d.Entries, ends = append(d.Entries, e), append(ends, patch.Len())
		}
	}
	d.Patch = patch.String()
	start := 0
	for i, end := range ends {
		d.Entries[i].Text, start = d.Patch[start:end], end
	}
	return d, nil
}

// Write writes the patch alone and keeps no more of it than the text of one
// file. Errors of w are returned as they are, others are those of Compare.
func Write(ctx context.Context, w io.Writer, before, after *tree.Tree, root string, o Options) (Summary, error) {
	var s Summary
	for e, err := range Changes(ctx, before, after, root, o) {
		if err != nil {
			return s, err
		}
		s.count(e)
		if _, err := io.WriteString(w, e.Text); err != nil {
			return s, err
		}
	}
	return s, nil
}

// Changes yields what differs, one entry after the other, for as long as it is
// asked. An error, one of those of Compare, is the last thing it yields.
func Changes(ctx context.Context, before, after *tree.Tree, root string, o Options) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		w := &walker{
			ctx: ctx, options: o.withDefaults(), yield: yield,
			before: reader{tree: before}, after: reader{tree: after},
		}
		if err := w.run(root); err != nil && err != errStop {
			yield(Entry{}, err)
		}
	}
}
