package environment

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

func TestImportAndExport(t *testing.T) {
	for what, files := range map[string]string{"archive": "tar", "folder": "folder"} {
		t.Run(what, func(t *testing.T) {
			src := filepath.Join(t.TempDir(), "root.tar")
			if files == "tar" {
				check(t, os.WriteFile(src, layerOf(t, "etc/a", "1", "b", "2"), 0o600))
			} else {
				src = t.TempDir()
				check(t, os.Mkdir(filepath.Join(src, "etc"), 0o755))
				check(t, os.WriteFile(filepath.Join(src, "etc/a"), []byte("1"), 0o644))
				check(t, os.WriteFile(filepath.Join(src, "b"), []byte("2"), 0o644))
			}
			m := newManager(t, nil)
			env, err := m.Import(t.Context(), "mine:1", src, nil)
			check(t, err)
			if env.Source != src || env.Description != "imported from "+src {
				t.Errorf("environment %+v", env)
			}
			if diff := cmp.Diff([]string{"/b=2", "/etc/a=1"}, contents(t, m, "mine:1")); diff != "" {
				t.Error(diff)
			}
			_, err = m.Import(t.Context(), "mine:1", src, nil)
			wantKind(t, err, api.KindConflict, "installed already")
			_, err = m.Pull(t.Context(), "mine:1", nil) // whole: nothing to do
			check(t, err)

			var exported bytes.Buffer
			check(t, m.Export(t.Context(), "mine:1", &exported))
			moved := filepath.Join(t.TempDir(), "moved.tar")
			check(t, os.WriteFile(moved, exported.Bytes(), 0o600))
			other := newManager(t, nil)
			there, err := other.Import(t.Context(), "copy", moved, nil)
			check(t, err)
			if there.Digest != env.Digest {
				t.Errorf("the image is %s here and %s there", env.Digest, there.Digest)
			}
			emptyTmp(t, m)

			flip(t, env.Path, 1100)
			_, err = m.Pull(t.Context(), "mine:1", nil)
			wantKind(t, err, api.KindVerification, "imported")
		})
	}
}

// An environment that was pulled keeps its digest and config when it moves.
func TestExportOfPulled(t *testing.T) {
	reg := serveImages(t)
	m := newManager(t, nil)
	env, err := m.Pull(t.Context(), reg.add(t, "app", layerOf(t, "f", "x")), nil)
	check(t, err)
	var exported bytes.Buffer
	check(t, m.Export(t.Context(), env.Name, &exported))
	moved := filepath.Join(t.TempDir(), "moved.tar")
	check(t, os.WriteFile(moved, exported.Bytes(), 0o600))
	there, err := m.Import(t.Context(), "copy", moved, nil)
	check(t, err)
	img, err := m.Acquire(t.Context(), "copy")
	check(t, err)
	defer img.Release()
	if there.Digest != env.Digest || img.Config.User != "app" {
		t.Errorf("moved: %+v, config %+v", there, img.Config)
	}
}

func TestImportErrors(t *testing.T) {
	m := newManager(t, nil)
	bad := filepath.Join(t.TempDir(), "bad.tar")
	good := filepath.Join(t.TempDir(), "good.tar")
	check(t, os.WriteFile(bad, layerOf(t, "../../escape", "x"), 0o600))
	check(t, os.WriteFile(good, layerOf(t, "a", "x"), 0o600))
	for _, tt := range []struct {
		name, source string
		kind         api.Kind
		says         string
	}{
		{"Bad Name", bad, api.KindUsage, "Bad Name"},
		{"a/b", bad, api.KindUsage, "a/b"},
		{"debian:12", good, api.KindConflict, "good.tar is not an export of it"},
		{"x", filepath.Join(t.TempDir(), "none"), api.KindNotFound, "none"},
		{"x", bad, api.KindUnsafe, "escape"},
	} {
		_, err := m.Import(t.Context(), tt.name, tt.source, nil)
		wantKind(t, err, tt.kind, tt.says)
	}
	_, err := m.Acquire(t.Context(), "x")
	wantKind(t, err, api.KindNotFound)
	emptyTmp(t, m)
}

// An environment of the catalogue can be brought to a machine without a network,
// under its own name and with what is known of its packages.
func TestMoveCatalogEnvironment(t *testing.T) {
	m, _ := newArchiveManager(t)
	env, err := m.Pull(t.Context(), "debian:12", nil)
	check(t, err)
	var exported bytes.Buffer
	check(t, m.Export(t.Context(), "debian:12", &exported))
	moved := filepath.Join(t.TempDir(), "moved.tar")
	check(t, os.WriteFile(moved, exported.Bytes(), 0o600))

	other := newManager(t, func(o *Options) { o.Offline = true })
	_, err = other.Import(t.Context(), "debian:12-base", moved, nil)
	wantKind(t, err, api.KindConflict, "not an export of it")
	there, err := other.Import(t.Context(), "debian:12", moved, nil)
	check(t, err)
	if there.Digest != env.Digest || there.Description != env.Description {
		t.Errorf("here %+v, there %+v", env, there)
	}
	if diff := cmp.Diff(env.Packages, there.Packages); diff != "" {
		t.Error(diff)
	}
	_, err = other.Pull(t.Context(), "debian:12", nil) // installed: no network needed
	check(t, err)
}
