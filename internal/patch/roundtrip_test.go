package patch_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/internal/patch"
	"pyro/internal/patch/apply"
	"pyro/internal/tree"
)

// TestRoundTrip: the patch between two random trees, applied to the first, gives
// what the entries say, as it does with git.
func TestRoundTrip(t *testing.T) {
	for seed := range 1000 {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 2))
			before, after := randomPair(t, r, names)
			d := compare(t, before, after, patch.Options{TypeChanges: seed%2 == 0})
			want := expected(ofTree(t, before), ofTree(t, after), d)
			p, err := apply.Parse([]byte(d.Patch))
			if err != nil {
				t.Fatalf("%v\n%s", err, d.Patch)
			}
			sub, err := before.Sub("/w")
			if err != nil {
				t.Fatal(err)
			}
			changes, err := p.To(sub)
			if err != nil {
				t.Fatalf("%v\n%s", err, d.Patch)
			}
			change(t, sub, changes)
			if diff := cmp.Diff(want, ofTree(t, before)); diff != "" {
				t.Fatalf("it left something else (-want +got):\n%s\n%s", diff, d.Patch)
			}
		})
	}
}

// change does to a tree what the agent does to a guest's.
func change(t *testing.T, tr *tree.Tree, changes []apply.Change) {
	t.Helper()
	for _, c := range changes {
		if c.Before == nil {
			continue
		}
		if err := tr.Remove(c.Path); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range changes {
		if c.After == nil {
			continue
		}
		n := &tree.Node{Mode: c.After.Mode, UID: c.After.UID, GID: c.After.GID}
		var err error
		if c.After.Link {
			n.Type, n.Target = tree.Symlink, string(c.After.Data)
			err = tr.Put(c.Path, n, nil)
		} else {
			err = tr.Put(c.Path, n, strings.NewReader(string(c.After.Data)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range changes {
		if c.After != nil {
			continue
		}
		for dir := c.Path; strings.Contains(dir, "/"); { // folders that are left empty
			dir = dir[:strings.LastIndexByte(dir, '/')]
			n, err := tr.Lookup(dir)
			if err != nil || n.Type != tree.Dir || hasChildren(n) {
				break
			}
			if err := tr.Remove(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func hasChildren(n *tree.Node) bool {
	for range n.Children() {
		return true
	}
	return false
}
