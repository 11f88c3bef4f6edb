package workspace

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"pyro/api"
	"pyro/internal/runtime"
	"pyro/internal/sandbox"
	"pyro/internal/secret"
	"pyro/internal/seed"
	"pyro/internal/store"
	"pyro/internal/tree"
)

// Create makes a workspace and starts it. An environment that is not installed
// is pulled first.
func (m *Manager) Create(ctx context.Context, req api.CreateWorkspaceRequest, progress func(api.Progress)) (api.Workspace, error) {
	if err := sandbox.Check(req.VCPUCount, req.MemMiB); err != nil {
		return api.Workspace{}, err
	}
	if err := checkLabels(req.Labels); err != nil {
		return api.Workspace{}, err
	}
	if req.Name != "" {
		if err := checkName(req.Name); err != nil {
			return api.Workspace{}, err
		}
	}
	driver, err := m.drivers.Wanted(ctx, req.Runtime, req.Network || req.NetworkPolicy != "")
	if err != nil {
		return api.Workspace{}, err
	}
	network, err := networkOf(req, driver)
	if err != nil {
		return api.Workspace{}, err
	}
	all, err := secret.Read(req.Secrets)
	if err != nil {
		return api.Workspace{}, err
	}
	source, only, err := openSeed(req)
	if err != nil {
		return api.Workspace{}, err
	}
	if source != nil {
		defer source.Close()
	}
	if err := m.room(0); err != nil {
		return api.Workspace{}, err
	}
	id := newID()
	if err := m.takeName(req.Name, id); err != nil {
		return api.Workspace{}, err
	}
	w, err := m.createAs(ctx, id, req, driver, seeding{source, only, network}, all, progress)
	if err != nil {
		m.dropUnused(req.Name, id)
	}
	return w, err
}

// seeding is what was read on the host of what a workspace is to begin with.
type seeding struct {
	source  *seed.Source // nil for nothing
	only    *seed.Selection
	network string // its policy, as it is recorded
}

// createAs is Create for a request that was checked, whose name is the id's.
func (m *Manager) createAs(ctx context.Context, id string, req api.CreateWorkspaceRequest, driver runtime.Driver, from seeding, all []secret.Secret, progress func(api.Progress)) (api.Workspace, error) {
	if err := sandbox.Prepare(ctx, m.environments, driver, req.Kernel, progress); err != nil {
		return api.Workspace{}, err
	}
	image, err := sandbox.AcquireOrPull(ctx, m.environments, req.Environment, progress)
	if err != nil {
		return api.Workspace{}, err
	}
	row := newRow(id, req, driver, image)
	row.Network, row.NetworkPolicy = from.network != "", from.network
	in := newInstance(m.folder(row.ID), row, driver, image)
	in.secrets = newSecrets(all)
	report, err := m.create(ctx, in, from.source, seed.Options{Strict: req.Strict, Only: from.only})
	if err != nil {
		if undone := m.destroy(in); undone != nil {
			m.log.Error("the rest of a workspace that was not created is not removed, trying again", "workspace", in.id, "error", undone)
			m.deleteLater(in)
		}
		return api.Workspace{}, sandbox.CanceledOr(ctx, err)
	}
	w := in.public()
	w.Notice = sandbox.Notice(ctx, driver)
	w.Warnings, w.WarningsDropped = warnings(report.Warnings), report.Dropped
	return w, nil
}

// networkOf returns the policy that the request asks for, as it is recorded.
func networkOf(req api.CreateWorkspaceRequest, driver runtime.Driver) (string, error) {
	p, err := sandbox.ReadPolicy(req.Network, req.NetworkPolicy)
	if err != nil {
		return "", err
	}
	if err := sandbox.CheckNetwork(driver, p, req.NetworkPolicy); err != nil {
		return "", err
	}
	return sandbox.StorePolicy(p)
}

// openSeed opens what a workspace is to begin with, nil for nothing.
func openSeed(req api.CreateWorkspaceRequest) (*seed.Source, *seed.Selection, error) {
	if req.SeedPath == "" {
		if req.SeedFiles != nil {
			return nil, nil, api.Errorf(api.KindUsage, "seed_files is given without seed_path").WithHint("give the folder of the files as seed_path")
		}
		return nil, nil, nil
	}
	var only *seed.Selection
	if req.SeedFiles != nil {
		var err error
		if only, err = seed.NewSelection(req.SeedFiles); err != nil {
			return nil, nil, err
		}
	}
	source, err := seed.Open(req.SeedPath)
	if err != nil {
		return nil, nil, err
	}
	if only != nil && source.Mode != seed.Directory {
		source.Close()
		return nil, nil, api.Errorf(api.KindUsage, "seed_files names files of a folder, and %s is an archive", req.SeedPath).WithHint("leave seed_files out")
	}
	return source, only, nil
}

