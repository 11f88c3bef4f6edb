package environment

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"pyro/api"
)

//go:embed catalog.json
var catalogFile []byte

// catalog is the list of environments that comes with pyro.
type catalog struct {
	Version      string        `json:"version"`
	Environments []Entry       `json:"environments"`
	Kernels      []KernelEntry `json:"kernels"`
}

// builtin returns the catalogue. That it parses is a matter of the tests.
var builtin = sync.OnceValue(func() *catalog {
	c, err := parseCatalog(catalogFile)
	if err != nil {
		panic("built-in catalogue: " + err.Error())
	}
	return c
})

func parseCatalog(data []byte) (*catalog, error) {
	c := &catalog{}
	if err := decodeStrict(data, c); err != nil {
		return nil, err
	}
	if !versionPattern.MatchString(c.Version) {
		return nil, &fieldError{"version", "must look like 1.0.0"}
	}
	for i := range c.Environments {
		e := &c.Environments[i]
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("environment %q: %w", clip(e.Name), err)
		}
		if c.find(e.Name) != e {
			return nil, fmt.Errorf("environment %q stands twice", e.Name)
		}
	}
	for i := range c.Kernels {
		k := &c.Kernels[i]
		if err := k.asEntry().check(); err != nil {
			return nil, fmt.Errorf("kernel %q: %w", clip(k.Name), err)
		}
		if c.findKernel(k.Name) != k || c.find(k.Name) != nil {
			return nil, fmt.Errorf("kernel %q stands twice", k.Name)
		}
	}
	return c, nil
}

func (c *catalog) find(name string) *Entry {
	i := slices.IndexFunc(c.Environments, func(e Entry) bool { return e.Name == name })
	if i < 0 {
		return nil
	}
	return &c.Environments[i]
}

// CatalogVersion is the version of the built-in catalogue.
func CatalogVersion() string { return builtin().Version }

// maxUserEntries bounds how many files of the config folder are read.
const maxUserEntries = 1000

// userEntries reads the user's own entries, CONFIG/environments/*.json, in the
// order of their file names. Errors name the file and the field.
func (m *Manager) userEntries() ([]Entry, error) {
	if m.configDir == "" {
		return nil, nil
	}
	dir := filepath.Join(m.configDir, "environments")
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, api.Errorf(api.KindPermission, "folder of your environments: %w", err)
	}
	var entries []Entry
	from := map[string]string{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".json") || strings.HasPrefix(f.Name(), ".") {
			continue
		}
		path := filepath.Join(dir, f.Name())
		wrong := func(err error) error {
			return api.Errorf(api.KindUsage, "environment file %s: %w", path, err).
				WithHint("edit or remove the file; the built-in ones are models of the form")
		}
		if len(entries) == maxUserEntries {
			return nil, wrong(fmt.Errorf("it is one more than %d", maxUserEntries))
		}
		data, err := readSmall(path, maxEntryFile)
		if err != nil {
			return nil, wrong(err)
		}
		e, err := parseEntry(data)
		if err != nil {
			return nil, wrong(err)
		}
		if builtin().find(e.Name) != nil || builtin().findKernel(e.Name) != nil {
			return nil, wrong(&fieldError{"name", fmt.Sprintf("is %q, which is a built-in environment; choose another name", e.Name)})
		}
		if other, taken := from[e.Name]; taken {
			return nil, wrong(&fieldError{"name", fmt.Sprintf("is %q, which %s has too", e.Name, other)})
		}
		from[e.Name] = f.Name()
		entries = append(entries, *e)
	}
	return entries, nil
}

// readSmall reads a file of at most limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("larger than %d bytes", limit)
	}
	return data, err
}
