package fscheckpoint_test

import (
	"archive/tar"
	"bytes"
	"io"
	"testing"

	"pyro/api"
	"pyro/internal/runtime/gvisor/fscheckpoint"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// Both targets are best run with -fuzzminimizetime=10x: walking maps makes the
// coverage of one input differ, and minimizing it would take all the time.

// fuzzLimits keeps one input from taking the time of thousands.
var fuzzLimits = tree.Limits{Entries: 200, Bytes: 1 << 20, NameLen: 600, Depth: 40}

// FuzzOpen reads any four files.
func FuzzOpen(f *testing.F) {
	l := newLayer().file("f", repeat("data", page+5)).file("g", "")
	sparse := l.use([]byte(repeat("s", 2*page)), true)
	l.segments("sparse", 6*page+1, page, 2*page, sparse, 3*page, 4*page, sparse+page)
	l.with(whiteout("gone"), hardlink("gone2", "gone"), opaque("d"), hardlink("d/h", "f"), symlink("l", "d"))
	for _, c := range []*checkpoint{
		newCheckpoint().add(f, "/", l),
		newCheckpoint().add(f, "/", newLayer()),
		newCheckpoint().add(f, "/workspace", newLayer().file("a", "b")).add(f, "/", l),
	} {
		files := c.files(f)
		f.Add(files[0], files[1], files[2], files[3])
	}
	dir := f.TempDir() // each fuzzing process has its own
	f.Fuzz(func(t *testing.T, manifest, tars, metadata, pages []byte) {
		writeFiles(t, dir, [4][]byte{manifest, tars, metadata, pages})
		c, err := fscheckpoint.Open(dir)
		if err != nil {
			wantKind(t, err, api.KindVerification, api.KindUnsupported)
			return
		}
		defer c.Close()
		for _, mount := range c.Mounts() {
			checkLayer(t, c, mount)
		}
	})
}

// checkLayer asserts what holds for every layer that can be opened: both ways to
// read it give the same, and it can be read to the end.
func checkLayer(t *testing.T, c *fscheckpoint.Checkpoint, mount string) {
	t.Helper()
	tr := treetest.New(t)
	err := c.Apply(t.Context(), mount, tr, fuzzLimits)
	if err != nil {
		wantKind(t, err, api.KindVerification, api.KindUnsafe)
		return
	}
	direct := treetest.Entries(t, tr)
	var plain bytes.Buffer
	if err := c.WriteLayer(t.Context(), mount, &plain); err != nil {
		t.Fatalf("Apply takes what WriteLayer does not: %v", err)
	}
	viaTar := treetest.New(t)
	err = viaTar.ApplyTar(&plain, tree.ApplyOptions{Whiteouts: tree.WhiteoutsOverlay})
	if err != nil {
		t.Fatalf("WriteLayer makes a tar that cannot be read: %v", err)
	}
	other := treetest.Entries(t, viaTar)
	for path, e := range direct {
		if o, ok := other[path]; !ok || o.Data != e.Data || o.Type != e.Type || o.LinkOf != e.LinkOf || o.Mode != e.Mode {
			t.Fatalf("%q is %+v, by way of a tar %+v", path, e, o)
		}
	}
	if len(direct) != len(other) {
		t.Fatalf("%d entries, by way of a tar %d", len(direct), len(other))
	}
}

func wantKind(t *testing.T, err error, kinds ...api.Kind) {
	t.Helper()
	for _, k := range kinds {
		if api.KindOf(err) == k {
			return
		}
	}
	t.Fatalf("kind %q: %v", api.KindOf(err), err)
}

// FuzzSegments compares one file with a reading of the format that maps every
// page by itself. Numbers are pages, so that most lists make sense.
func FuzzSegments(f *testing.F) {
	f.Add([]byte{1, 2, 1, 3, 0, 4, 1}, []byte{0, 3, 0, 4, 2, 6}, uint16(5*page))
	f.Add([]byte{0, 9, 1}, []byte{0, 9, 0}, uint16(9*page))
	f.Add([]byte{0, 2, 1, 0, 2, 0, 1, 1, 1}, []byte{1, 2, 3, 4, 5, 1}, uint16(7))
	f.Fuzz(func(t *testing.T, ranges, segments []byte, size uint16) {
		l := newLayer()
		mem := map[uint64][]byte{} // pages in use
		for len(ranges) >= 3 {     // pages to leave, to use, and whether they are committed
			l.skip(uint64(ranges[0] % 4))
			n, committed := uint64(ranges[1]%8)+1, ranges[2]%2 == 1
			data := make([]byte, n*page)
			for i := range data {
				if committed {
					data[i] = byte(i/page) ^ byte(i) ^ byte(l.next/page) | 1
				}
			}
			for i := range n {
				mem[l.next/page+i] = data[i*page : (i+1)*page]
			}
			l.use(data, committed)
			ranges = ranges[3:]
		}
		want, numbers, ok := expected(mem, segments, int(size))
		l.segments("f", uint64(size), numbers...)
		c := newCheckpoint().add(t, "/", l).open(t)
		tr := treetest.New(t)
		err := c.Apply(t.Context(), "/", tr, tree.Limits{})
		if !ok {
			wantKind(t, err, api.KindVerification)
			return
		}
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		got, err := tr.ReadFile("/f")
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes that differ from the %d wanted: %v", len(got), len(want), err)
		}
		readParts(t, tr, want)
		var plain bytes.Buffer
		if err := c.WriteLayer(t.Context(), "/", &plain); err != nil {
			t.Fatal(err)
		}
		for r := tar.NewReader(&plain); ; {
			h, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if h.Typeflag != tar.TypeReg {
				continue
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("the tar has %d bytes that differ from the %d wanted: %v", len(got), len(want), err)
			}
			return
		}
	})
}

// expected reads segments, each a hole before it, its length and its place, all
// in pages. It returns the file, the segments' numbers, and whether all of them
// are in use.
func expected(mem map[uint64][]byte, segments []byte, size int) (data []byte, numbers []uint64, ok bool) {
	data, ok = make([]byte, size), true
	at := uint64(0)
	for len(segments) >= 3 {
		start := at + uint64(segments[0]%4)
		end, value := start+uint64(segments[1]%8)+1, uint64(segments[2])
		for p := start; p < end; p++ {
			content, inUse := mem[value+p-start]
			ok = ok && inUse
			if off := int(p * page); off < size && inUse {
				copy(data[off:], content)
			}
		}
		numbers = append(numbers, start*page, end*page, value*page)
		at, segments = end, segments[3:]
	}
	return data, numbers, ok
}

// readParts reads the file in pieces that begin and end anywhere.
func readParts(t *testing.T, tr *tree.Tree, want []byte) {
	t.Helper()
	n, err := tr.Lookup("/f")
	if err != nil {
		t.Fatal(err)
	}
	r := tr.Open(n)
	seed := uint32(len(want))
	for range 20 {
		seed = seed*1664525 + 1013904223
		off := int(seed>>8) % (len(want) + 1)
		part := bytes.Repeat([]byte{0xee}, int(seed)%(3*page))
		got, err := r.ReadAt(part, int64(off))
		rest := want[off:]
		if got != min(len(part), len(rest)) || !bytes.Equal(part[:got], rest[:got]) || err != nil && err != io.EOF || err == nil && got < len(part) {
			t.Fatalf("%d bytes at %d of %d: %d, %v", len(part), off, len(want), got, err)
		}
	}
}
