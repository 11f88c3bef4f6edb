package environment

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

// The names of the catalogue are a promise to users: renaming one is a breaking
// change, and what they hold is stated here a second time on purpose.
func TestCatalog(t *testing.T) {
	m := newManager(t, nil)
	want := map[string]struct {
		description string
		packages    []string
	}{
		"debian:12":       {"Debian 12 with git preinstalled", []string{"apt", "ca-certificates", "git"}},
		"debian:12-base":  {"Debian 12 with a shell and the core Unix tools", []string{"apt"}},
		"debian:12-build": {"Debian 12 with git, gcc, make, python3, curl and the usual build tools", []string{"apt", "build-essential", "ca-certificates", "curl", "git", "pkg-config", "python3"}},
	}
	list, err := m.List(t.Context())
	check(t, err)
	if list.CatalogVersion != "2.8.0" || len(list.Environments) != len(want) {
		t.Errorf("version %q, %d environments", list.CatalogVersion, len(list.Environments))
	}
	for _, env := range list.Environments {
		w, ok := want[env.Name]
		if !ok || env.Description != w.description || env.Installed || env.Version == "" {
			t.Errorf("environment %+v", env)
			continue
		}
		entry := builtin().find(env.Name)
		chain, ref, err := m.chain(entry)
		check(t, err)
		if ref != nil {
			t.Errorf("%s starts from image %s", env.Name, ref)
		}
		if diff := cmp.Diff(w.packages, packagesOf(chain)); diff != "" {
			t.Errorf("%s: packages (-want +got):\n%s", env.Name, diff)
		}
		if !slices.Equal(entry.Recipe.Suites, []string{"bookworm", "bookworm-updates", "bookworm-security"}) || !slices.Equal(entry.Recipe.Components, []string{"main"}) {
			t.Errorf("%s: recipe %+v", env.Name, entry.Recipe)
		}
		check(t, entry.supports("amd64"))
		check(t, entry.supports("arm64"))
		wantKind(t, entry.supports("riscv64"), api.KindUnsupported, env.Name, "riscv64")
	}
}

// The file in the repository is formatted, so that its diffs are readable.
func TestCatalogFileIsComplete(t *testing.T) {
	var c catalog
	check(t, json.Unmarshal(catalogFile, &c))
	if diff := cmp.Diff(*builtin(), c); diff != "" {
		t.Error(diff)
	}
}

func writeEntry(t *testing.T, m *Manager, file, content string) {
	t.Helper()
	dir := filepath.Join(m.configDir, "environments")
	check(t, os.MkdirAll(dir, 0o700))
	check(t, os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600))
}

const goodEntry = `{"name":"team/x","version":"1.2.3","description":"ours","platforms":["linux/amd64"],
	"recipe":{"extends":"debian:12","suites":["bookworm"],"components":["main"],"packages":["jq"]}}`

func TestUserEntries(t *testing.T) {
	m := newManager(t, nil)
	writeEntry(t, m, "mine.json", strings.Replace(goodEntry, "team/x", "mine:1", 1))
	writeEntry(t, m, "readme.txt", "not an entry")
	list, err := m.List(t.Context())
	check(t, err)
	last := list.Environments[len(list.Environments)-1]
	if last.Name != "mine:1" || last.Description != "ours" || last.Version != "1.2.3" {
		t.Errorf("environment %+v", last)
	}
	target, err := m.lookup("mine:1")
	check(t, err)
	chain, _, err := m.chain(target.entry)
	check(t, err)
	if diff := cmp.Diff([]string{"apt", "ca-certificates", "git", "jq"}, packagesOf(chain)); diff != "" {
		t.Error(diff)
	}
	_, err = m.Acquire(t.Context(), "mine:2")
	wantKind(t, err, api.KindNotFound, "did you mean mine:1?")
}

