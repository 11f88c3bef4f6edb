package oci

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// parseConfig reads an image config and its diff IDs.
func parseConfig(name string, data []byte) (Config, []string, error) {
	if len(data) > maxDocument {
		return Config{}, nil, unsafef("%s: the config is larger than %d bytes", name, maxDocument)
	}
	var raw ocispec.Image
	if err := json.Unmarshal(data, &raw); err != nil {
		return Config{}, nil, unsafef("%s: the config is not valid JSON: %v", name, err)
	}
	if raw.RootFS.Type != "" && raw.RootFS.Type != "layers" {
		return Config{}, nil, unsupportedf("%s: rootfs type %q is not supported", name, printable(raw.RootFS.Type))
	}
	if len(raw.RootFS.DiffIDs) > maxLayers {
		return Config{}, nil, unsafef("%s: the config lists %d diff IDs, more than %d", name, len(raw.RootFS.DiffIDs), maxLayers)
	}
	diffIDs := make([]string, 0, len(raw.RootFS.DiffIDs))
	for _, d := range raw.RootFS.DiffIDs {
		if !digestPattern.MatchString(string(d)) {
			return Config{}, nil, unsafef("%s: diff ID %q is not sha256: and 64 hexadecimal digits", name, printable(string(d)))
		}
		diffIDs = append(diffIDs, string(d))
	}
	c := Config{
		Platform:   Platform{OS: raw.OS, Architecture: raw.Architecture, Variant: raw.Variant},
		Env:        raw.Config.Env,
		WorkingDir: raw.Config.WorkingDir,
		User:       raw.Config.User,
		Entrypoint: raw.Config.Entrypoint,
		Cmd:        raw.Config.Cmd,
		Labels:     raw.Config.Labels,
	}
	if raw.Created != nil {
		c.Created = raw.Created.UTC()
	}
	if err := checkConfig(name, &c); err != nil {
		return Config{}, nil, err
	}
	return c, diffIDs, nil
}

// checkConfig refuses values that no process could be started with.
func checkConfig(name string, c *Config) error {
	if c.WorkingDir != "" {
		c.WorkingDir = path.Join("/", c.WorkingDir)
	}
	for _, list := range [][]string{c.Env, c.Entrypoint, c.Cmd, {c.WorkingDir, c.User}} {
		for _, s := range list {
			if strings.ContainsRune(s, 0) {
				return unsafef("%s: the config holds a NUL byte in %q", name, printable(s))
			}
		}
	}
	// An entry without a name or '=' sets nothing.
	c.Env = slices.DeleteFunc(c.Env, func(s string) bool { return strings.IndexByte(s, '=') <= 0 })
	return nil
}
