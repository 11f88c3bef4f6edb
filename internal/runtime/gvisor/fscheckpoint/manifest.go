package fscheckpoint

import (
	"errors"
	"path"

	"google.golang.org/protobuf/proto"
	fspb "gvisor.dev/gvisor/pkg/sentry/fscheckpoint/fscheckpoint_proto_go_proto"

	"pyro/api"
)

// What this package can read.
const (
	formatVersion = 1
	pageSize      = 4096
	endian        = "little"
)

const (
	// maxManifest bounds the manifest's bytes; a mount takes about a hundred.
	maxManifest = 64 << 10
	// maxMetadata bounds pages_meta.img. A range of pages takes about 40 bytes in
	// it, so that this is enough for 12 GiB of which every other page is a hole.
	maxMetadata = 64 << 20
)

// readManifest reads the manifest and checks whether it can be understood.
func (c *Checkpoint) readManifest(f *file) (*fspb.Manifest, error) {
	b, err := f.readAll(maxManifest)
	if err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return nil, damaged(f.name, "it is empty")
	}
	var m fspb.Manifest
	if err := proto.Unmarshal(b, &m); err != nil {
		return nil, damaged(f.name, "it is no manifest: %w", err)
	}
	if m.GetVersion() != formatVersion || m.GetPageSize() != pageSize || m.GetEndian() != endian {
		return nil, api.Errorf(api.KindUnsupported, "checkpoint %s has format %d with pages of %d bytes and %q byte order; only format %d with %d and %q can be read",
			c.dir, m.GetVersion(), m.GetPageSize(), m.GetEndian(), formatVersion, pageSize, endian).
			WithHint("use the version of pyro that made it, gVisor %q", m.GetRunscVersion())
	}
	c.version = m.GetRunscVersion()
	return &m, nil
}

// readLayers finds the parts of each mount in the other files. The writer puts
// them there one after the other without a gap, in the manifest's order, so that
// a manifest or a file that was cut off shows.
func (c *Checkpoint) readLayers(m *fspb.Manifest, metadata *file) error {
	memories, err := c.readMemories(m, metadata)
	if err != nil {
		return err
	}
	c.layers = map[string]*layer{}
	end := int64(0)
	for _, t := range m.GetTmpfs() {
		id := idOf(t.GetResourceId())
		mem := memories[id]
		if mem == nil || c.layers[id.path] != nil {
			return damaged("checkpoint "+c.dir, "its manifest names the layer of %q twice or without its memory", id.path)
		}
		if end, err = follows(c.tars, end, t.GetTarStart(), t.GetTarEnd()); err != nil {
			return err
		}
		c.layers[id.path] = &layer{
			name:     "layer " + id.path + " of checkpoint " + c.dir,
			tarStart: int64(t.GetTarStart()), tarEnd: end, memory: mem,
		}
	}
	if len(c.layers) == 0 || len(c.layers) != len(memories) {
		return damaged("checkpoint "+c.dir, "its manifest names %d layers and %d memories", len(c.layers), len(memories))
	}
	return whole(c.tars, end)
}

// readMemories reads what pages_meta.img says about each memory file.
func (c *Checkpoint) readMemories(m *fspb.Manifest, metadata *file) (map[resource]*memory, error) {
	docs, err := metadata.readAll(maxMetadata)
	if err != nil {
		return nil, err
	}
	memories := map[resource]*memory{}
	end, pages := int64(0), int64(0)
	for _, f := range m.GetMemoryFiles() {
		id := idOf(f.GetResourceId())
		if !id.valid() || memories[id] != nil {
			return nil, damaged("checkpoint "+c.dir, "its manifest names the memory of %q twice, or that is no mount point", id.path)
		}
		start := end
		if end, err = follows(metadata, end, f.GetPagesMetadataStart(), f.GetPagesMetadataEnd()); err != nil {
			return nil, err
		}
		if f.GetPagesStart() < uint64(pages) || f.GetPagesStart() > uint64(c.pages.size) {
			return nil, damaged(c.pages.name, "the pages of %s cannot begin at byte %d: %w", id.path, f.GetPagesStart(), errOrder)
		}
		mem := &memory{pages: c.pages}
		if pages, err = mem.parse(docs[start:end], int64(f.GetPagesStart()), c.pages.size); err != nil {
			return nil, memoryError(metadata, id, err)
		}
		memories[id] = mem
	}
	return memories, whole(metadata, end)
}

func memoryError(metadata *file, id resource, err error) error {
	if errors.Is(err, errVersion) {
		return api.Errorf(api.KindUnsupported, "%s: memory of %s: %w", metadata.name, id.path, err).
			WithHint("use the version of pyro that made it")
	}
	return damaged(metadata.name, "memory of %s: %w", id.path, err)
}

// resource is how gVisor calls a tmpfs and its memory file.
type resource struct{ container, path string }

func idOf(r *fspb.ResourceID) resource { return resource{r.GetContainerName(), r.GetPath()} }

// valid reports whether the path is a mount point, which errors and callers can
// use as it is.
func (r resource) valid() bool { return path.IsAbs(r.path) && path.Clean(r.path) == r.path }

var errOrder = errors.New("parts overlap, or leave the file")

// follows checks a part of f, from start to end, that must begin at the end of
// the part before it. It returns end.
func follows(f *file, before int64, start, end uint64) (int64, error) {
	if start != uint64(before) || end < start || end > uint64(f.size) {
		return 0, damaged(f.name, "a part of it is said to be bytes %d to %d; it has %d bytes and the one before ends at %d", start, end, f.size, before)
	}
	return int64(end), nil
}

// whole checks that the parts of f end where f does.
func whole(f *file, end int64) error {
	if end != f.size {
		return damaged(f.name, "it has %d bytes and its parts end at %d", f.size, end)
	}
	return nil
}
