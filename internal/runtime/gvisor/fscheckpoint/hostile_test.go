package fscheckpoint_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	fspb "gvisor.dev/gvisor/pkg/sentry/fscheckpoint/fscheckpoint_proto_go_proto"
	pgpb "gvisor.dev/gvisor/pkg/sentry/pgalloc/pgalloc_metadata_go_proto"

	"pyro/api"
	"pyro/internal/runtime/gvisor/fscheckpoint"
	"pyro/internal/tree"
)

// sound is a checkpoint that the cases of TestOpenHostile damage.
func sound(tb testing.TB) *checkpoint {
	tb.Helper()
	return newCheckpoint().
		add(tb, "/", newLayer().file("a", repeat("a", 3*page)).skip(1).file("b", "b")).
		add(tb, "/workspace", newLayer().file("c", "c"))
}

func TestOpenHostile(t *testing.T) {
	ranges := func(change func(m *pgpb.MemoryFileMetadataProto)) func(*checkpoint) {
		return func(c *checkpoint) {
			l := newLayer().file("a", repeat("a", 3*page)).skip(1).file("b", "b")
			change(&l.metadata)
			*c = *newCheckpoint().add(t, "/", l)
		}
	}
	for _, c := range []struct {
		name   string
		change func(*checkpoint)
		kind   api.Kind
		says   string
	}{
		{"future format", func(c *checkpoint) { c.manifest.Version = 2 }, api.KindUnsupported, "format 2"},
		{"no format", func(c *checkpoint) { c.manifest.Version = 0 }, api.KindUnsupported, "format 0"},
		{"large pages", func(c *checkpoint) { c.manifest.PageSize = 65536 }, api.KindUnsupported, "65536 bytes"},
		{"big endian", func(c *checkpoint) { c.manifest.Endian = "big" }, api.KindUnsupported, `"big"`},
		{"no layers", func(c *checkpoint) { *c = *newCheckpoint() }, api.KindVerification, "0 layers"},
		{"a layer too few", func(c *checkpoint) { c.manifest.Tmpfs = c.manifest.Tmpfs[:1] }, api.KindVerification, "1 layers and 2 memories"},
		{"a memory too few", func(c *checkpoint) { c.manifest.MemoryFiles = c.manifest.MemoryFiles[:1] }, api.KindVerification, "its parts end"},
		{"a layer twice", func(c *checkpoint) { c.manifest.Tmpfs[1].ResourceId.Path = "/" }, api.KindVerification, "twice"},
		{"a memory twice", func(c *checkpoint) { c.manifest.MemoryFiles[1].ResourceId.Path = "/" }, api.KindVerification, "twice"},
		{"one path in two containers", func(c *checkpoint) {
			for _, id := range []*fspb.ResourceID{c.manifest.MemoryFiles[1].ResourceId, c.manifest.Tmpfs[1].ResourceId} {
				id.ContainerName, id.Path = "other", "/"
			}
		}, api.KindVerification, "twice"},
		{"another container's memory", func(c *checkpoint) { c.manifest.Tmpfs[1].ResourceId.ContainerName = "other" }, api.KindVerification, "without its memory"},
		{"no path", func(c *checkpoint) { c.manifest.MemoryFiles[1].ResourceId = nil }, api.KindVerification, "no mount point"},
		{"relative path", func(c *checkpoint) { c.manifest.MemoryFiles[1].ResourceId.Path = "workspace" }, api.KindVerification, "no mount point"},
		{"path with dots", func(c *checkpoint) { c.manifest.MemoryFiles[1].ResourceId.Path = "/a/../b" }, api.KindVerification, "no mount point"},
		{"large manifest", func(c *checkpoint) { c.manifest.RunscVersion = strings.Repeat("v", 1<<16) }, api.KindVerification, "65536 is the most"},

		{"tar before its file", func(c *checkpoint) { c.manifest.Tmpfs[0].TarStart = 512 }, api.KindVerification, "multitar.img"},
		{"tar beyond its file", func(c *checkpoint) { c.manifest.Tmpfs[1].TarEnd += 512 }, api.KindVerification, "multitar.img"},
		{"tar that ends before it begins", func(c *checkpoint) { c.manifest.Tmpfs[0].TarEnd = 0; c.manifest.Tmpfs[1].TarStart = 0 }, api.KindVerification, "end mark"},
		{"tars that overlap", func(c *checkpoint) { c.manifest.Tmpfs[1].TarStart = 0 }, api.KindVerification, "multitar.img"},
		{"tar at the end of numbers", func(c *checkpoint) { c.manifest.Tmpfs[1].TarEnd = math.MaxUint64 }, api.KindVerification, "multitar.img"},
		{"cut tars", func(c *checkpoint) { c.tars = c.tars[:len(c.tars)-512] }, api.KindVerification, "multitar.img"},
		{"more than the tars", func(c *checkpoint) { c.tars = append(c.tars, 0) }, api.KindVerification, "its parts end"},
		{"tar without an end", func(c *checkpoint) {
			*c = *newCheckpoint().add(t, "/", newLayer().file("a", "a"))
			c.tars = c.tars[:len(c.tars)-1024]
			c.manifest.Tmpfs[0].TarEnd -= 1024
		}, api.KindVerification, "end mark"},
		{"tar that lost its end", func(c *checkpoint) { clear(c.tars[512:]) }, api.KindVerification, "end mark"},

		{"metadata beyond its file", func(c *checkpoint) { c.manifest.MemoryFiles[1].PagesMetadataEnd = 1 << 63 }, api.KindVerification, "pages_meta.img"},
		{"metadata that end before they begin", func(c *checkpoint) { c.manifest.MemoryFiles[1].PagesMetadataEnd = 0 }, api.KindVerification, "pages_meta.img"},
		{"metadata that overlap", func(c *checkpoint) { c.manifest.MemoryFiles[1].PagesMetadataStart = 0 }, api.KindVerification, "pages_meta.img"},
		{"cut metadata", func(c *checkpoint) { c.metadata = c.metadata[:len(c.metadata)-1] }, api.KindVerification, "pages_meta.img"},
		{"no metadata", func(c *checkpoint) { c.metadata = nil }, api.KindVerification, "pages_meta.img"},
		{"metadata of nothing", func(c *checkpoint) {
			c.manifest.MemoryFiles[1].PagesMetadataEnd = c.manifest.MemoryFiles[1].PagesMetadataStart
			c.metadata = c.metadata[:c.manifest.MemoryFiles[1].PagesMetadataEnd]
		}, api.KindVerification, "length does not fit"},
		{"metadata with a lying length", func(c *checkpoint) { c.metadata[0]++ }, api.KindVerification, "length does not fit"},
		{"metadata that are no message", func(c *checkpoint) { copy(c.metadata[8:], bytes.Repeat([]byte{0xff}, 16)) }, api.KindVerification, "memory of /"},
		{"future metadata", ranges(func(m *pgpb.MemoryFileMetadataProto) { m.Version = 2 }), api.KindUnsupported, "unknown version"},

		{"empty range", ranges(func(m *pgpb.MemoryFileMetadataProto) { m.MemAcct[0].End = 0 }), api.KindVerification, "no range"},
		{"range backwards", ranges(func(m *pgpb.MemoryFileMetadataProto) { m.MemAcct[1].End = m.MemAcct[1].Start - page }), api.KindVerification, "no range"},
		{"range of half a page", ranges(func(m *pgpb.MemoryFileMetadataProto) { m.MemAcct[1].End-- }), api.KindVerification, "no range"},
		{"range at half a page", ranges(func(m *pgpb.MemoryFileMetadataProto) { m.MemAcct[1].Start += 2048 }), api.KindVerification, "no range"},
		{"range to the end of numbers", ranges(func(m *pgpb.MemoryFileMetadataProto) { m.MemAcct[1].End = 1<<64 - page }), api.KindVerification, "no range"},
		{"huge range", ranges(func(m *pgpb.MemoryFileMetadataProto) { m.MemAcct[1].End = 1<<63 - page }), api.KindVerification, "pages on, which end"},
		{"ranges that overlap", ranges(func(m *pgpb.MemoryFileMetadataProto) { m.MemAcct[1].Start = 2 * page }), api.KindVerification, "does not follow"},
		{"ranges out of order", ranges(func(m *pgpb.MemoryFileMetadataProto) { m.MemAcct[0], m.MemAcct[1] = m.MemAcct[1], m.MemAcct[0] }), api.KindVerification, "does not follow"},
		{"range twice", ranges(func(m *pgpb.MemoryFileMetadataProto) { m.MemAcct[1] = m.MemAcct[0] }), api.KindVerification, "does not follow"},
		{"more pages than there are", ranges(func(m *pgpb.MemoryFileMetadataProto) { m.MemAcct[1].End += page }), api.KindVerification, "pages on, which end"},

		{"cut pages", func(c *checkpoint) { c.pages = c.pages[:len(c.pages)-1] }, api.KindVerification, "pages on, which end"},
		{"no pages", func(c *checkpoint) { c.pages = nil }, api.KindVerification, "pages on, which end"},
		{"pages beyond their file", func(c *checkpoint) { c.manifest.MemoryFiles[1].PagesStart = 1 << 63 }, api.KindVerification, "cannot begin"},
		{"pages that overlap", func(c *checkpoint) { c.manifest.MemoryFiles[1].PagesStart = 0 }, api.KindVerification, "cannot begin"},
		{"pages of the last mount cut", func(c *checkpoint) { c.manifest.MemoryFiles[1].PagesStart++ }, api.KindVerification, "pages on, which end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cp := sound(t)
			c.change(cp)
			got, err := fscheckpoint.Open(cp.save(t))
			if err == nil { // some damage shows in the layer only
				defer got.Close()
				err = got.Apply(t.Context(), "/", base(t), tree.Limits{})
				if werr := got.WriteLayer(t.Context(), "/", io.Discard); api.KindOf(werr) != api.KindOf(err) {
					t.Errorf("Apply says %v, WriteLayer %v", err, werr)
				}
			}
			expect(t, err, c.kind, c.says)
		})
	}
}

