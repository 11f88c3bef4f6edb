package oci

import (
	"encoding/json"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"pyro/api"
)

// Descriptor points at content: what it is, its digest and its size in bytes.
type Descriptor struct {
	MediaType string
	Digest    string
	Size      int64
}

// Docker's names for what OCI standardised later.
const (
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar"
	dockerForeign  = "application/vnd.docker.image.rootfs.foreign.diff.tar"
	ociForeign     = "application/vnd.oci.image.layer.nondistributable.v1.tar"
)

// layerCompression says how the layers of each media type are compressed. A
// type that is missing here is refused.
var layerCompression = map[string]compression{
	ocispec.MediaTypeImageLayer:     uncompressed,
	ocispec.MediaTypeImageLayerGzip: gzipped,
	ocispec.MediaTypeImageLayerZstd: zstandard,
	dockerLayer:                     uncompressed,
	dockerLayer + ".gzip":           gzipped,
	dockerLayer + ".zstd":           zstandard,
}

// manifestTypes is what we ask a registry for.
var manifestTypes = []string{ocispec.MediaTypeImageIndex, dockerIndex, ocispec.MediaTypeImageManifest, dockerManifest}

// document is an index or a manifest, whichever was found.
type document struct {
	index    []indexEntry
	manifest *manifest
}

type indexEntry struct {
	Descriptor
	platform *ocispec.Platform
}

type manifest struct {
	config Descriptor
	layers []Descriptor
}

// parseDocument reads an index or a manifest. mediaType is what its descriptor
// or the registry said and may be empty; the document's own word must agree.
func parseDocument(name, mediaType string, data []byte) (*document, error) {
	if len(data) > maxDocument {
		return nil, unsafef("%s: the manifest is larger than %d bytes", name, maxDocument)
	}
	var raw struct {
		SchemaVersion int                  `json:"schemaVersion"`
		MediaType     string               `json:"mediaType"`
		Manifests     []ocispec.Descriptor `json:"manifests"`
		Config        *ocispec.Descriptor  `json:"config"`
		Layers        []ocispec.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, unsafef("%s: the manifest is not valid JSON: %v", name, err)
	}
	if raw.SchemaVersion != 2 {
		return nil, unsupportedf("%s: manifest schema version %d is not supported", name, raw.SchemaVersion)
	}
	if known := slices.Contains(manifestTypes, mediaType); known && raw.MediaType != "" && raw.MediaType != mediaType {
		return nil, unsafef("%s: the manifest was announced as %q and calls itself %q", name, mediaType, raw.MediaType)
	} else if !known {
		mediaType = raw.MediaType
	}
	// A document that is both could be read differently by two programs.
	if raw.Manifests != nil && (raw.Config != nil || raw.Layers != nil) {
		return nil, unsafef("%s: the manifest is an index and an image at once", name)
	}
	switch mediaType {
	case ocispec.MediaTypeImageIndex, dockerIndex:
		return indexDocument(name, raw.Manifests)
	case ocispec.MediaTypeImageManifest, dockerManifest:
		return manifestDocument(name, raw.Config, raw.Layers)
	case "": // allowed by OCI: told apart by content
		if raw.Manifests != nil {
			return indexDocument(name, raw.Manifests)
		}
		return manifestDocument(name, raw.Config, raw.Layers)
	}
	return nil, unsupportedf("%s: media type %q is not a container image", name, printable(mediaType))
}

func indexDocument(name string, entries []ocispec.Descriptor) (*document, error) {
	if len(entries) > maxManifests {
		return nil, unsafef("%s: the index lists %d manifests, more than %d", name, len(entries), maxManifests)
	}
	doc := &document{index: []indexEntry{}}
	for _, e := range entries {
		if e.MediaType != "" && !slices.Contains(manifestTypes, e.MediaType) {
			continue // an index may list artifacts of any kind
		}
		d, err := checkDescriptor(name, "manifest", e, maxDocument)
		if err != nil {
			return nil, err
		}
		doc.index = append(doc.index, indexEntry{d, e.Platform})
	}
	return doc, nil
}

