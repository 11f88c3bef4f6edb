package workspace

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"

	"pyro/api"
	"pyro/internal/agent/wire"
	"pyro/internal/store"
)

// Bounds of labels.
const (
	maxLabels     = 64
	maxLabelKey   = 63
	maxLabelValue = 256
)

// checkName refuses names that could be taken for something else. Those that
// begin as ids do are never names, so that no id is ever taken.
func checkName(name string) error {
	if !wire.ValidName(name) {
		return api.Errorf(api.KindUsage, "%q cannot be the name of a workspace", name).
			WithHint("use 1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit")
	}
	if strings.HasPrefix(name, machinePrefix) {
		return api.Errorf(api.KindUsage, "%q cannot be the name of a workspace: it begins as the ids do", name).
			WithHint("use a name that does not begin with %s", machinePrefix)
	}
	return nil
}

func checkLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return api.Errorf(api.KindUsage, "%d labels are too many, a workspace has at most %d", len(labels), maxLabels)
	}
	for key, value := range labels {
		if !validLabelKey(key) {
			return api.Errorf(api.KindUsage, "%q cannot be the key of a label", key).
				WithHint("use 1 to %d letters, digits, dots, dashes, underscores and slashes", maxLabelKey)
		}
		if len(value) > maxLabelValue || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return api.Errorf(api.KindUsage, "the label %s cannot have this value", key).
				WithHint("use at most %d bytes of text in one line", maxLabelValue)
		}
	}
	return nil
}

func validLabelKey(key string) bool {
	other := func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-/", c))
	}
	return key != "" && len(key) <= maxLabelKey && !strings.ContainsFunc(key, other)
}

// labels are those of a record.
func labels(r store.Workspace) map[string]string {
	if r.Labels == "" {
		return nil
	}
	var l map[string]string
	if json.Unmarshal([]byte(r.Labels), &l) != nil {
		return nil
	}
	return l
}

func setLabels(r *store.Workspace, l map[string]string) {
	r.Labels = ""
	if len(l) > 0 {
		b, _ := json.Marshal(l) // a map of strings can always be marshaled
		r.Labels = string(b)
	}
}

// ID returns the id of the workspace that ref names: an id as it is, whether
// there is such a workspace or not, or a name.
func (m *Manager) ID(ref string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id := m.names[ref]; id != "" {
		return id
	}
	return ref
}

// takeName reserves a name for a workspace; "" is free for all.
func (m *Manager) takeName(name, id string) error {
	if name == "" {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if other := m.names[name]; other != "" && other != id {
		return api.Errorf(api.KindConflict, "the name %s is that of workspace %s", name, other).
			WithHint("choose another, or take it away: pyro workspace update %s --clear-name", other)
	}
	m.names[name] = id
	return nil
}

// dropName gives up what takeName has reserved.
func (m *Manager) dropName(name, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names[name] == id {
		delete(m.names, name)
	}
}

// dropUnused gives up the name of a workspace that was not made, unless something
// of it is left, whose record has the name.
func (m *Manager) dropUnused(name, id string) {
	m.mu.Lock()
	left := m.workspaces[id] != nil
	m.mu.Unlock()
	if !left {
		m.dropName(name, id)
	}
}

// Update changes the name and the labels: all that is asked for, or nothing.
func (m *Manager) Update(ctx context.Context, req api.UpdateWorkspaceRequest) (api.Workspace, error) {
	if err := checkUpdate(req); err != nil {
		return api.Workspace{}, err
	}
	in, leave, err := m.enter(req.WorkspaceID)
	if err != nil {
		return api.Workspace{}, err
	}
	defer leave()
	in.naming.Lock()
	defer in.naming.Unlock()
	if err := m.rename(ctx, in, req); err != nil {
		return api.Workspace{}, err
	}
	return in.public(), nil
}

func checkUpdate(req api.UpdateWorkspaceRequest) error {
	switch {
	case req.Name != "" && req.ClearName:
		return api.Errorf(api.KindUsage, "name and clear_name are both set").WithHint("choose one of --name and --clear-name")
	case req.Name == "" && !req.ClearName && len(req.Labels) == 0 && len(req.ClearLabels) == 0:
		return api.Errorf(api.KindUsage, "nothing to change was given").WithHint("use --name, --clear-name, --label or --clear-label")
	case req.Name != "":
		if err := checkName(req.Name); err != nil {
			return err
		}
	}
	return checkLabels(req.Labels)
}

// rename does what Update checked. The caller holds in.naming.
func (m *Manager) rename(ctx context.Context, in *instance, req api.UpdateWorkspaceRequest) error {
	row := in.record()
	name, all := row.Name, maps.Clone(labels(row))
	if req.Name != "" || req.ClearName {
		name = req.Name
	}
	if all == nil {
		all = map[string]string{}
	}
	for _, key := range req.ClearLabels {
		delete(all, key)
	}
	maps.Copy(all, req.Labels)
	if err := checkLabels(all); err != nil {
		return err
	}
	if err := m.takeName(name, in.id); err != nil {
		return err
	}
	err := m.set(ctx, in, true, func(r *store.Workspace) {
		r.Name = name
		setLabels(r, all)
	})
	if err != nil && name != row.Name {
		m.dropName(name, in.id)
	}
	if err == nil && name != row.Name {
		m.dropName(row.Name, in.id)
	}
	return err
}

// List describes the workspaces that have all of the labels, oldest first.
func (m *Manager) List(_ context.Context, req api.ListWorkspacesRequest) (api.WorkspaceList, error) {
	list := api.WorkspaceList{Workspaces: []api.Workspace{}}
	for _, in := range m.all() {
		if w := in.public(); hasAll(w.Labels, req.Labels) {
			list.Workspaces = append(list.Workspaces, w)
		}
	}
	return list, nil
}

func hasAll(have, want map[string]string) bool {
	for key, value := range want {
		if got, ok := have[key]; !ok || got != value {
			return false
		}
	}
	return true
}