func expect(t *testing.T, err error, kind api.Kind, says string) {
	t.Helper()
	e, ok := errors.AsType[*api.Error](err)
	if !ok || e.Kind != kind || !strings.Contains(e.Message, says) || e.Hint == "" {
		t.Errorf("got %v (kind %s), want kind %s, the words %q and a hint", err, api.KindOf(err), kind, says)
	}
}

func TestLayerHostile(t *testing.T) {
	const inUse = 4 * page // of the memory
	segments := func(size uint64, s ...uint64) func(*layer) { return func(l *layer) { l.segments("f", size, s...) } }
	entries := func(e ...entry) func(*layer) { return func(l *layer) { l.with(e...) } }
	for _, c := range []struct {
		name  string
		add   func(*layer)
		kind  api.Kind // of Apply
		says  string
		plain api.Kind // of WriteLayer, which does not judge names
	}{
		{"empty segment", segments(page, 0, 0, 0), api.KindVerification, "no segment", api.KindVerification},
		{"segment backwards", segments(page, page, 0, 0), api.KindVerification, "no segment", api.KindVerification},
		{"segment at half a page", segments(page, 2048, page, 0), api.KindVerification, "no segment", api.KindVerification},
		{"segment to half a page", segments(page, 0, 2048, 0), api.KindVerification, "no segment", api.KindVerification},
		{"memory at half a page", segments(page, 0, page, 1), api.KindVerification, "no segment", api.KindVerification},
		{"segment beyond numbers", segments(page, 0, 1<<63, 0), api.KindVerification, "no segment", api.KindVerification},
		{"segment to the end of numbers", segments(page, 0, 1<<64-page, 0), api.KindVerification, "no segment", api.KindVerification},
		{"segment of everything", segments(page, 0, 1<<63-page, 0), api.KindVerification, "not in use", api.KindVerification},
		{"memory that is not in use", segments(page, 0, page, inUse), api.KindVerification, "not in use", api.KindVerification},
		{"memory partly not in use", segments(2*page, 0, 2*page, inUse-page), api.KindVerification, "not in use", api.KindVerification},
		{"memory beyond numbers", segments(page, 0, page, 1<<64-page), api.KindVerification, "not in use", api.KindVerification},
		{"memory at the end of numbers", segments(page, 0, 2*page, 1<<63-page), api.KindVerification, "not in use", api.KindVerification},
		{"segments that overlap", segments(page, 0, 2*page, 0, page, 3*page, 0), api.KindVerification, "does not follow", api.KindVerification},
		{"segments out of order", segments(page, 2*page, 3*page, 0, 0, page, 0), api.KindVerification, "does not follow", api.KindVerification},
		{"segment twice", segments(page, 0, page, 0, 0, page, 0), api.KindVerification, "does not follow", api.KindVerification},
		{"size beyond numbers", segments(1 << 63), api.KindVerification, "a size of", api.KindVerification},
		{"size of 1 EiB", segments(1 << 60), api.KindUnsafe, "bytes of file data", api.KindUnsafe},
		{"largest size", segments(1<<63 - 1), api.KindUnsafe, "bytes of file data", api.KindUnsafe},
		{"sizes that are large together", func(l *layer) { l.segments("f", 1).segments("g", fscheckpoint.DefaultBytes) }, api.KindUnsafe, "bytes of file data", api.KindUnsafe},
		{"no payload", func(l *layer) { l.raw("f", nil) }, api.KindVerification, "no list of segments", api.KindVerification},
		{"short payload", func(l *layer) { l.raw("f", make([]byte, 7)) }, api.KindVerification, "no list of segments", api.KindVerification},
		{"half a segment", func(l *layer) { l.raw("f", make([]byte, 8+12)) }, api.KindVerification, "no list of segments", api.KindVerification},

		{"unknown type", entries(header("f", 'V')), api.KindUnsafe, "'V'", api.KindVerification},
		{"way out", entries(dir("../x")), api.KindUnsafe, `".." part`, ""},
		{"hard link out", entries(hardlink("x", "../etc/passwd")), api.KindUnsafe, `".." part`, ""},
		{"hard link to nothing", entries(hardlink("x", "nothing")), api.KindUnsafe, "not exist", ""},
		{"overlay redirect", entries(xattr(dir("d"), "trusted.overlay.redirect", "/x")), api.KindUnsafe, "redirect", ""},
		{"whiteout of the root", entries(whiteout(".")), api.KindUnsafe, "root", ""},
		{"file in a file", func(l *layer) { l.file("file", "").file("file/x", "") }, api.KindUnsafe, "folder is needed", ""},
		{"long name", entries(dir(strings.Repeat("n", 256))), api.KindUnsafe, "256 bytes", ""},
		{"large device", entries(device("d", tar.TypeChar, 4096, 0)), api.KindUnsafe, "major number", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLayer()
			l.use([]byte(repeat("x", 3*page)), true)
			l.use(make([]byte, page), false)
			c.add(l)
			// What follows keeps the ends of the files away from the damage.
			cp := newCheckpoint().add(t, "/", l).add(t, "/later", newLayer().file("f", repeat("y", 64*page))).open(t)
			expect(t, cp.Apply(t.Context(), "/", base(t), tree.Limits{}), c.kind, c.says)
			err := cp.WriteLayer(t.Context(), "/", io.Discard)
			if c.plain == "" {
				if err != nil {
					t.Errorf("WriteLayer: %v", err)
				}
				return
			}
			expect(t, err, c.plain, "")
			if err := cp.Apply(t.Context(), "/later", base(t), tree.Limits{}); err != nil {
				t.Errorf("the other layer: %v", err)
			}
		})
	}
}

