package environment

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"time"

	"pyro/api"
	"pyro/internal/oci"
)

// formatVersion is that of meta.json and of records. Files of another version
// count as damaged, so that a pull makes them again.
const formatVersion = 1

// Meta is meta.json: what an image is and how it came to be.
type Meta struct {
	Format int `json:"format"`
	// Digest is the SHA-256 of rootfs.erofs, "sha256:HEX".
	Digest string `json:"digest"`
	// SizeBytes and ModTime are those of the file rootfs.erofs. They are compared
	// at every use: a difference means that somebody wrote to it.
	SizeBytes int64     `json:"size_bytes"`
	ModTime   time.Time `json:"mod_time"`
	Arch      string    `json:"arch"`
	Created   time.Time `json:"created"`
	Builder   int       `json:"builder"` // builderFormat of what made it
	Source    Source    `json:"source"`
	// RecipeDigest identifies the build: the recipe, the builder and the lock.
	RecipeDigest string        `json:"recipe_digest,omitempty"`
	Packages     []api.Package `json:"packages,omitempty"` // the lock
	Releases     []Release     `json:"releases,omitempty"`
	Config       oci.Config    `json:"config,omitzero"` // how processes are meant to start
	Kernel       *string       `json:"kernel"`          // images of the catalogue have none
}

// Source says where an image came from.
type Source struct {
	Kind SourceKind `json:"kind"`
	// Location is a mirror, a reference or a path on this host.
	Location string `json:"location"`
	// Digest is that of the image manifest, for an image of a registry or a layout.
	Digest string `json:"digest,omitempty"`
	// Extends is the digest of the image it was built on.
	Extends string `json:"extends,omitempty"`
}

// SourceKind is a way to get an image.
type SourceKind string

// The source kinds.
const (
	FromDebian SourceKind = "debian"
	FromOCI    SourceKind = "oci"
	FromImport SourceKind = "import"
)

func (s Source) String() string {
	if s.Digest != "" && s.Kind == FromOCI {
		return s.Location + " " + s.Digest
	}
	return s.Location
}

// Release is the InRelease file that a build trusted.
type Release struct {
	Mirror string    `json:"mirror"`
	Suite  string    `json:"suite"`
	SHA256 string    `json:"sha256"`
	Date   time.Time `json:"date"`
}

func comparePackages(a, b api.Package) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Version, b.Version))
}

// Record is envs/NAME@ARCH.json: an installed environment.
type Record struct {
	Format      int       `json:"format"`
	Name        string    `json:"name"`
	Version     string    `json:"version,omitempty"` // of the entry it was made from
	Description string    `json:"description,omitempty"`
	Arch        string    `json:"arch"`
	Image       string    `json:"image"` // digest
	Source      Source    `json:"source"`
	Installed   time.Time `json:"installed"`
}

var imageDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

const (
	maxMetaFile   = 8 << 20
	maxRecordFile = 64 << 10
)

// parseMeta reads meta.json. digest is what its folder is named.
func parseMeta(data []byte, digest string) (*Meta, error) {
	m := &Meta{}
	if err := decodeStrict(data, m); err != nil {
		return nil, err
	}
	switch {
	case m.Format != formatVersion:
		return nil, fmt.Errorf("format %d is not %d", m.Format, formatVersion)
	case m.Digest != digest:
		return nil, fmt.Errorf("it describes %q", clip(m.Digest))
	case m.SizeBytes <= 0:
		return nil, fmt.Errorf("the image has %d bytes", m.SizeBytes)
	}
	return m, nil
}

// parseRecord reads a record and checks that nothing in it leads astray.
func parseRecord(data []byte) (*Record, error) {
	r := &Record{}
	if err := decodeStrict(data, r); err != nil {
		return nil, err
	}
	switch {
	case r.Format != formatVersion:
		return nil, fmt.Errorf("format %d is not %d", r.Format, formatVersion)
	case !imageDigest.MatchString(r.Image):
		return nil, fmt.Errorf("image %q is not a digest", clip(r.Image))
	case !isEnvironmentName(r.Name):
		return nil, fmt.Errorf("%q is not a name", clip(r.Name))
	}
	return r, nil
}

// isEnvironmentName reports whether s may be the name of an installed
// environment: a plain name or a canonical image reference.
func isEnvironmentName(s string) bool {
	if checkName(s) == nil {
		return true
	}
	ref, err := oci.ParseReference(s)
	return err == nil && ref.String() == s
}

// errDamaged marks what a pull repairs by making it again.
var errDamaged = errors.New("damaged")

// readMeta reads meta.json of an image.
func (c *cache) readMeta(digest string) (*Meta, error) {
	data, err := readSmall(filepath.Join(c.image(digest), metaFile), maxMetaFile)
	if err != nil {
		return nil, err
	}
	m, err := parseMeta(data, digest)
	if err != nil {
		return nil, fmt.Errorf("%s of image %s is %w: %w", metaFile, digest, errDamaged, err)
	}
	return m, nil
}

// readRecord reads the record of an environment; fs.ErrNotExist when it is not
// installed.
func (c *cache) readRecord(name, arch string) (*Record, error) {
	data, err := readSmall(c.record(name, arch), maxRecordFile)
	if err != nil {
		return nil, err
	}
	r, err := parseRecord(data)
	if err == nil && (r.Name != name || r.Arch != arch) {
		err = fmt.Errorf("it is that of %s for %s", clip(r.Name), clip(r.Arch))
	}
	if err != nil {
		return nil, fmt.Errorf("the record of environment %s is %w: %w", name, errDamaged, err)
	}
	return r, nil
}
