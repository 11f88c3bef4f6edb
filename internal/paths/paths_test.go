package paths_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/paths"
)

func TestFromEnv(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		env  map[string]string
		want paths.Dirs
	}{
		{
			"home",
			map[string]string{"HOME": "/home/u"},
			paths.Dirs{State: "/home/u/.local/state/pyro", Cache: "/home/u/.cache/pyro", Config: "/home/u/.config/pyro"},
		},
		{
			"xdg",
			map[string]string{"HOME": "/home/u", "XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/c", "XDG_CONFIG_HOME": "/f"},
			paths.Dirs{State: "/s/pyro", Cache: "/c/pyro", Config: "/f/pyro"},
		},
		{
			"relative xdg is ignored",
			map[string]string{"HOME": "/home/u", "XDG_STATE_HOME": "s"},
			paths.Dirs{State: "/home/u/.local/state/pyro", Cache: "/home/u/.cache/pyro", Config: "/home/u/.config/pyro"},
		},
		{
			"own",
			map[string]string{"HOME": "/home/u", "XDG_CACHE_HOME": "/c", "PYRO_STATE_DIR": "state", "PYRO_CACHE_DIR": "/own/../cache"},
			paths.Dirs{State: filepath.Join(wd, "state"), Cache: "/cache", Config: "/home/u/.config/pyro"},
		},
	} {
		got, err := paths.FromEnv(func(k string) string { return tt.env[k] })
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestFromEnvWithoutAnything(t *testing.T) {
	_, err := paths.FromEnv(func(string) string { return "" })
	if e := api.AsError(err); e == nil || e.Kind != api.KindUnavailable || e.Hint == "" {
		t.Errorf("got %+v", e)
	}
}

func TestMakeIsPrivateAndRepeatable(t *testing.T) {
	root := t.TempDir()
	d := paths.Dirs{State: root + "/a/state", Cache: root + "/b", Config: root + "/c"}
	for range 2 {
		if err := d.Make(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(d.State)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	if filepath.Dir(d.Socket()) != d.State || filepath.Dir(d.Lock()) != d.State || d.Driver("gvisor") != d.State+"/gvisor" {
		t.Errorf("files are not in %s", d.State)
	}
}

func TestMakeNamesTheFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := paths.Dirs{State: file + "/state", Cache: file, Config: file}.Make()
	if e := api.AsError(err); e == nil || e.Kind != api.KindStorage || e.Hint == "" {
		t.Errorf("got %+v", e)
	}
}