// rawHeader makes the header of a tar entry as no decent writer would: fields of
// the ustar form by their offsets, with a right checksum.
func rawHeader(fields map[int]string) []byte {
	h := make([]byte, 512)
	for off, s := range map[int]string{0: "f", 100: "0000644\x00", 108: "0000000\x00", 116: "0000000\x00", 124: "00000000000\x00", 136: "00000000000\x00", 257: "ustar\x0000"} {
		copy(h[off:], s)
	}
	for off, s := range fields {
		copy(h[off:], s)
	}
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// gnuSparse and paxSparse make entries that hold nothing and declare size bytes.
func gnuSparse(size uint64) []byte {
	return rawHeader(map[int]string{156: "S", 257: "ustar  \x00", 483: "\x80", 487: string(binary.BigEndian.AppendUint64(nil, size))})
}

func paxSparse(size uint64) []byte {
	var records string
	for _, r := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=f", fmt.Sprintf("GNU.sparse.realsize=%d", size)} {
		records += fmt.Sprintf("%d %s\n", len(r)+4, r)
	}
	block := make([]byte, 512)
	copy(block, records)
	head := slices.Concat(rawHeader(map[int]string{156: "x", 124: fmt.Sprintf("%011o\x00", len(records))}), block)
	clear(block)
	copy(block, fmt.Sprintf("1\n%d\n0\n", size)) // one piece of 0 bytes, at the end
	return slices.Concat(head, rawHeader(map[int]string{156: "0", 124: "00000001000\x00"}), block)
}