func newRow(id string, req api.CreateWorkspaceRequest, driver runtime.Driver, image *sandbox.Image) store.Workspace {
	t := now()
	row := store.Workspace{
		ID: id, Name: req.Name, Environment: req.Environment, ImageDigest: image.Digest, Driver: driver.Name(), State: store.WorkspaceCreating,
		VCPUCount: req.VCPUCount, MemMiB: req.MemMiB, DiskMiB: req.DiskMiB, PIDLimit: req.PIDLimit, TTLSeconds: req.TTLSeconds, Kernel: req.Kernel,
		SeedMode: string(api.SeedEmpty), DiskSource: api.Baseline, CreatedAt: t, LastActivityAt: t,
	}
	setLabels(&row, req.Labels)
	if req.SeedPath != "" {
		row.SeedPath = req.SeedPath
	}
	if req.TTLSeconds > 0 {
		row.ExpiresAt = t.Add(api.Seconds(req.TTLSeconds))
	}
	return row
}

// create does what can be undone by destroy.
func (m *Manager) create(ctx context.Context, in *instance, source *seed.Source, how seed.Options) (seed.Report, error) {
	if err := m.store.InsertWorkspace(ctx, in.row); err != nil {
		return seed.Report{}, err
	}
	if err := m.hit("create-recorded"); err != nil {
		return seed.Report{}, err
	}
	for _, dir := range []string{in.dir, in.tmp(), in.disks()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return seed.Report{}, storageError("folder "+dir, err)
		}
	}
	if err := m.sealSecrets(in); err != nil {
		return seed.Report{}, err
	}
	how.Sums = &seed.Sums{}
	report, err := m.writeSeed(ctx, in, source, how)
	if err != nil {
		return report, err
	}
	if err := m.hit("create-seeded"); err != nil {
		return report, err
	}
	described := make(chan error, 1) // hashing the seed and syncing it take as long as booting
	go func() { described <- m.describeSeed(in) }()
	l, err := m.boot(ctx, in, in.runtime(), 1, state{base: in.seedPath()}, in.commandLog())
	if describeErr := <-described; err == nil && describeErr != nil {
		m.discard(in, l)
		err = describeErr
	}
	if err != nil {
		return report, err
	}
	err = m.set(ctx, in, true, func(r *store.Workspace) {
		r.State, r.Machine, r.Generation = store.WorkspaceStarted, l.machine.ID(), 1
		if source != nil {
			r.SeedMode, r.SeedEntries, r.SeedBytes = string(report.Mode), report.Entries, report.Bytes
		}
	})
	if err == nil {
		err = m.hit("create-committed")
	}
	if err != nil {
		m.discard(in, l)
		return report, err
	}
	m.measure(in)
	m.live(in, l)
	m.add(in)
	m.learnSeed(in, how.Sums)
	return report, nil
}

// writeSeed writes the image that /workspace begins with.
func (m *Manager) writeSeed(ctx context.Context, in *instance, source *seed.Source, how seed.Options) (seed.Report, error) {
	t, err := tree.New(in.tmp())
	if err != nil {
		return seed.Report{}, err
	}
	defer t.Close()
	if err := t.Put(api.WorkspacePath, &tree.Node{Type: tree.Dir, Mode: 0o755, ModTime: time.Now()}, nil); err != nil {
		return seed.Report{}, err
	}
	var report seed.Report
	if source != nil {
		if report, err = source.Read(ctx, t, api.WorkspacePath, how); err != nil {
			return report, err
		}
	}
	if err := m.room(report.Bytes); err != nil {
		return report, err
	}
	v := &view{tree: t}
	return report, v.writeImage(ctx, in.seedPath())
}

// describeSeed makes sure that the seed is on the disk, and writes seed.json.
func (m *Manager) describeSeed(in *instance) error {
	info, err := describeFile(in.seedPath())
	if err != nil {
		return storageError(in.what(), err)
	}
	m.checked.note(in.seedPath(), info)
	mf := manifest{Created: now(), Files: map[string]fileInfo{seedFile: info}, Secrets: len(in.secrets.all) > 0}
	if err := writeJSON(filepath.Join(in.dir, seedInfoFile), mf); err != nil {
		return storageError(in.what(), err)
	}
	return storageErrorOrNil(in.what(), syncDir(in.dir))
}

func warnings(list []seed.Warning) []api.Warning {
	var out []api.Warning
	for _, w := range list {
		out = append(out, api.Warning{Path: validText(w.Path), Reason: w.Reason})
	}
	return out
}