func manifestDocument(name string, config *ocispec.Descriptor, layers []ocispec.Descriptor) (*document, error) {
	if config == nil {
		return nil, unsafef("%s: the manifest has no config", name)
	}
	if config.MediaType != ocispec.MediaTypeImageConfig && config.MediaType != dockerConfig {
		return nil, unsupportedf("%s: config media type %q is not that of a container image", name, printable(config.MediaType))
	}
	if len(layers) > maxLayers {
		return nil, unsafef("%s: the manifest lists %d layers, more than %d", name, len(layers), maxLayers)
	}
	m := &manifest{}
	var err error
	if m.config, err = checkDescriptor(name, "config", *config, maxDocument); err != nil {
		return nil, err
	}
	for _, l := range layers {
		if err := checkLayerType(name, l.MediaType); err != nil {
			return nil, err
		}
		d, err := checkDescriptor(name, "layer", l, maxLayerBytes)
		if err != nil {
			return nil, err
		}
		m.layers = append(m.layers, d)
	}
	return &document{manifest: m}, nil
}

func checkLayerType(name, mediaType string) error {
	if _, ok := layerCompression[mediaType]; ok {
		return nil
	}
	if strings.HasPrefix(mediaType, dockerForeign) || strings.HasPrefix(mediaType, ociForeign) {
		return unsupportedf("%s: layer media type %q is foreign: its content is kept outside the registry", name, printable(mediaType))
	}
	return unsupportedf("%s: layer media type %q is not supported", name, printable(mediaType))
}

func checkDescriptor(name, what string, d ocispec.Descriptor, limit int64) (Descriptor, error) {
	if !digestPattern.MatchString(string(d.Digest)) {
		return Descriptor{}, unsafef("%s: %s digest %q is not sha256: and 64 hexadecimal digits", name, what, printable(string(d.Digest)))
	}
	if d.Size < 0 || d.Size > limit {
		return Descriptor{}, unsafef("%s: %s %s declares %d bytes; at most %d are accepted", name, what, d.Digest, d.Size, limit)
	}
	return Descriptor{MediaType: d.MediaType, Digest: string(d.Digest), Size: d.Size}, nil
}

// choose returns the entry of an index for a platform.
func choose(name string, entries []indexEntry, want Platform) (Descriptor, error) {
	var offered []string
	for _, e := range entries {
		p := e.platform
		if p == nil {
			if len(entries) == 1 {
				return e.Descriptor, nil // the config says the rest
			}
			continue
		}
		if p.OS == want.OS && p.Architecture == want.Architecture &&
			(want.Variant == "" || p.Variant == "" || p.Variant == want.Variant) {
			return e.Descriptor, nil
		}
		if p.OS != "unknown" { // attestations
			offered = append(offered, printable(Platform{p.OS, p.Architecture, p.Variant}.String()))
		}
	}
	err := api.Errorf(api.KindUnsupported, "image %s has nothing for %s", name, want)
	if len(offered) > 0 {
		slices.Sort(offered)
		offered = slices.Compact(offered)
		err = err.WithHint("it offers %s", strings.Join(offered[:min(len(offered), 20)], ", "))
	}
	return Descriptor{}, err
}

// newImage joins a manifest with its config.
func newImage(name, digest string, m *manifest, configData []byte, want Platform, src source) (*Image, error) {
	config, diffIDs, err := parseConfig(name, configData)
	if err != nil {
		return nil, err
	}
	if len(diffIDs) != len(m.layers) {
		return nil, unsafef("%s: the manifest lists %d layers and the config %d diff IDs", name, len(m.layers), len(diffIDs))
	}
	p := config.Platform
	if (p.OS != "" && p.OS != want.OS) || (p.Architecture != "" && p.Architecture != want.Architecture) {
		return nil, unsupportedf("image %s is for %s, not for %s", name, printable(p.String()), want)
	}
	img := &Image{Name: name, Digest: digest, Config: config, source: src}
	for i, d := range m.layers {
		img.Layers = append(img.Layers, Layer{Descriptor: d, DiffID: diffIDs[i]})
	}
	return img, nil
}

// printable shortens text from outside for a message.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > 120 {
		s = strings.ToValidUTF8(s[:120], "") + "..."
	}
	return s
}

func unsafef(format string, args ...any) error {
	return api.Errorf(api.KindUnsafe, format, args...)
}

func unsupportedf(format string, args ...any) error {
	return api.Errorf(api.KindUnsupported, format, args...)
}

func mismatchf(format string, args ...any) error {
	return api.Errorf(api.KindVerification, format, args...)
}
