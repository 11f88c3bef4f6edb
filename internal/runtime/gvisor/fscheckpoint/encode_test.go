package fscheckpoint_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	fspb "gvisor.dev/gvisor/pkg/sentry/fscheckpoint/fscheckpoint_proto_go_proto"
	pgpb "gvisor.dev/gvisor/pkg/sentry/pgalloc/pgalloc_metadata_go_proto"

	"pyro/internal/runtime/gvisor/fscheckpoint"
)

const page = 4096

// checkpoint is a checkpoint made by hand. Its documents are written by gVisor's
// own types, the order of things is that of Kernel.FSSave.
type checkpoint struct {
	manifest fspb.Manifest
	tars     []byte
	metadata []byte
	pages    []byte
}

func newCheckpoint() *checkpoint {
	return &checkpoint{manifest: fspb.Manifest{Version: 1, RunscVersion: "test-1", PageSize: page, Endian: "little"}}
}

// add appends the layer of a mount.
func (c *checkpoint) add(tb testing.TB, mount string, l *layer) *checkpoint {
	tb.Helper()
	id := func() *fspb.ResourceID { return &fspb.ResourceID{ContainerName: "c", Path: mount} }
	doc, err := proto.Marshal(&l.metadata)
	if err != nil {
		tb.Fatal(err)
	}
	start := len(c.metadata)
	c.metadata = binary.LittleEndian.AppendUint64(c.metadata, uint64(len(doc)))
	c.metadata = append(c.metadata, doc...)
	c.manifest.MemoryFiles = append(c.manifest.MemoryFiles, &fspb.MemoryFile{
		ResourceId: id(), PagesMetadataStart: uint64(start), PagesMetadataEnd: uint64(len(c.metadata)), PagesStart: uint64(len(c.pages)),
	})
	c.pages = append(c.pages, l.pages...)
	start = len(c.tars)
	c.tars = append(c.tars, l.tar(tb)...)
	c.manifest.Tmpfs = append(c.manifest.Tmpfs, &fspb.Tmpfs{ResourceId: id(), TarStart: uint64(start), TarEnd: uint64(len(c.tars))})
	return c
}

// files returns the four files.
func (c *checkpoint) files(tb testing.TB) [4][]byte {
	tb.Helper()
	manifest, err := proto.Marshal(&c.manifest)
	if err != nil {
		tb.Fatal(err)
	}
	return [4][]byte{manifest, c.tars, c.metadata, c.pages}
}

var fileNames = [4]string{"fscheckpoint.pb", "multitar.img", "pages_meta.img", "pages.img"}

func writeFiles(tb testing.TB, dir string, files [4][]byte) {
	tb.Helper()
	for i, name := range fileNames {
		if err := os.WriteFile(filepath.Join(dir, name), files[i], 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

// save writes the checkpoint into a new folder.
func (c *checkpoint) save(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	writeFiles(tb, dir, c.files(tb))
	return dir
}

// open saves and opens the checkpoint.
func (c *checkpoint) open(tb testing.TB) *fscheckpoint.Checkpoint {
	tb.Helper()
	got, err := fscheckpoint.Open(c.save(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { got.Close() })
	return got
}

// layer is a tmpfs and its memory file.
type layer struct {
	entries  []entry
	metadata pgpb.MemoryFileMetadataProto
	pages    []byte
	next     uint64 // memory offset after the last page in use
}

type entry struct {
	tar.Header
	payload []byte
}

func newLayer(entries ...entry) *layer {
	l := &layer{metadata: pgpb.MemoryFileMetadataProto{
		Version: 1, Chunks: []*pgpb.ChunkInfoProto{{}}, Subreleased: map[uint64]uint64{1 << 21: 3},
		UnfreeSmall: []*pgpb.UnfreeRangeProto{{Start: 0, End: page, Refs: 1}},
	}}
	return l.with(dir("")).with(entries...)
}

func (l *layer) with(entries ...entry) *layer {
	l.entries = append(l.entries, entries...)
	return l
}

// use takes pages of the memory for data; without committed they are known to
// be zeros and not written. Their kind differs, so that ranges are not always
// merged.
func (l *layer) use(data []byte, committed bool) (value uint64) {
	n := uint64((len(data) + page - 1) / page * page)
	value = l.next
	l.next += n
	l.metadata.MemAcct = append(l.metadata.MemAcct, &pgpb.MemAcctRangeProto{Start: value, End: value + n, Kind: uint32(len(l.metadata.MemAcct) % 2), KnownCommitted: committed})
	if committed {
		l.pages = append(l.pages, data...)
		l.pages = append(l.pages, make([]byte, int(n)-len(data))...)
	}
	return value
}

// skip leaves pages of the memory unused.
func (l *layer) skip(pages uint64) *layer {
	l.next += pages * page
	return l
}

// file adds a file of one piece.
func (l *layer) file(name, data string) *layer {
	if data == "" {
		return l.segments(name, 0)
	}
	value := l.use([]byte(data), true)
	return l.segments(name, uint64(len(data)), 0, l.next-value, value)
}

// segments adds a file with any list of segments.
func (l *layer) segments(name string, size uint64, segments ...uint64) *layer {
	payload := binary.LittleEndian.AppendUint64(nil, size)
	for _, s := range segments {
		payload = binary.LittleEndian.AppendUint64(payload, s)
	}
	return l.raw(name, payload)
}

// raw adds a file with any payload.
func (l *layer) raw(name string, payload []byte) *layer {
	return l.with(entry{tar.Header{Name: "./" + name, Typeflag: tar.TypeReg, Mode: 0o644, ModTime: when, Size: int64(len(payload))}, payload})
}

func (l *layer) tar(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range l.entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(e.payload); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

var when = time.Unix(1_000_000_000, 0)

func header(name string, typ byte) entry {
	return entry{Header: tar.Header{Name: "./" + name, Typeflag: typ, Mode: 0o640, ModTime: when, Uid: 1, Gid: 2}}
}

func dir(name string) entry {
	e := header(name+"/", tar.TypeDir)
	if name == "" {
		e.Name = "./"
	}
	e.Mode = 0o755
	return e
}

func symlink(name, target string) entry {
	e := header(name, tar.TypeSymlink)
	e.Linkname = target
	return e
}

func hardlink(name, target string) entry {
	e := header(name, tar.TypeLink)
	e.Linkname = "./" + target
	return e
}

func device(name string, typ byte, major, minor int64) entry {
	e := header(name, typ)
	e.Devmajor, e.Devminor = major, minor
	return e
}

func whiteout(name string) entry { return device(name, tar.TypeChar, 0, 0) }

func xattr(e entry, name, value string) entry {
	records := map[string]string{"SCHILY.xattr." + name: value}
	for k, v := range e.PAXRecords {
		records[k] = v
	}
	e.PAXRecords = records
	return e
}

func opaque(name string) entry { return xattr(dir(name), "trusted.overlay.opaque", "y") }