// prepend puts bytes in front of the first layer's tar.
func (c *checkpoint) prepend(b []byte) *checkpoint {
	c.tars = append(bytes.Clone(b), c.tars...)
	for _, l := range c.manifest.Tmpfs {
		l.TarStart += uint64(len(b))
		l.TarEnd += uint64(len(b))
	}
	c.manifest.Tmpfs[0].TarStart = 0
	return c
}

// TestManySegments: a list of segments that is longer than any that makes sense
// is refused before it is read. A sparse entry of the tar makes one of nothing.
func TestManySegments(t *testing.T) {
	const most = 8 + 24*4<<20
	for _, c := range []struct {
		name string
		b    []byte
		size int64
		says string
	}{
		{"sparse of GNU", gnuSparse(most), most, "no list of segments"},
		{"sparse of PAX", paxSparse(most + 24), most + 24, "more than 4194304 segments"},
		{"most segments", paxSparse(most), most, "no segment of a file goes from 0 to 0"},
		{"more together", nil, most, "more than 4194304 segments"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cp := sound(t)
			if c.b == nil { // behind a file whose segments are kept
				sparse := newLayer().file("a", repeat("a", 3*page)).segments("kept", 3*page, page, 2*page, 0)
				cp = newCheckpoint().add(t, "/", sparse)
				at := len(cp.tars) - 1024
				c.b = paxSparse(most)
				cp.tars = slices.Insert(cp.tars, at, c.b...)
				cp.manifest.Tmpfs[0].TarEnd += uint64(len(c.b))
			} else {
				cp.prepend(c.b)
			}
			if h, err := tar.NewReader(bytes.NewReader(c.b)).Next(); err != nil || h.Size != c.size {
				t.Fatalf("the test's header is wrong: %+v, %v", h, err)
			}
			got := cp.open(t)
			expect(t, got.Apply(t.Context(), "/", base(t), tree.Limits{}), api.KindVerification, c.says)
			expect(t, got.WriteLayer(t.Context(), "/", io.Discard), api.KindVerification, "")
		})
	}
}

