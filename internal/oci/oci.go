// Package oci reads container images and flattens them into one root file
// system, without ever unpacking anything onto the host.
//
// # Terms
//
// An image is named by a [Reference] (registry, repository, tag or digest). The
// reference leads to an index (a list of manifests, one a platform) or straight
// to a manifest; the manifest names one config and an ordered list of layers,
// each by media type, digest and size. A layer is a tar stream, usually
// compressed; whiteout entries in it hide what lower layers hold. The config
// repeats, for each layer, the digest of the uncompressed stream (its diff ID).
//
// # Life of a pull
//
//	registry := &oci.Registry{Blobs: blobs}
//	image, err := registry.Resolve(ctx, ref, oci.Platform{OS: "linux", Architecture: "amd64"})
//	err = image.Fetch(ctx, progress)           // layers into the blob store, resumable
//	err = image.Flatten(ctx, func(name string, r io.Reader) error {
//		return tree.ApplyTar(r, ...)           // lowest layer first
//	})
//
// The same [Image] comes out of an archive or folder on disk ([OpenArchive],
// [OpenLayout]), so that importing and pulling share everything after the first line.
//
// # Promises
//
// Whatever a registry or an archive says is a claim until it is checked: every
// document and layer is read no further than its declared size, which itself is
// bounded; its digest must match; the diff ID must match the bytes the layer
// decompresses to. A media type that is not in the table is refused by name.
// Formats: the OCI image specification 1.1 and the Docker image manifest V2,
// schema 2.
package oci

import (
	"context"
	"io"
	"time"
)

// Limits on what an image may declare. They are far above what real images
// hold and low enough that a hostile one cannot exhaust the host.
const (
	maxDocument    = 4 << 20  // bytes of an index, manifest or config
	maxLayers      = 512      // layers of one image
	maxManifests   = 1024     // entries of one index
	maxIndexDepth  = 3        // indexes inside indexes
	maxLayerBytes  = 16 << 30 // compressed bytes of one layer
	maxImageBytes  = 32 << 30 // uncompressed bytes of all layers together
	zstdWindowSize = 128 << 20
)

// Platform says which of an index's manifests is wanted. OS and Architecture
// are those of the Go toolchain ("linux", "amd64"); an empty Variant accepts any.
type Platform struct {
	OS           string
	Architecture string
	Variant      string
}

func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Config is what pyro keeps of an image's config: how a process in it is meant to start.
type Config struct {
	Created    time.Time         `json:"created,omitzero"`
	Platform   Platform          `json:"-"`
	Env        []string          `json:"env,omitempty"`
	WorkingDir string            `json:"working_dir,omitempty"`
	User       string            `json:"user,omitempty"`
	Entrypoint []string          `json:"entrypoint,omitempty"`
	Cmd        []string          `json:"cmd,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
}

// Layer is one layer of an image, verified against DiffID while it is read.
type Layer struct {
	Descriptor
	// DiffID is the digest of the uncompressed tar stream, from the config; ""
	// for a plain root file system archive, which promises nothing.
	DiffID string
}

// Image is an image whose manifest and config have been read and checked; its
// layers may still be far away.
type Image struct {
	// Name is what messages call the image: its reference or its file.
	Name string
	// Digest is the digest of the manifest, "" for the docker-save form, which has none.
	Digest string
	Config Config
	Layers []Layer

	source source
}

// source is where an image's content comes from.
type source interface {
	// fetch makes the layers available; open is called only after it.
	fetch(ctx context.Context, image *Image, progress func(done, total int64)) error
	// open returns the bytes of a layer as the descriptor describes them.
	// They need not be verified.
	open(layer Layer) (io.ReadCloser, error)
}

// Size returns the compressed bytes of all layers together.
func (img *Image) Size() int64 {
	var n int64
	for _, l := range img.Layers {
		n += l.Size
	}
	return n
}

// Fetch brings the layers to this machine, several at a time, and verifies
// their digests. What is here already is verified and kept. Progress (which may
// be nil) is told bytes; it is called from several goroutines, one at a time.
func (img *Image) Fetch(ctx context.Context, progress func(done, total int64)) error {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	return img.source.fetch(ctx, img, progress)
}
