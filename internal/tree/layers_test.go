package tree_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/internal/tree/treetest"
)

// model is what OCI layers mean, said plainly: a layer first hides what its
// whiteouts name, then adds its entries. Folders have a mode, files a body.
type model map[string]string

func (m model) layer(entries []entry) {
	for _, e := range entries {
		dir, base := path.Split(path.Clean("/" + e.Name))
		if base == ".wh..wh..opq" {
			m.remove(dir, false)
		} else if hidden, ok := strings.CutPrefix(base, ".wh."); ok {
			m.remove(dir+hidden, true)
		}
	}
	for _, e := range entries {
		name := path.Clean("/" + e.Name)
		if strings.HasPrefix(path.Base(name), ".wh.") {
			continue
		}
		for p := path.Dir(name); p != "/"; p = path.Dir(p) {
			if _, ok := m[p]; !ok {
				m[p] = "755"
			}
		}
		m[name] = e.body
		if e.body == "" {
			m[name] = fmt.Sprintf("%o", e.Mode)
		}
	}
}

func (m model) remove(name string, self bool) {
	below := strings.TrimSuffix(name, "/") + "/"
	for p := range m {
		if strings.HasPrefix(p, below) || self && p == name {
			delete(m, p)
		}
	}
}

// TestLayersFollowModel applies random layers in random order of entries.
func TestLayersFollowModel(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 4))
		m := model{}
		var layers [][]entry
		for range 2 + r.IntN(3) {
			l := randomLayer(r)
			m.layer(l)
			layers = append(layers, l)
		}
		got := model{}
		for p, e := range treetest.Entries(t, apply(t, oci, layers...)) {
			if got[p] = e.Data; e.Type == "folder" {
				got[p] = fmt.Sprintf("%o", e.Mode)
			}
		}
		delete(got, "/")
		if d := cmp.Diff(m, got); d != "" {
			for i, l := range layers {
				for _, e := range l {
					t.Logf("layer %d: %s %o %q", i, e.Name, e.Mode, e.body)
				}
			}
			t.Fatalf("seed %d: %s", seed, d)
		}
	}
}

// randomLayer returns distinct entries: folders d0 to d2, files f0 to f2, and
// whiteouts of both, up to three folders deep.
func randomLayer(r *rand.Rand) []entry {
	all := map[string]entry{}
	for range 1 + r.IntN(8) {
		parent := strings.Repeat(fmt.Sprintf("d%d/", r.IntN(3)), r.IntN(3))
		var e entry
		switch r.IntN(6) {
		case 0, 1:
			e = dir(parent + fmt.Sprint("d", r.IntN(3)))
			e.Mode = 0o700 + int64(r.IntN(8))
		case 2, 3:
			e = file(parent+fmt.Sprint("f", r.IntN(3)), fmt.Sprint("body", r.IntN(1000)))
		case 4:
			e = file(parent+fmt.Sprintf(".wh.%c%d", "df"[r.IntN(2)], r.IntN(3)), "")
		case 5:
			e = file(parent+".wh..wh..opq", "")
		}
		all[e.Name] = e
	}
	var list []entry
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[name])
	}
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}
