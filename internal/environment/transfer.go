package environment

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"pyro/api"
	"pyro/internal/oci"
	"pyro/internal/tree"
)

// The labels under which an exported image keeps which environment it is, and
// what no other tool would carry along.
const (
	labelName = "dev.pyro.environment"
	labelMeta = "dev.pyro.meta"
)

// provenance is what labelMeta holds, of [Meta].
type provenance struct {
	RecipeDigest string        `json:"recipe_digest,omitempty"`
	Packages     []api.Package `json:"packages,omitempty"`
	Releases     []Release     `json:"releases,omitempty"`
}

// Import makes the environment name from source: a folder (an OCI layout or a
// root file system), an archive (an OCI layout, what docker save writes, or a
// root file system; plain, gzip, zstd or xz) or a docker:// reference. The name
// must be free. A name of the catalogue is accepted for an export of that very
// environment, which is how one comes to a machine without a network.
func (m *Manager) Import(ctx context.Context, name, source string, progress ProgressFunc) (api.Environment, error) {
	if err := checkName(name); err != nil {
		return api.Environment{}, api.Errorf(api.KindUsage, "environment name %w", err)
	}
	t := &target{name: name}
	entry, err := m.findEntry(name)
	if err != nil {
		return api.Environment{}, err
	}
	t.entry = entry
	report := newReporter(name, progress)
	report.begin(phaseInstall, "")
	return m.installing(ctx, name, report, func() error {
		if _, err := m.cache.readRecord(name, m.arch); err == nil {
			return api.Errorf(api.KindConflict, "environment %s is installed already", name).
				WithHint("choose another name; pyro env list shows those taken")
		}
		m.cache.sweep()
		return m.make(ctx, t, report, func(ctx context.Context, j *job) (*rootfs, error) {
			r, err := m.readSource(ctx, j, name, source, report)
			if err != nil {
				return nil, err
			}
			labels := r.meta.Config.Labels
			if t.entry != nil && labels[labelName] != name {
				r.close()
				return nil, api.Errorf(api.KindConflict, "the name is in the catalogue, and %s is not an export of it", source).
					WithHint("choose another name, or install it with: pyro env pull %s", name)
			}
			r.meta.adopt(labels[labelMeta])
			return r, nil
		})
	})
}

// adopt takes over what an export says of its packages. Like everything in an
// archive it is a claim, of the one who made it.
func (m *Meta) adopt(label string) {
	var p provenance
	if label != "" && decodeStrict([]byte(label), &p) == nil {
		m.RecipeDigest, m.Packages, m.Releases = p.RecipeDigest, p.Packages, p.Releases
	}
	delete(m.Config.Labels, labelMeta)
}

// readSource gets the root file system of an import.
func (m *Manager) readSource(ctx context.Context, j *job, name, source string, report *reporter) (*rootfs, error) {
	if oci.HasScheme(source) {
		if err := m.online(name); err != nil {
			return nil, err
		}
		ref, err := oci.ParseReference(source)
		if err != nil {
			return nil, err
		}
		return m.pullImage(ctx, j, ref, report)
	}
	path, err := filepath.Abs(source)
	if err != nil {
		return nil, err
	}
	from := Source{Kind: FromImport, Location: path}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, api.Errorf(api.KindNotFound, "%s does not exist", source).
			WithHint("give a folder, an archive, or docker://HOST/REPOSITORY:TAG")
	}
	if err != nil {
		return nil, api.Errorf(api.KindPermission, "%s cannot be read: %w", source, err)
	}
	report.begin(phaseUnpack, "")
	switch {
	case st.IsDir() && oci.IsLayout(path):
		img, closer, err := oci.OpenLayout(path, m.platform())
		if err != nil {
			return nil, err
		}
		defer closer.Close()
		from.Digest = img.Digest
		return m.flatten(ctx, j, img, from, report)
	case st.IsDir():
		return m.readFolder(ctx, j, path, from)
	}
	a, err := oci.OpenArchive(ctx, path, j.dir, m.platform())
	if err != nil {
		return nil, err
	}
	defer a.Close()
	from.Digest = a.Image.Digest
	return m.flatten(ctx, j, a.Image, from, report)
}

func (m *Manager) readFolder(ctx context.Context, j *job, path string, from Source) (*rootfs, error) {
	t, err := tree.New(j.dir)
	if err != nil {
		return nil, err
	}
	if err := oci.ReadFolder(ctx, path, t); err != nil {
		t.Close()
		return nil, err
	}
	return &rootfs{tree: t, meta: Meta{Source: from}}, nil
}

// Export writes an installed environment as a tar archive that Import reads on
// another machine, and other tools read as an OCI layout. The imported image has
// the digest of the exported one.
func (m *Manager) Export(ctx context.Context, name string, w io.Writer) error {
	t, err := m.lookup(name)
	if err != nil {
		return err
	}
	img, err := m.Acquire(ctx, name)
	if err != nil {
		return err
	}
	defer img.Release()
	meta, err := m.cache.readMeta(img.Digest)
	if err != nil {
		return imageError(img.Digest, err)
	}
	j, err := m.cache.newJob()
	if err != nil {
		return storageError(m.cache.dir, err)
	}
	defer j.end()
	files, release, err := m.openImage(img.Digest, j.dir)
	if err != nil {
		return m.installError(ctx, name, 0, err)
	}
	defer release()
	defer files.Close()
	config := img.Config
	config.Created = buildTime(meta)
	config.Labels, err = exportLabels(t.name, meta)
	if err != nil {
		return err
	}
	err = oci.WriteLayout(&ctxWriter{ctx, w}, oci.LayoutOptions{
		Name: t.name, Platform: m.platform(), Config: config, SpoolDir: j.dir,
		Tar: func(w io.Writer) error { return files.WriteTar(&ctxWriter{ctx, w}, time.Time{}) },
	})
	return m.installError(ctx, name, meta.SizeBytes, err)
}

func exportLabels(name string, meta *Meta) (map[string]string, error) {
	p, err := json.Marshal(provenance{meta.RecipeDigest, meta.Packages, meta.Releases})
	return map[string]string{labelName: name, labelMeta: string(p)}, err
}

// buildTime is the build time in an image, which its file has as its time; the
// zero time if it has none.
func buildTime(meta *Meta) time.Time { return knownTime(meta.ModTime) }

// knownTime returns t, or the zero time if t is one of the ways in which images
// say that they do not tell when they were made.
func knownTime(t time.Time) time.Time {
	if t.Unix() <= 0 {
		return time.Time{}
	}
	return t.UTC()
}
