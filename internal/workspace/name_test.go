package workspace

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

// createNamed makes a workspace with a name and labels.
func (w *world) createNamed(name string, labels map[string]string) (api.Workspace, error) {
	req := request()
	req.Name, req.Labels = name, labels
	return w.Create(w.t.Context(), req, nil)
}

func (w *world) update(req api.UpdateWorkspaceRequest) (api.Workspace, error) {
	return w.Update(w.t.Context(), req)
}

func TestNames(t *testing.T) { inBubble(t, testNames) }

func testNames(t *testing.T, w *world) {
	a, err := w.createNamed("api", map[string]string{"project": "x", "tier": ""})
	if err != nil {
		t.Fatal(err)
	}
	if a.Name != "api" || w.ID("api") != a.WorkspaceID || w.ID(a.WorkspaceID) != a.WorkspaceID || w.ID("other") != "other" {
		t.Errorf("%+v; the name gives %s", a, w.ID("api"))
	}
	_, err = w.createNamed("api", nil)
	wantKind(t, err, api.KindConflict)
	b, err := w.createNamed("", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.update(api.UpdateWorkspaceRequest{WorkspaceID: b.WorkspaceID, Name: "api", Labels: map[string]string{"k": "v"}})
	wantKind(t, err, api.KindConflict)
	if got := w.status(b.WorkspaceID); got.Name != "" || got.Labels != nil {
		t.Errorf("a refused update left %+v", got)
	}

	// A name that is given up can be taken, and one's own kept.
	for _, req := range []api.UpdateWorkspaceRequest{
		{WorkspaceID: a.WorkspaceID, Name: "web"},
		{WorkspaceID: b.WorkspaceID, Name: "api"},
		{WorkspaceID: b.WorkspaceID, Name: "api"},
		{WorkspaceID: a.WorkspaceID, ClearName: true},
		{WorkspaceID: b.WorkspaceID, Name: "web"},
	} {
		if _, err := w.update(req); err != nil {
			t.Errorf("%+v: %v", req, err)
		}
	}
	if w.ID("web") != b.WorkspaceID || w.ID("api") != "api" {
		t.Errorf("web is %s, api is %s", w.ID("web"), w.ID("api"))
	}

	// Both survive a crash and a reset.
	w = w.crash()
	w.reset(b.WorkspaceID, api.Baseline)
	if got := w.status(b.WorkspaceID); got.Name != "web" || w.ID("web") != b.WorkspaceID {
		t.Errorf("after a crash and a reset: %+v", got)
	}
	if got := w.status(a.WorkspaceID).Labels; !cmp.Equal(got, map[string]string{"project": "x", "tier": ""}) {
		t.Errorf("labels %v", got)
	}
	w.delete(b.WorkspaceID)
	if _, err := w.createNamed("web", nil); err != nil {
		t.Errorf("the name of a deleted workspace: %v", err)
	}
}

func TestNamesThatMayNotBe(t *testing.T) { inBubble(t, testNamesThatMayNotBe) }

func testNamesThatMayNotBe(t *testing.T, w *world) {
	id := w.create()
	for _, name := range []string{"ws-0123456789ab", "ws-", "-a", ".a", "a b", "a/b", "ä", strings.Repeat("a", 65), "a\n"} {
		_, err := w.createNamed(name, nil)
		wantKind(t, err, api.KindUsage)
		_, err = w.update(api.UpdateWorkspaceRequest{WorkspaceID: id, Name: name})
		wantKind(t, err, api.KindUsage)
	}
	many := map[string]string{}
	for i := range maxLabels + 1 {
		many[fmt.Sprint(i)] = ""
	}
	for _, labels := range []map[string]string{
		{"": "v"}, {"a b": "v"}, {strings.Repeat("k", 64): ""}, {"k": "a\nb"}, {"k": "\xff"}, {"k": strings.Repeat("v", 257)}, many,
	} {
		_, err := w.createNamed("", labels)
		wantKind(t, err, api.KindUsage)
		_, err = w.update(api.UpdateWorkspaceRequest{WorkspaceID: id, Labels: labels})
		wantKind(t, err, api.KindUsage)
	}
	for _, req := range []api.UpdateWorkspaceRequest{{}, {Name: "a", ClearName: true}} {
		req.WorkspaceID = id
		_, err := w.update(req)
		wantKind(t, err, api.KindUsage)
	}
	_, err := w.update(api.UpdateWorkspaceRequest{WorkspaceID: "ws-none", ClearName: true})
	wantKind(t, err, api.KindNotFound)
}

func TestLabels(t *testing.T) { inBubble(t, testLabels) }

func testLabels(t *testing.T, w *world) {
	a, err := w.createNamed("", map[string]string{"project": "x", "tier": "1"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.createNamed("", map[string]string{"project": "x"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.update(api.UpdateWorkspaceRequest{WorkspaceID: b.WorkspaceID, Labels: map[string]string{"tier": "2", "new": "n"}, ClearLabels: []string{"project", "none", "new"}})
	if err != nil || !cmp.Equal(got.Labels, map[string]string{"tier": "2", "new": "n"}) {
		t.Errorf("%v, %v", got.Labels, err)
	}
	for _, test := range []struct {
		want []string
		ask  map[string]string
	}{
		{[]string{a.WorkspaceID, b.WorkspaceID}, nil},
		{[]string{a.WorkspaceID}, map[string]string{"project": "x"}},
		{[]string{b.WorkspaceID}, map[string]string{"tier": "2", "new": "n"}},
		{nil, map[string]string{"tier": "2", "new": ""}},
		{nil, map[string]string{"none": ""}},
	} {
		list, err := w.List(t.Context(), api.ListWorkspacesRequest{Labels: test.ask})
		var ids []string
		for _, ws := range list.Workspaces {
			ids = append(ids, ws.WorkspaceID)
		}
		slices.Sort(ids) // both are of the same moment
		slices.Sort(test.want)
		if !cmp.Equal(ids, test.want) || err != nil {
			t.Errorf("with %v: %v, %v", test.ask, ids, err)
		}
	}
}

// TestNameOfAFailedCreation: a creation that fails leaves its name free, and one
// that goes on keeps it from others.
func TestNameOfAFailedCreation(t *testing.T) { inBubble(t, testNameOfAFailedCreation) }

func testNameOfAFailedCreation(t *testing.T, w *world) {
	w.failAt("create-seeded")
	if _, err := w.createNamed("api", nil); err == nil {
		t.Fatal("it did not fail")
	}
	w.at(func(string) error { return nil })
	if _, err := w.createNamed("api", nil); err != nil {
		t.Error(err)
	}
}

// TestNameIsGivenOnce: of many who want the same name at once, one gets it.
func TestNameIsGivenOnce(t *testing.T) { inBubble(t, testNameIsGivenOnce) }

func testNameIsGivenOnce(t *testing.T, w *world) {
	ids := []string{w.create(), w.create(), w.create()}
	for range 20 {
		var wg sync.WaitGroup
		got := make([]error, len(ids))
		for i, id := range ids {
			wg.Go(func() { _, got[i] = w.update(api.UpdateWorkspaceRequest{WorkspaceID: id, Name: "one"}) })
		}
		wg.Wait()
		winners := 0
		for i, id := range ids {
			if got[i] == nil {
				winners++
				if w.ID("one") != id || w.status(id).Name != "one" {
					t.Errorf("%s has it, the name gives %s", id, w.ID("one"))
				}
				if _, err := w.update(api.UpdateWorkspaceRequest{WorkspaceID: id, ClearName: true}); err != nil {
					t.Error(err)
				}
			}
		}
		if winners != 1 {
			t.Fatalf("%d have the name: %v", winners, got)
		}
	}
}
