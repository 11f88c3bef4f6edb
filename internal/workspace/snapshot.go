package workspace

import (
	"context"
	"regexp"

	"pyro/api"
	"pyro/internal/store"
)

// snapshotName is what docker allows as a tag, but shorter.
var snapshotName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// present is what the newest state is called; no snapshot can have its name.
const presentName = "present"

func checkSnapshotName(name string) error {
	if name == api.Baseline || name == presentName {
		return api.Errorf(api.KindConflict, "the name %s is reserved", name).WithHint("choose another name")
	}
	if !snapshotName.MatchString(name) {
		return api.Errorf(api.KindUsage, "%q cannot name a snapshot", name).
			WithHint("use 1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit")
	}
	return nil
}

// find returns the workspace's snapshot of that name.
func (in *instance) find(name string) (store.Snapshot, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.snapshots {
		if s.Name == name {
			return s, nil
		}
	}
	return store.Snapshot{}, api.Errorf(api.KindNotFound, "%s has no snapshot %s", in.what(), name).
		WithHint("pyro workspace snapshot list %s", in.id)
}

// CreateSnapshot saves the disk under a name. The machine runs on.
func (m *Manager) CreateSnapshot(ctx context.Context, req api.SnapshotRequest) (api.Snapshot, error) {
	if err := checkSnapshotName(req.SnapshotName); err != nil {
		return api.Snapshot{}, err
	}
	in, leave, err := m.enter(req.WorkspaceID)
	if err != nil {
		return api.Snapshot{}, err
	}
	defer leave()
	if err := in.checkName("snapshot", req.SnapshotName); err != nil {
		return api.Snapshot{}, err
	}
	if _, err := in.find(req.SnapshotName); err == nil {
		return api.Snapshot{}, duplicate(in, req.SnapshotName)
	}
	if err := m.room(0); err != nil {
		return api.Snapshot{}, err
	}
	var s store.Snapshot
	err = m.onMachine(ctx, in, func(l *life) error {
		s, err = m.snapshot(ctx, in, l, req.SnapshotName)
		return err
	})
	if err != nil {
		return api.Snapshot{}, err
	}
	m.measure(in)
	return publicSnapshot(s), nil
}

func (m *Manager) snapshot(ctx context.Context, in *instance, l *life, name string) (store.Snapshot, error) {
	s := store.Snapshot{Workspace: in.id, Name: name, CreatedAt: now()}
	if err := in.lock(ctx, in.disk); err != nil {
		return s, err
	}
	defer in.disk.unlock()
	var err error
	if s.Disk, s.SizeBytes, err = m.keep(ctx, in, l); err != nil {
		return s, err
	}
	if err := m.recordSnapshot(in, l, s); err != nil {
		m.sweepDisks(in)
		return s, err
	}
	return s, m.hit("snapshot-recorded")
}

func duplicate(in *instance, name string) *api.Error {
	return api.Errorf(api.KindConflict, "%s has a snapshot %s already", in.what(), name).
		WithHint("choose another name, or delete it first: pyro workspace snapshot delete %s %s", in.id, name)
}

// recordSnapshot makes a saved disk a snapshot.
func (m *Manager) recordSnapshot(in *instance, l *life, s store.Snapshot) error {
	in.rec.Lock()
	defer in.rec.Unlock()
	if in.currentLife() != l {
		return l.orCause(api.Errorf(api.KindCanceled, "%s has another sandbox now", in.what()))
	}
	if _, err := in.find(s.Name); err == nil { // somebody was faster
		return duplicate(in, s.Name)
	}
	if err := m.store.InsertSnapshot(context.Background(), s); err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.snapshots = append(in.snapshots, s)
	return nil
}

func publicSnapshot(s store.Snapshot) api.Snapshot {
	return api.Snapshot{
		WorkspaceID: s.Workspace, SnapshotName: s.Name, Kind: "named", CreatedAt: s.CreatedAt, SizeBytes: s.SizeBytes, Deletable: true,
	}
}

// ListSnapshots lists the baseline and the snapshots.
func (m *Manager) ListSnapshots(_ context.Context, id string) (api.SnapshotList, error) {
	in, err := m.lookup(id)
	if err != nil {
		return api.SnapshotList{}, err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	list := api.SnapshotList{WorkspaceID: id, Snapshots: []api.Snapshot{{
		WorkspaceID: id, SnapshotName: api.Baseline, Kind: api.Baseline, CreatedAt: in.row.CreatedAt, SizeBytes: fileSize(in.seedPath()),
	}}}
	for _, s := range in.snapshots {
		list.Snapshots = append(list.Snapshots, publicSnapshot(s))
	}
	list.Count = len(list.Snapshots)
	return list, nil
}

// DeleteSnapshot deletes a snapshot. A workspace that would come back with it
// keeps the disk until the next save.
func (m *Manager) DeleteSnapshot(ctx context.Context, req api.SnapshotRequest) (api.DeletedSnapshot, error) {
	if req.SnapshotName == api.Baseline {
		return api.DeletedSnapshot{}, api.Errorf(api.KindConflict, "the baseline of a workspace cannot be deleted").
			WithHint("delete the whole workspace: pyro workspace delete %s", req.WorkspaceID)
	}
	in, leave, err := m.enter(req.WorkspaceID)
	if err != nil {
		return api.DeletedSnapshot{}, err
	}
	defer leave()
	if err := in.lock(ctx, in.disk); err != nil {
		return api.DeletedSnapshot{}, err
	}
	defer in.disk.unlock()
	s, err := m.forgetSnapshot(in, req.SnapshotName)
	if err != nil {
		return api.DeletedSnapshot{}, err
	}
	err = m.hit("snapshot-forgotten")
	m.sweepDisks(in)
	if err != nil {
		return api.DeletedSnapshot{}, err
	}
	res := api.DeletedSnapshot{WorkspaceID: in.id, SnapshotName: s.Name, Deleted: true}
	if in.record().Disk != s.Disk {
		res.BytesFreed = s.SizeBytes
	}
	return res, nil
}

func (m *Manager) forgetSnapshot(in *instance, name string) (store.Snapshot, error) {
	in.rec.Lock()
	defer in.rec.Unlock()
	s, err := in.find(name)
	if err != nil {
		return s, err
	}
	if err := m.store.DeleteSnapshot(context.Background(), in.id, name); err != nil {
		return s, err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	kept := in.snapshots[:0:0]
	for _, other := range in.snapshots {
		if other.Name != name {
			kept = append(kept, other)
		}
	}
	in.snapshots = kept
	return s, nil
}
