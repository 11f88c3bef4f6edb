// Package treetest helps tests that make and compare trees.
package treetest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"pyro/internal/tree"
)

// Entry is one name of a tree in a form that go-cmp compares.
type Entry struct {
	Type         string
	Mode         uint32
	UID, GID     uint32
	Seconds      int64
	Nanos        int
	Target       string
	Major, Minor uint32
	Xattrs       map[string]string
	Data         string // a regular file's bytes
	LinkOf       string // first path of a hard-linked node, for every name of it but the first
}

// Entries returns all of tr by path.
func Entries(tb testing.TB, tr *tree.Tree) map[string]Entry {
	tb.Helper()
	all := map[string]Entry{}
	first := map[*tree.Node]string{}
	err := tr.Walk(func(path string, n *tree.Node) error {
		e := Entry{
			Type: n.Type.String(), Mode: n.Mode, UID: n.UID, GID: n.GID,
			Seconds: n.ModTime.Unix(), Nanos: n.ModTime.Nanosecond(),
			Target: n.Target, Major: n.Major, Minor: n.Minor, Xattrs: n.Xattrs, LinkOf: first[n],
		}
		if first[n] == "" {
			first[n] = path
		}
		data, err := io.ReadAll(tr.Open(n))
		if err != nil {
			return fmt.Errorf("%s: read %d bytes of %d: %w", path, len(data), n.Size, err)
		}
		if int64(len(data)) != n.Size {
			return fmt.Errorf("%s: read %d bytes of %d", path, len(data), n.Size)
		}
		e.Data = string(data)
		if _, twice := all[path]; twice {
			return fmt.Errorf("%s is visited twice", path)
		}
		all[path] = e
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// New returns an empty tree that is closed when the test ends.
func New(tb testing.TB) *tree.Tree {
	tb.Helper()
	tr, err := tree.New(os.TempDir()) // leaves nothing there
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { tr.Close() })
	return tr
}

// Clone returns a tree with the same entries as tr, put in random order.
func Clone(tb testing.TB, tr *tree.Tree, r *rand.Rand) *tree.Tree {
	tb.Helper()
	type item struct {
		path string
		n    *tree.Node
	}
	var items []item
	tr.Walk(func(path string, n *tree.Node) error {
		items = append(items, item{path, n})
		return nil
	})
	r.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	c := New(tb)
	first := map[*tree.Node]string{}
	for _, it := range items {
		var err error
		if old, ok := first[it.n]; ok && it.n.Type != tree.Dir {
			err = c.Link(old, it.path)
		} else {
			first[it.n] = it.path
			err = c.Put(it.path, it.n, tr.Open(it.n))
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return c
}

// Random fills tr with count random entries of every type, among them the sizes,
// names, times and numbers at which formats change their mind.
func Random(tb testing.TB, tr *tree.Tree, r *rand.Rand, count int) {
	tb.Helper()
	dirs := []string{""}
	files := []string{}
	for range count {
		path := dirs[r.IntN(len(dirs))] + "/" + randomName(r)
		if _, err := tr.Lookup(path); err == nil {
			continue
		}
		n := &tree.Node{
			Mode:    uint32(r.IntN(0o10000)),
			UID:     pick[uint32](r, 0, 1, 1000, 65535, 65536, 4294967294),
			GID:     pick[uint32](r, 0, 42, 65536, 4000000000),
			ModTime: pick(r, time.Time{}, time.Unix(-1, 0), time.Unix(-86400*365*100, 5), time.Unix(1700000000, 123456789), time.Unix(1<<34, 0), time.Unix(200000000000, 0)),
		}
		var data io.Reader
		switch k := r.IntN(12); {
		case k < 4:
			data = bytes.NewReader(randomBytes(r, pick(r, 0, 1, 100, 4031, 4032, 4033, 4095, 4096, 4097, 8192, 12289)))
			files = append(files, path)
		case k < 7:
			n.Type = tree.Dir
			dirs = append(dirs, path)
		case k == 7:
			n.Type, n.Target = tree.Symlink, string(bytes.Repeat([]byte("t"), pick(r, 1, 20, 4031, 4032, 4033, 4095)))
			files = append(files, path)
		case k == 8:
			n.Type = pick(r, tree.CharDevice, tree.BlockDevice)
			n.Major, n.Minor = pick[uint32](r, 0, 1, 8, 255, 256, 4095), pick[uint32](r, 0, 3, 255, 256, 257, 65536, 1048575)
		case k == 9:
			n.Type = tree.Fifo
		case len(files) > 0:
			if err := tr.Link(files[r.IntN(len(files))], path); err != nil {
				tb.Fatal(err)
			}
			continue
		}
		if err := tr.Put(path, n, data); err != nil {
			tb.Fatal(err)
		}
	}
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// randomName favours names around "." in byte order, and long ones.
func randomName(r *rand.Rand) string {
	const chars = "!-.+ab\xc3\xa9\xff\n "
	n := pick(r, 1, 2, 3, 3, 3, 8, 40, 255)
	b := make([]byte, n)
	for i := range b {
		b[i] = chars[r.IntN(len(chars))]
	}
	if s := string(b); s != "." && s != ".." {
		return s
	}
	return "..."
}