func TestLimits(t *testing.T) {
	l := newLayer().segments("sparse", 15<<30).file("a", "1").file("b", "2")
	c := newCheckpoint().add(t, "/", l).open(t)
	tr := base(t)
	if err := c.Apply(t.Context(), "/", tr, tree.Limits{}); err != nil {
		t.Error(err)
	}
	n, err := tr.Lookup("/sparse")
	if err != nil || n.Size != 15<<30 {
		t.Fatalf("%+v, %v", n, err)
	}
	last := make([]byte, page)
	if got, err := tr.Open(n).ReadAt(last, n.Size-page); got != page || err != nil || !bytes.Equal(last, make([]byte, page)) {
		t.Errorf("read %d bytes: %v", got, err)
	}
	expect(t, c.Apply(t.Context(), "/", base(t), tree.Limits{Bytes: 1 << 30}), api.KindUnsafe, "more than 1073741824 bytes")
	expect(t, c.Apply(t.Context(), "/", base(t), tree.Limits{Entries: 3}), api.KindUnsafe, "more than 3 entries")
	if err := c.Apply(t.Context(), "/", base(t), tree.Limits{Bytes: 15<<30 + 2, Entries: 4}); err != nil {
		t.Error(err)
	}
}

// TestPagesCutLater: whoever holds the files can make them shorter after Open.
func TestPagesCutLater(t *testing.T) {
	dir := newCheckpoint().add(t, "/", newLayer().file("a", repeat("a", 3*page)).skip(1).segments("b", 3*page, page, 2*page, 0)).save(t)
	c, err := fscheckpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tr := base(t)
	if err := c.Apply(t.Context(), "/", tr, tree.Limits{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "pages.img"), 100); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/a", "/b"} {
		n, err := tr.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, tr.Open(n)); !errors.Is(err, io.ErrUnexpectedEOF) || api.KindOf(err) != api.KindVerification {
			t.Errorf("%s: got %v", name, err)
		}
	}
	expect(t, c.WriteLayer(t.Context(), "/", io.Discard), api.KindVerification, "ends before byte")
}

