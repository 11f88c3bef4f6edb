package patch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/patch"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

func describeAll(d *patch.Diff) (all []string) {
	for _, e := range d.Entries {
		all = append(all, describe(e))
	}
	return all
}

func TestBounds(t *testing.T) {
	ten, eleven := strings.Repeat("x", 9)+"\n", strings.Repeat("x", 10)+"\n"
	before := build(t, file("changed", ten), file("same", eleven))
	after := build(t, file("big", eleven), file("changed", eleven), file("fits", ten), file("late", "\x00"+eleven), file("same", eleven), file("zip", "1\n"))
	for _, c := range []struct {
		what    string
		options patch.Options
		want    []string
		cut     bool // the patch
		fewer   bool // the entries
	}{
		{"none reached", patch.Options{}, []string{"added big file", "modified changed file", "added fits file", "added late file binary", "added zip file"}, false, false},
		{
			"size of files",
			patch.Options{MaxFileBytes: 10},
			[]string{"added big file too_large", "modified changed file too_large", "added fits file", "added late file binary", "added zip file"},
			false, false,
		},
		{
			// A small file that would still fit is left out too: where the patch
			// ends is where it stops being whole.
			"size of the patch",
			patch.Options{MaxPatchBytes: 250},
			[]string{"added big file", "modified changed file", "added fits file patch_full", "added late file patch_full", "added zip file patch_full"},
			true, false,
		},
		{"entries", patch.Options{MaxEntries: 2}, []string{"added big file", "modified changed file"}, false, true},
		{"entries, all that there are", patch.Options{MaxEntries: 5}, []string{"added big file", "modified changed file", "added fits file", "added late file binary", "added zip file"}, false, false},
	} {
		d := compare(t, before, after, c.options)
		if diff := cmp.Diff(c.want, describeAll(d)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
		if d.PatchCut != c.cut || d.EntriesCut != c.fewer || d.Summary.Total != 5 {
			t.Errorf("%s: patch cut %v, entries cut %v, %+v", c.what, d.PatchCut, d.EntriesCut, d.Summary)
		}
		if n := strings.Count(d.Patch, "diff --git"); n != d.Summary.TextPatched {
			t.Errorf("%s: the patch has %d texts, %+v", c.what, n, d.Summary)
		}
		var b bytes.Buffer
		s, err := patch.Write(t.Context(), &b, before, after, "/w", c.options)
		if err != nil || s != d.Summary || b.String() != d.Patch {
			t.Errorf("%s: Write gives %+v, %v and\n%s", c.what, s, err, b.String())
		}
	}
}

// TestLargeFiles compares files that are too large to hold.
func TestLargeFiles(t *testing.T) {
	size := 300 << 10
	x := bytes.Repeat([]byte("line\n"), size/5)
	y := bytes.Clone(x)
	y[len(y)-2] = 'E'
	before := build(t, file("last", string(x)), file("same", string(x)))
	after := build(t, file("last", string(y)), file("same", string(x)))
	d := compare(t, before, after, patch.Options{MaxFileBytes: 1000})
	if diff := cmp.Diff([]string{"modified last file too_large"}, describeAll(d)); diff != "" {
		t.Error(diff)
	}
}

// hole is the source of a file of a terabyte that has data at its end alone.
type hole struct {
	*strings.Reader
	reads int
}

const terabyte = 1 << 40

func (h *hole) NextData(off int64) (start, end int64) { return max(off, terabyte-h.Size()), terabyte }

func (h *hole) ReadAt(p []byte, off int64) (int, error) {
	h.reads += len(p)
	if off < terabyte-h.Size() { // what git looks at to call a file binary
		clear(p)
		return len(p), nil
	}
	return h.Reader.ReadAt(p, off-(terabyte-h.Size()))
}

// TestHolesAreNotRead: what is a hole in both is the same.
func TestHolesAreNotRead(t *testing.T) {
	sources := []*hole{}
	files := func(last string) *tree.Tree {
		tr := treetest.New(t)
		for name, data := range map[string]string{"/w/last": last, "/w/same": "end"} {
			src := &hole{Reader: strings.NewReader(data)}
			sources = append(sources, src)
			if err := tr.PutData(name, &tree.Node{Size: terabyte}, src, 0); err != nil {
				t.Fatal(err)
			}
		}
		return tr
	}
	d := compare(t, files("END"), files("end"), patch.Options{})
	if diff := cmp.Diff([]string{"modified last file binary"}, describeAll(d)); diff != "" {
		t.Error(diff)
	}
	for _, s := range sources {
		if s.reads > 20_000 {
			t.Errorf("%d bytes were read", s.reads)
		}
	}
}

// TestScatteredEdits: many small changes of a large file stay small, other than
// what a diff that gives up would make of them.
func TestScatteredEdits(t *testing.T) {
	var x, y strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&x, "line %d\n", i)
		if i%10 == 0 {
			fmt.Fprintf(&y, "edited %d\n", i%3)
		} else {
			fmt.Fprintf(&y, "line %d\n", i)
		}
	}
	e := compare(t, build(t, file("a", x.String())), build(t, file("a", y.String())), patch.Options{}).Entries[0]
	if e.LinesAdded != 500 || e.LinesDeleted != 500 {
		t.Errorf("%d lines added and %d deleted for 500 edits", e.LinesAdded, e.LinesDeleted)
	}
}

