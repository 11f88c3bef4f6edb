package environment

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"pyro/api"
	"pyro/internal/oci"
)

// Entry describes an environment and how to make it. The catalogue is a list of
// entries; a user's entry is a file with one, in the same form.
type Entry struct {
	// Name is what users type. It is lower case and may have one ":".
	Name string `json:"name"`
	// Version is that of the entry, raised when it changes.
	Version string `json:"version"`
	// Description is one line for "pyro env list".
	Description string `json:"description"`
	// Platforms it exists for, "linux/amd64".
	Platforms []string `json:"platforms"`
	// ImageBytes is about how large the image becomes: used to refuse a pull that
	// cannot fit the disk before it starts. Optional.
	ImageBytes int64 `json:"image_bytes,omitempty"`
	// OCI is a published image. It is preferred to the recipe.
	OCI *OCISource `json:"oci,omitempty"`
	// Recipe says how to build it from packages.
	Recipe *Recipe `json:"recipe,omitempty"`
}

// OCISource names an image in a registry.
type OCISource struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest,omitempty"`
}

func (s *OCISource) reference() (oci.Reference, error) {
	text := s.Reference
	if s.Digest != "" {
		text += "@" + s.Digest
	}
	return oci.ParseReference(text)
}

// Recipe names Debian packages and the archive they come from.
type Recipe struct {
	// Extends is the environment, or the docker:// reference of a Debian image,
	// that the packages are added to. Optional.
	Extends    string   `json:"extends,omitempty"`
	Suites     []string `json:"suites"`
	Components []string `json:"components"`
	Packages   []string `json:"packages"`
}

const (
	maxEntryFile = 1 << 20
	maxPackages  = 2000
)

var (
	namePattern    = regexp.MustCompile(`^[a-z0-9]+(?:[._-][a-z0-9]+)*(?::[a-z0-9]+(?:[._-][a-z0-9]+)*)?$`)
	versionPattern = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`)
	packagePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)        // Debian policy 5.6.7
	suitePattern   = regexp.MustCompile(`^[a-z0-9]+(?:[-.][a-z0-9]+)*$`) // becomes part of a URL
	platPattern    = regexp.MustCompile(`^linux/[a-z0-9]+$`)             // nothing else has a runtime
	maxNameLength  = 128
)

// fieldError says which field of an entry is wrong, and why.
type fieldError struct{ field, fact string }

func (e *fieldError) Error() string { return fmt.Sprintf("field %q %s", e.field, e.fact) }

// decodeStrict reads one JSON document into v: no unknown fields, nothing after it.
func decodeStrict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
		return &fieldError{e.Field, api.Mismatch(e)}
	}
	if err != nil {
		// encoding/json has no type for this error, only this text.
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return &fieldError{strings.Trim(name, `"`), "is not known"}
		}
		return fmt.Errorf("not valid JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON document")
	}
	return nil
}

// parseEntry reads and checks an entry.
func parseEntry(data []byte) (*Entry, error) {
	if len(data) > maxEntryFile {
		return nil, fmt.Errorf("larger than %d bytes", maxEntryFile)
	}
	e := &Entry{}
	if err := decodeStrict(data, e); err != nil {
		return nil, err
	}
	return e, e.check()
}

// check says what is wrong with an entry.
func (e *Entry) check() error {
	if err := checkName(e.Name); err != nil {
		return &fieldError{"name", err.Error()}
	}
	if !versionPattern.MatchString(e.Version) {
		return &fieldError{"version", "must look like 1.0.0"}
	}
	if e.Description == "" || len(e.Description) > 200 || strings.ContainsFunc(e.Description, isControl) {
		return &fieldError{"description", "must be one line of at most 200 bytes"}
	}
	if len(e.Platforms) == 0 {
		return &fieldError{"platforms", `must list at least one, such as "linux/amd64"`}
	}
	if p := firstBad(e.Platforms, platPattern); p != "" {
		return &fieldError{"platforms", fmt.Sprintf("holds %q, which is not linux/ARCH", p)}
	}
	if e.ImageBytes < 0 {
		return &fieldError{"image_bytes", "is negative"}
	}
	if e.OCI == nil && e.Recipe == nil {
		return &fieldError{"recipe", `is missing, and so is "oci": one of them says how to make it`}
	}
	if e.OCI != nil {
		if _, err := e.OCI.reference(); err != nil {
			return &fieldError{"oci", err.Error()}
		}
	}
	return e.Recipe.check(e.Name)
}

func (r *Recipe) check(owner string) error {
	if r == nil {
		return nil
	}
	if r.Extends == owner {
		return &fieldError{"recipe.extends", "names the entry itself"}
	}
	if r.Extends != "" {
		if _, err := parseExtends(r.Extends); err != nil {
			return &fieldError{"recipe.extends", err.Error()}
		}
	}
	for _, list := range []struct {
		field   string
		values  []string
		pattern *regexp.Regexp
	}{
		{"recipe.suites", r.Suites, suitePattern},
		{"recipe.components", r.Components, suitePattern},
		{"recipe.packages", r.Packages, packagePattern},
	} {
		if len(list.values) == 0 || len(list.values) > maxPackages {
			return &fieldError{list.field, fmt.Sprintf("must hold 1 to %d names", maxPackages)}
		}
		if bad := firstBad(list.values, list.pattern); bad != "" {
			return &fieldError{list.field, fmt.Sprintf("holds %q, which is not a name", bad)}
		}
	}
	return nil
}

// normalised returns the recipe with its packages sorted and without doubles: two
// recipes that ask for the same are the same.
func (r *Recipe) normalised() *Recipe {
	n := *r
	n.Packages = slices.Compact(slices.Sorted(slices.Values(r.Packages)))
	return &n
}

// parseExtends tells an image reference (nil for an environment's name).
func parseExtends(s string) (*oci.Reference, error) {
	if !oci.HasScheme(s) {
		return nil, checkName(s)
	}
	ref, err := oci.ParseReference(s)
	return &ref, err
}

func firstBad(values []string, pattern *regexp.Regexp) string {
	for _, v := range values {
		if len(v) > maxNameLength || !pattern.MatchString(v) {
			return cmp.Or(v, "(empty)")
		}
	}
	return ""
}

// checkName says whether s may name an entry or an import. References of images
// always have a "/", so they cannot be mistaken for one.
func checkName(s string) error {
	if len(s) > maxNameLength || !namePattern.MatchString(s) {
		return fmt.Errorf("%q is not a name: use lower-case letters, digits, '.', '_', '-' and one ':', at most %d bytes", clip(s), maxNameLength)
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func clip(s string) string {
	if len(s) > maxNameLength {
		return strings.ToValidUTF8(s[:maxNameLength], "") + "..."
	}
	return s
}

// supports reports whether the entry exists for an architecture.
func (e *Entry) supports(arch string) error {
	if slices.Contains(e.Platforms, "linux/"+arch) {
		return nil
	}
	return api.Errorf(api.KindUnsupported, "environment %s does not exist for linux/%s, only for %s", e.Name, arch, strings.Join(e.Platforms, ", "))
}