func TestOtherFiles(t *testing.T) {
	for _, name := range fileNames {
		for what, make := range map[string]func(path string) error{
			"no file":        func(string) error { return nil },
			"a fifo":         func(path string) error { return syscall.Mkfifo(path, 0o600) },
			"a folder":       func(path string) error { return os.Mkdir(path, 0o700) },
			"a link outside": func(path string) error { return os.Symlink("/dev/zero", path) },
		} {
			t.Run(what+" "+name, func(t *testing.T) {
				dir := sound(t).save(t)
				path := filepath.Join(dir, name)
				if err := errors.Join(os.Remove(path), make(path)); err != nil {
					t.Fatal(err)
				}
				_, err := fscheckpoint.Open(dir)
				expect(t, err, api.KindVerification, name)
			})
		}
	}
}

// TestCut: no file can be shorter anywhere without notice.
func TestCut(t *testing.T) {
	whole := sound(t).files(t)
	dir := t.TempDir()
	for i, name := range fileNames {
		for n := range len(whole[i]) {
			if i == 1 && n%100 != 0 || i == 3 && n%1000 != 0 {
				continue
			}
			cut := whole
			cut[i] = whole[i][:n]
			writeFiles(t, dir, cut)
			c, err := fscheckpoint.Open(dir)
			if err == nil {
				c.Close()
				t.Errorf("%s cut to %d of %d bytes is taken", name, n, len(whole[i]))
			} else if kind := api.KindOf(err); kind != api.KindVerification && kind != api.KindUnsupported {
				t.Errorf("%s cut to %d bytes: %v", name, n, err)
			}
		}
	}
}
