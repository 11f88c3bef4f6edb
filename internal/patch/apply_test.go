package patch_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/bluekeyes/go-gitdiff/gitdiff"
	"github.com/google/go-cmp/cmp"

	"pyro/internal/patch"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// TestPatchesApply makes random pairs of trees, applies the patch to the first
// on disk, and expects what the entries say.
func TestPatchesApply(t *testing.T) {
	need(t, "git", "git")
	const workers, pairs = 4, 1000
	for worker := range workers {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			for seed := worker; seed < pairs; seed += workers {
				checkSeed(t, seed, names, patch.Options{TypeChanges: seed%8 < 4}, gitApply)
			}
		})
	}
}

// TestPatchesApplyWithPatch is the same with GNU patch, which takes fewer names,
// and no patch that puts a folder in the place of a file.
func TestPatchesApplyWithPatch(t *testing.T) {
	need(t, "patch", "patch")
	for seed := range 250 {
		checkSeed(t, seed, tameNames, patch.Options{}, gnuPatch)
	}
}

// checkSeed is a test of its own so that its trees are closed when it ends.
func checkSeed(t *testing.T, seed int, names []string, o patch.Options, apply []string) {
	t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		before, after := randomPair(t, r, names)
		checkPair(t, before, after, o, apply)
	})
}

func checkPair(t *testing.T, before, after *tree.Tree, o patch.Options, apply []string) {
	t.Helper()
	d := compare(t, before, after, o)
	checkEntries(t, before, after, o, d)
	dir := t.TempDir()
	unpack(t, before, dir)
	if d.Patch != "" {
		if out, err := run(dir, d.Patch, apply...); err != nil {
			t.Fatalf("%s: %v\n%s\n%s", apply[0], err, out, d.Patch)
		}
	}
	want := expected(ofTree(t, before), ofTree(t, after), d)
	if diff := cmp.Diff(want, ofFolder(t, dir)); diff != "" {
		t.Fatalf("%s left something else (-want +got):\n%s\n%s", apply[0], diff, d.Patch)
	}
	checkParses(t, d)
}

// checkEntries compares the entries with a plain comparison of all that is in
// both trees.
func checkEntries(t *testing.T, before, after *tree.Tree, o patch.Options, d *patch.Diff) {
	t.Helper()
	type row struct {
		Path   string
		Status patch.Status
		Text   bool
	}
	var want, got []row
	a, b := treetest.Entries(t, before), treetest.Entries(t, after)
	union := maps.Clone(a)
	maps.Copy(union, b)
	var blocked []string // paths with a slash below which no text may be
	for _, path := range slices.Sorted(maps.Keys(union)) {
		name, below := strings.CutPrefix(path, "/w/")
		if !below {
			continue
		}
		x, inA := a[path]
		y, inB := b[path]
		r := row{Path: name}
		switch {
		case !inA:
			r.Status = patch.Added
		case !inB:
			r.Status = patch.Deleted
		case x.Type != y.Type:
			r.Status = patch.TypeChanged
		case x.Data != y.Data || x.Mode != y.Mode || x.Target != y.Target || x.Major != y.Major || x.Minor != y.Minor:
			r.Status = patch.Modified
		default:
			continue
		}
		r.Text = patchable(x, y, r.Status, o)
		if r.Status != patch.Modified || x.Data != y.Data {
			r.Text = r.Text && expressible(x, inA) && expressible(y, inB)
		}
		for _, parent := range blocked {
			r.Text = r.Text && !strings.HasPrefix(name, parent)
		}
		if r.Status == patch.TypeChanged && y.Type == "folder" && !r.Text {
			blocked = append(blocked, name+"/")
		}
		want = append(want, r)
	}
	var text strings.Builder
	var sum patch.Summary
	for _, e := range d.Entries {
		got = append(got, row{e.Path, e.Status, e.Text != ""})
		if (e.Text == "") != (e.Reason != patch.ReasonNone) {
			t.Errorf("%q has a text of %d bytes and the reason %q", e.Path, len(e.Text), e.Reason)
		}
		text.WriteString(e.Text)
		sum.Total++
		for _, c := range []struct {
			n  *int
			is bool
		}{
			{&sum.Added, e.Status == patch.Added},
			{&sum.Modified, e.Status == patch.Modified},
			{&sum.Deleted, e.Status == patch.Deleted},
			{&sum.TypeChanged, e.Status == patch.TypeChanged},
			{&sum.TextPatched, e.Text != ""},
			{&sum.NonText, e.Text == ""},
		} {
			if c.is {
				*c.n++
			}
		}
	}
	slices.SortFunc(want, func(a, b row) int { return strings.Compare(a.Path, b.Path) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("other entries (-want +got):\n%s", diff)
	}
	if sum != d.Summary {
		t.Errorf("summary %+v, the entries make %+v", d.Summary, sum)
	}
	if text.String() != d.Patch {
		t.Error("the patch is not the texts of the entries")
	}
}

// expressible reports whether a patch can have that side.
func expressible(e treetest.Entry, there bool) bool {
	switch {
	case !there || e.Type == "symbolic link" || e.Type == "folder":
		return true
	case e.Type == "regular file":
		return !strings.Contains(e.Data[:min(len(e.Data), 8000)], "\x00")
	}
	return false
}

func patchable(x, y treetest.Entry, s patch.Status, o patch.Options) bool {
	switch {
	case s == patch.TypeChanged:
		return o.TypeChanges && x.Type != "folder" && !(x.Type == "symbolic link" && y.Type == "folder")
	case x.Type == "folder" || y.Type == "folder":
		return false
	case s == patch.Modified:
		return (x.Type == "regular file" || x.Type == "symbolic link") &&
			(x.Data != y.Data || x.Target != y.Target || (x.Mode^y.Mode)&0o100 != 0)
	}
	return true
}

// checkParses reads the patch with another parser.
func checkParses(t *testing.T, d *patch.Diff) {
	t.Helper()
	for _, e := range d.Entries {
		if e.Text == "" || strings.HasSuffix(e.Path, `\`) {
			continue // it takes a quote behind an escaped backslash for an escaped one
		}
		files, _, err := gitdiff.Parse(strings.NewReader(e.Text))
		if err != nil || len(files) == 0 {
			t.Errorf("%d files, %v, in the text of %q:\n%s", len(files), err, e.Path, e.Text)
			continue
		}
		f := files[0]
		if name := max(f.OldName, f.NewName); name != e.Path {
			t.Errorf("the text of %q is read as one of %q:\n%s", e.Path, name, e.Text)
		}
		added, deleted := 0, 0
		for _, f := range files {
			for _, h := range f.TextFragments {
				if err := h.Validate(); err != nil {
					t.Errorf("%q: %v", e.Path, err)
				}
				added, deleted = added+int(h.LinesAdded), deleted+int(h.LinesDeleted)
			}
		}
		if added != e.LinesAdded || deleted != e.LinesDeleted {
			t.Errorf("%q has %d lines added and %d deleted, says %d and %d", e.Path, added, deleted, e.LinesAdded, e.LinesDeleted)
		}
	}
}