// TestSame: what the caller knows to be the same is not read.
func TestSame(t *testing.T) {
	unreadable := func(size int64) *tree.Tree {
		tr := treetest.New(t)
		for _, name := range []string{"/w/a", "/w/b"} {
			n := &tree.Node{Mode: 0o644, Size: size, ModTime: time.Unix(1, 0)}
			if err := tr.PutData(name, n, strings.NewReader(""), 0); err != nil {
				t.Fatal(err)
			}
		}
		return tr
	}
	before, after := unreadable(10), unreadable(10)
	chmod, _ := after.Lookup("/w/b")
	chmod.Mode = 0o755
	same := func(a, b *tree.Node) bool { return a.Size == b.Size && a.ModTime.Equal(b.ModTime) }
	d := compare(t, before, after, patch.Options{Same: same})
	if diff := cmp.Diff([]string{"modified b file"}, describeAll(d)); diff != "" {
		t.Error(diff)
	}
	d = compare(t, before, before, patch.Options{})
	if d.Summary.Total != 0 {
		t.Errorf("a tree differs from itself: %+v", d.Entries)
	}
	for _, size := range []int64{10, 20} { // in a comparison of sizes alike, and when a text is made
		for _, o := range []patch.Options{{}, {MaxFileBytes: 5}} {
			_, err := patch.Compare(t.Context(), before, unreadable(size), "/w", o)
			if !errors.Is(err, &api.Error{Kind: api.KindStorage}) || !strings.Contains(err.Error(), "a cannot be read") {
				t.Errorf("of unreadable files of 10 and %d bytes: %v", size, err)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	tr, other := build(t, file("a", "1\n")), build(t, file("a", "2\n"), file("b", ""))
	_, err := patch.Compare(t.Context(), tr, other, "/w/a", patch.Options{})
	if !errors.Is(err, &api.Error{Kind: api.KindConflict}) {
		t.Errorf("comparing files: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrClosedPipe)
	_, err = patch.Compare(ctx, tr, other, "/w", patch.Options{})
	if !errors.Is(err, &api.Error{Kind: api.KindCanceled}) || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("when canceled: %v", err)
	}
	if _, err = patch.Write(t.Context(), brokenPipe{}, tr, other, "/w", patch.Options{}); err != io.ErrClosedPipe {
		t.Errorf("when it cannot be written: %v", err)
	}
	for e, err := range patch.Changes(t.Context(), tr, other, "/w", patch.Options{}) {
		if err != nil || e.Path != "a" {
			t.Errorf("%v, %v", e, err)
		}
		break // must not be asked to go on
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