func TestBrokenUserEntries(t *testing.T) {
	tests := map[string]struct{ content, field string }{
		"not json":          {`{`, "not valid JSON"},
		"two documents":     {strings.Replace(goodEntry, "team/x", "x", 1) + "{}", "more than one"},
		"unknown field":     {`{"naem":"x"}`, `"naem" is not known`},
		"wrong type":        {`{"name":7}`, `"name" must be a string, got a number`},
		"bad name":          {goodEntry, `"name"`},
		"shadows built-in":  {strings.Replace(goodEntry, "team/x", "debian:12", 1), "built-in"},
		"no version":        {`{"name":"x","description":"d"}`, `"version"`},
		"two lines":         {`{"name":"x","version":"1.0.0","description":"a\nb"}`, `"description"`},
		"no platforms":      {`{"name":"x","version":"1.0.0","description":"d"}`, `"platforms"`},
		"windows":           {`{"name":"x","version":"1.0.0","description":"d","platforms":["windows/amd64"]}`, "windows/amd64"},
		"no source":         {`{"name":"x","version":"1.0.0","description":"d","platforms":["linux/amd64"]}`, `"recipe" is missing`},
		"bad reference":     {`{"name":"x","version":"1.0.0","description":"d","platforms":["linux/amd64"],"oci":{"reference":"UPPER"}}`, `"oci"`},
		"bad digest":        {`{"name":"x","version":"1.0.0","description":"d","platforms":["linux/amd64"],"oci":{"reference":"a/b","digest":"sha256:1"}}`, `"oci"`},
		"bad package":       {strings.NewReplacer("team/x", "x", "jq", "-oops").Replace(goodEntry), `"recipe.packages" holds "-oops"`},
		"suite with path":   {strings.NewReplacer("team/x", "x", `"bookworm"`, `"../etc"`).Replace(goodEntry), `"recipe.suites"`},
		"no packages":       {strings.NewReplacer("team/x", "x", `"jq"`, "").Replace(goodEntry), `"recipe.packages"`},
		"extends itself":    {strings.NewReplacer("team/x", "x", `"debian:12"`, `"x"`).Replace(goodEntry), `"recipe.extends"`},
		"extends bad image": {strings.NewReplacer("team/x", "x", `"debian:12"`, `"docker://A"`).Replace(goodEntry), `"recipe.extends"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newManager(t, nil)
			writeEntry(t, m, "bad.json", tt.content)
			_, err := m.List(t.Context())
			wantKind(t, err, api.KindUsage, filepath.Join(m.configDir, "environments", "bad.json"), tt.field)
			// The built-in ones stay usable.
			_, err = m.Acquire(t.Context(), "debian:12")
			wantKind(t, err, api.KindNotInstalled)
		})
	}
	m := newManager(t, nil)
	entry := strings.Replace(goodEntry, "team/x", "x", 1)
	writeEntry(t, m, "a.json", entry)
	writeEntry(t, m, "b.json", entry)
	_, err := m.List(t.Context())
	wantKind(t, err, api.KindUsage, "b.json", "a.json has too")
}

func TestExtendsInACircle(t *testing.T) {
	m := newManager(t, nil)
	writeEntry(t, m, "a.json", strings.NewReplacer("team/x", "a", "debian:12", "b").Replace(goodEntry))
	writeEntry(t, m, "b.json", strings.NewReplacer("team/x", "b", "debian:12", "a").Replace(goodEntry))
	m.configure = fakeConfigure
	_, err := m.Pull(t.Context(), "a", nil)
	wantKind(t, err, api.KindUsage, "b extends a")
}

func TestEscapeName(t *testing.T) {
	for name, want := range map[string]string{
		"debian:12":                  "debian%3A12",
		"docker.io/a/b:c":            "docker.io%2Fa%2Fb%3Ac",
		"..":                         "%2E.",
		"a%3Ab":                      "a%253Ab",
		"":                           "",
		strings.Repeat("ab/", 60):    strings.Repeat("ab%2F", 16) + "~" + digestOf([]byte(strings.Repeat("ab/", 60)))[7:],
		strings.Repeat("a", 150):     strings.Repeat("a", 150),
		strings.Repeat("a", 151)[1:]: strings.Repeat("a", 150),
	} {
		if got := escapeName(name); got != want {
			t.Errorf("escapeName(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"debian:12", "debian:12-base", "debian:12-build"}
	for name, want := range map[string]string{
		"debian:13": "debian:12", "debian": "debian:12", "debian:12-biuld": "debian:12-build", "Debian:12": "debian:12",
		"debian12": "debian:12", "alpine": "", "": "", "x": "",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
