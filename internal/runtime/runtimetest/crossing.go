package runtimetest

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"pyro/internal/runtime"
)

// RunCrossing checks that what a machine of one driver has written is, to the
// byte, what a machine of another begins with: its exported layer, and the layer
// of its saved disk as read on the host.
func RunCrossing(t *testing.T, from, to NewDriver, o Options) {
	source := (&suite{newDriver: from, options: o}).world(t)
	target := (&suite{newDriver: to, options: o}).world(t)
	m, want := prepare(t, source)
	t.Run("Exported", func(t *testing.T) {
		layer := layerFile(t, func(w io.Writer) error { return m.(runtime.LayerExporter).ExportLayer(t.Context(), w) })
		target.sameAs(t, want, func(s *runtime.Spec) { s.Layer = layer })
	})
	t.Run("Saved", func(t *testing.T) {
		disk, err := source.driver.(runtime.DiskReader).OpenDisk(save(t, m))
		if err != nil {
			t.Fatal(err)
		}
		defer disk.Close()
		layer := layerFile(t, func(w io.Writer) error { return disk.WriteLayer(t.Context(), runtime.RootMount, w) })
		target.sameAs(t, want, func(s *runtime.Spec) { s.Layer = layer })
	})
}

// layerFile writes a layer to a file.
func layerFile(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "layer.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := write(f); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}
