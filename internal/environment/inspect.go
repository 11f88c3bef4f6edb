package environment

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pyro/api"
)

// List returns the environments of the catalogue, then the user's, then whatever
// else is installed.
func (m *Manager) List(_ context.Context) (api.EnvironmentList, error) {
	list := api.EnvironmentList{CatalogVersion: CatalogVersion()}
	user, err := m.userEntries()
	if err != nil {
		return list, err
	}
	records, err := m.cache.listRecords(m.arch)
	if err != nil {
		return list, storageError(m.cache.dir, err)
	}
	installed := map[string]*Record{}
	for _, r := range records {
		installed[r.Name] = r
	}
	for _, e := range slices.Concat(builtin().Environments, user) {
		env := entryEnvironment(&e)
		if r := installed[e.Name]; r != nil {
			m.fill(&env, r, false)
			delete(installed, e.Name)
		}
		list.Environments = append(list.Environments, env)
	}
	for _, r := range records {
		if installed[r.Name] != nil {
			env := api.Environment{Name: r.Name}
			m.fill(&env, r, false)
			list.Environments = append(list.Environments, env)
		}
	}
	list.Kernels = m.listKernels()
	return list, nil
}

func entryEnvironment(e *Entry) api.Environment {
	return api.Environment{Name: e.Name, Description: e.Description, Version: e.Version}
}

// Inspect describes one environment, with its packages if it is installed.
// verify reads the whole image as well; a damaged one is then an error of
// KindVerification.
func (m *Manager) Inspect(ctx context.Context, name string, verify bool) (api.Environment, error) {
	if e := builtin().findKernel(name); e != nil {
		return m.inspectKernel(ctx, e, verify)
	}
	t, err := m.lookup(name)
	if err != nil {
		return api.Environment{}, err
	}
	env := api.Environment{Name: t.name}
	if t.entry != nil {
		env = entryEnvironment(t.entry)
	}
	rec, err := m.cache.readRecord(t.name, m.arch)
	if errors.Is(err, fs.ErrNotExist) && t.entry != nil && !verify {
		return env, nil
	}
	if err != nil {
		return api.Environment{}, m.notUsable(t, err)
	}
	if verify {
		if err := m.verifyImage(ctx, rec.Image); err != nil {
			if ctx.Err() != nil {
				return api.Environment{}, canceled(ctx)
			}
			return api.Environment{}, m.notUsable(t, incomplete(rec, err))
		}
		env.Verified = true
	}
	m.fill(&env, rec, true)
	return env, nil
}

// Meta returns everything that is known of an installed environment's image.
func (m *Manager) Meta(name string) (*Meta, error) {
	t, err := m.lookup(name)
	if err != nil {
		return nil, err
	}
	rec, err := m.cache.readRecord(t.name, m.arch)
	if err != nil {
		return nil, m.notUsable(t, err)
	}
	meta, err := m.cache.readMeta(rec.Image)
	if err != nil {
		return nil, m.notUsable(t, incomplete(rec, err))
	}
	return meta, nil
}

// describe describes an installed environment whole.
func (m *Manager) describe(r *Record) api.Environment {
	env := api.Environment{Name: r.Name}
	m.fill(&env, r, true)
	return env
}

// fill adds what a record and the image's meta.json say. A damaged meta.json
// leaves gaps here; use and verify report it.
func (m *Manager) fill(env *api.Environment, r *Record, packages bool) {
	env.Installed = true
	env.Source, env.Digest = r.Source.String(), r.Image
	env.Version = cmp.Or(r.Version, env.Version)
	env.Description = cmp.Or(env.Description, r.Description, defaultDescription(r))
	env.Path = filepath.Join(m.cache.image(r.Image), imageFile)
	env.CreatedAt = r.Installed
	meta, err := m.cache.readMeta(r.Image)
	if err != nil {
		return
	}
	env.SizeBytes, env.CreatedAt = meta.SizeBytes, meta.Created
	if packages {
		env.Packages = meta.Packages
	}
}

func defaultDescription(r *Record) string {
	switch r.Source.Kind {
	case FromImport:
		return "imported from " + r.Source.Location
	case FromOCI:
		return "image of a registry"
	}
	return "installed from an entry that is gone"
}

// listRecords returns the records of an architecture, sorted by name. Damaged
// ones are passed over: a pull replaces them.
func (c *cache) listRecords(arch string) ([]*Record, error) {
	files, err := os.ReadDir(c.envs())
	if err != nil {
		return nil, err
	}
	var records []*Record
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), "@"+arch+".json") {
			continue
		}
		r, err := c.readRecordFile(f.Name())
		if err == nil && r.Arch == arch {
			records = append(records, r)
		}
	}
	slices.SortFunc(records, func(a, b *Record) int { return cmp.Compare(a.Name, b.Name) })
	return records, nil
}

func (c *cache) readRecordFile(file string) (*Record, error) {
	data, err := readSmall(filepath.Join(c.envs(), file), maxRecordFile)
	if err != nil {
		return nil, err
	}
	r, err := parseRecord(data)
	if err == nil && filepath.Base(c.record(r.Name, r.Arch)) != file {
		err = errDamaged
	}
	return r, err
}

// referenced returns the digests that any record names, of whatever architecture,
// even if the rest of the record makes no sense to this version of pyro.
func (c *cache) referenced() (map[string]bool, error) {
	files, err := os.ReadDir(c.envs())
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, f := range files {
		data, err := readSmall(filepath.Join(c.envs(), f.Name()), maxRecordFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var r struct {
			Image string `json:"image"`
		}
		if json.Unmarshal(data, &r) == nil && imageDigest.MatchString(r.Image) {
			used[r.Image] = true
		}
	}
	return used, nil
}
