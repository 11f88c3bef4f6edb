package oci

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"
	godigest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// LayoutOptions say what WriteLayout writes.
type LayoutOptions struct {
	// Name becomes the annotation org.opencontainers.image.ref.name.
	Name string
	// Platform and Config go into the image config. Config.Created also dates
	// every entry of the archive, so that the same input gives the same bytes.
	Platform Platform
	Config   Config
	// Tar writes the root file system as a tar stream.
	Tar func(io.Writer) error
	// SpoolDir takes the compressed layer before its digest, and so its name, is known.
	SpoolDir string
}

// WriteLayout writes an OCI layout with one zstd layer as a tar archive, which
// OpenArchive, "skopeo copy oci-archive:" and "podman load" read.
func WriteLayout(w io.Writer, o LayoutOptions) error {
	spool, err := os.CreateTemp(o.SpoolDir, "layer-")
	if err != nil {
		return err
	}
	os.Remove(spool.Name())
	defer spool.Close()
	layer, diffID, err := packLayer(spool, o.Tar)
	if err != nil {
		return err
	}
	config := mustJSON(ocispec.Image{
		Created:  &o.Config.Created,
		Platform: ocispec.Platform{OS: o.Platform.OS, Architecture: o.Platform.Architecture, Variant: o.Platform.Variant},
		Config: ocispec.ImageConfig{
			Env: o.Config.Env, WorkingDir: o.Config.WorkingDir, User: o.Config.User,
			Entrypoint: o.Config.Entrypoint, Cmd: o.Config.Cmd, Labels: o.Config.Labels,
		},
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []godigest.Digest{diffID}},
	})
	configDesc := describe(ocispec.MediaTypeImageConfig, config)
	manifest := mustJSON(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: configDesc, Layers: []ocispec.Descriptor{layer},
	})
	manifestDesc := describe(ocispec.MediaTypeImageManifest, manifest)
	manifestDesc.Platform = &ocispec.Platform{OS: o.Platform.OS, Architecture: o.Platform.Architecture, Variant: o.Platform.Variant}
	manifestDesc.Annotations = map[string]string{ocispec.AnnotationRefName: o.Name}
	index := mustJSON(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{manifestDesc},
	})

	lw := &layoutWriter{tw: tar.NewWriter(w), date: o.Config.Created}
	lw.bytes("oci-layout", layoutVersion)
	lw.bytes("index.json", index)
	lw.bytes(blobFile(string(manifestDesc.Digest)), manifest)
	lw.bytes(blobFile(string(configDesc.Digest)), config)
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	lw.file(blobFile(string(layer.Digest)), layer.Size, spool)
	if lw.err != nil {
		return lw.err
	}
	return lw.tw.Close()
}

// packLayer compresses the tar stream into out. It returns the layer's
// descriptor and its diff ID.
func packLayer(out io.Writer, writeTar func(io.Writer) error) (ocispec.Descriptor, godigest.Digest, error) {
	packed := &countingHash{hash: sha256.New()}
	z, err := zstd.NewWriter(io.MultiWriter(out, packed))
	if err != nil {
		return ocispec.Descriptor{}, "", err
	}
	plain := sha256.New()
	if err := writeTar(io.MultiWriter(z, plain)); err != nil {
		z.Close()
		return ocispec.Descriptor{}, "", err
	}
	if err := z.Close(); err != nil {
		return ocispec.Descriptor{}, "", err
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerZstd, Digest: sum(packed.hash), Size: packed.n}, sum(plain), nil
}

type countingHash struct {
	hash hash.Hash
	n    int64
}

func (c *countingHash) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.hash.Write(p)
}

func sum(h hash.Hash) godigest.Digest {
	return godigest.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))
}

func describe(mediaType string, data []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: godigest.FromBytes(data), Size: int64(len(data))}
}

// layoutWriter writes tar entries and remembers the first error.
type layoutWriter struct {
	tw   *tar.Writer
	date time.Time
	err  error
}

func (l *layoutWriter) bytes(name string, data []byte) {
	l.entry(name, int64(len(data)))
	if l.err == nil {
		_, l.err = l.tw.Write(data)
	}
}

func (l *layoutWriter) file(name string, size int64, r io.Reader) {
	l.entry(name, size)
	if l.err == nil {
		_, l.err = io.Copy(l.tw, r)
	}
}

func (l *layoutWriter) entry(name string, size int64) {
	if l.err == nil {
		l.err = l.tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size, ModTime: l.date.Truncate(time.Second), Typeflag: tar.TypeReg})
	}
}
