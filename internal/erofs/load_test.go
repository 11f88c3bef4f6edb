package erofs

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// small returns a tree whose image the tests below damage: an inode table with
// root (nid 128), /dir, /dir/f, /dir/sub, /g, /l in this order.
func small(t testing.TB) *tree.Tree {
	tr := treetest.New(t)
	for _, err := range []error{
		tr.PutFile("/dir/f", 0o644, time.Unix(1, 0), []byte("file")),
		tr.Put("/dir/sub", &tree.Node{Type: tree.Dir, Mode: 0o755}, nil),
		tr.PutFile("/g", 0o644, time.Unix(1, 0), bytes.Repeat([]byte("g"), 5000)),
		tr.Put("/l", &tree.Node{Type: tree.Symlink, Target: "dir/f"}, nil),
		tr.Put("/null", &tree.Node{Type: tree.CharDevice, Major: 1, Minor: 3}, nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

// places finds the inodes of small's image by path, as byte offsets.
func places(t testing.TB, tr *tree.Tree) map[string]int {
	p, err := layOut(tr)
	if err != nil {
		t.Fatal(err)
	}
	at := map[*tree.Node]int{}
	for _, i := range p.inodes {
		at[i.node] = int(i.nid * slotSize)
	}
	all := map[string]int{}
	tr.Walk(func(path string, n *tree.Node) error {
		all[path] = at[n]
		return nil
	})
	return all
}

// reseal makes the superblock's checksum right again.
func reseal(image []byte) { le.PutUint32(image[superOffset+4:], checksumOf(image[:blockSize])) }

func TestOpenRefuses(t *testing.T) {
	const sb = superOffset
	for _, c := range []struct {
		name   string
		damage func(b []byte) []byte
		kind   api.Kind
		says   string
	}{
		{"nothing", func(b []byte) []byte { return nil }, api.KindVerification, "0 bytes"},
		{"one block of zeros", func(b []byte) []byte { return make([]byte, blockSize) }, api.KindVerification, "begin"},
		{"checksum", func(b []byte) []byte { b[sb+70]++; return b }, api.KindVerification, "checksum"},
		{"checksum of the rest of the block", func(b []byte) []byte { b[4000]++; return b }, api.KindVerification, "checksum"},
		{"cut off", func(b []byte) []byte { return b[:len(b)-blockSize] }, api.KindVerification, "bytes of"},
		{"block size", func(b []byte) []byte { b[sb+12] = 9; reseal(b); return b }, api.KindUnsupported, "2^9"},
		{"features", func(b []byte) []byte { b[sb+80] = 1; reseal(b); return b }, api.KindUnsupported, "features 0x1"},
		{"root outside", func(b []byte) []byte { le.PutUint16(b[sb+14:], 65535); reseal(b); return b }, api.KindVerification, "65535"},
		{"root is a file", func(b []byte) []byte { le.PutUint16(b[4096+4:], 0o100644); return b }, api.KindVerification, "root"},
		{"metadata outside", func(b []byte) []byte { le.PutUint32(b[sb+40:], 1<<31); reseal(b); return b }, api.KindVerification, "lies outside"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := c.damage(write(t, small(t), WriteOptions{}))
			_, err := Open(bytes.NewReader(b), int64(len(b)))
			if api.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("kind %q: %v", api.KindOf(err), err)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	at := places(t, small(t))
	dir, dirData := at["/dir"], at["/dir"]+inodeSize // entries: . .. f sub
	const names = 4 * direntSize
	nid := func(path string) uint64 { return uint64(at[path] / slotSize) }
	for _, c := range []struct {
		name   string
		damage func(b []byte)
		kind   api.Kind
		says   string
	}{
		{"folder loop", func(b []byte) { le.PutUint64(b[dirData+3*direntSize:], nid("/")) }, api.KindUnsafe, "two places"},
		{"folder in itself", func(b []byte) { le.PutUint64(b[dirData+3*direntSize:], nid("/dir")) }, api.KindUnsafe, "two places"},
		{"wrong dot", func(b []byte) { le.PutUint64(b[dirData:], nid("/")) }, api.KindUnsafe, "leads elsewhere"},
		{"wrong dot-dot", func(b []byte) { le.PutUint64(b[dirData+direntSize:], nid("/dir")) }, api.KindUnsafe, "leads elsewhere"},
		{"entry outside", func(b []byte) { le.PutUint64(b[dirData+2*direntSize:], 1<<63) }, api.KindVerification, "lies outside"},
		{"wrong type in entry", func(b []byte) { b[dirData+2*direntSize+10] = 2 }, api.KindUnsafe, "has type"},
		{"socket", func(b []byte) { le.PutUint16(b[at["/dir/f"]+4:], 0o140644) }, api.KindUnsafe, "has type"},
		{"names at 0", func(b []byte) { le.PutUint16(b[dirData+8:], 0) }, api.KindUnsafe, "offset 0"},
		{"names outside", func(b []byte) { le.PutUint16(b[dirData+8:], 4092) }, api.KindUnsafe, "offset 4092"},
		{"names between entries", func(b []byte) { le.PutUint16(b[dirData+8:], 13) }, api.KindUnsafe, "offset 13"},
		{"name backwards", func(b []byte) { le.PutUint16(b[dirData+2*direntSize+8:], names) }, api.KindUnsafe, "name"},
		{"name behind the end", func(b []byte) { le.PutUint16(b[dirData+3*direntSize+8:], 9999) }, api.KindUnsafe, "name"},
		{"slash", func(b []byte) { b[dirData+names+3] = '/' }, api.KindUnsafe, `"/"`},
		{"NUL", func(b []byte) { b[dirData+names+3] = 0 }, api.KindUnsafe, `"\x00"`},
		{"unsorted", func(b []byte) { b[dirData+names+3] = 'z' }, api.KindUnsafe, "not sorted"},
		{"folder size", func(b []byte) { le.PutUint64(b[dir+8:], 1<<62+100) }, api.KindVerification, "lies outside"},
		{"inline size", func(b []byte) { le.PutUint64(b[dir+8:], 4090) }, api.KindVerification, "lies outside"},
		{"inline nothing", func(b []byte) { le.PutUint64(b[dir+8:], 0) }, api.KindVerification, "lies outside"},
		{"file size", func(b []byte) { le.PutUint64(b[at["/g"]+8:], 1<<63+1) }, api.KindVerification, "lies outside"},
		{"file place", func(b []byte) { le.PutUint32(b[at["/g"]+16:], 1<<31) }, api.KindVerification, "lies outside"},
		{"file end", func(b []byte) { le.PutUint64(b[at["/g"]+8:], 8193) }, api.KindVerification, "lies outside"},
		{"file inside the table", func(b []byte) { b[at["/dir/f"]] = layoutExtended | layoutInline<<1 }, api.KindUnsupported, "inside the inode table"},
		{"compressed", func(b []byte) { b[at["/g"]] = layoutExtended | 1<<1 }, api.KindUnsupported, "data layout 1"},
		{"attributes", func(b []byte) { b[at["/g"]+2] = 1 }, api.KindUnsupported, "extended attributes"},
		{"empty link", func(b []byte) { b[at["/l"]] = layoutExtended; le.PutUint64(b[at["/l"]+8:], 0) }, api.KindUnsafe, "target of 0"},
		{"long link", func(b []byte) { b[at["/l"]] = layoutExtended; le.PutUint64(b[at["/l"]+8:], 4096) }, api.KindUnsafe, "target of 4096"},
		{"NUL in link", func(b []byte) { b[at["/l"]+inodeSize+1] = 0 }, api.KindUnsafe, "NUL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := write(t, small(t), WriteOptions{})
			c.damage(b)
			im, err := Open(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			err = im.Load(treetest.New(t))
			if api.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("kind %q: %v", api.KindOf(err), err)
			}
		})
	}
}

func TestLoadNeedsEmptyTree(t *testing.T) {
	b := write(t, small(t), WriteOptions{})
	im, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := im.Load(small(t)); api.KindOf(err) != api.KindInternal {
		t.Error(err)
	}
}

// TestLoadReadsMkfs loads what the format's own tool has made, with small inodes
// and with large ones.
func TestLoadReadsMkfs(t *testing.T) {
	mkfs, err := exec.LookPath("mkfs.erofs")
	if err != nil {
		t.Skipf("needs mkfs.erofs from erofs-utils")
	}
	src := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(src, "a/b"), 0o750),
		os.WriteFile(filepath.Join(src, "a/empty"), nil, 0o600),
		os.WriteFile(filepath.Join(src, "a/b/file"), bytes.Repeat([]byte("file "), 3000), 0o640),
		os.Link(filepath.Join(src, "a/b/file"), filepath.Join(src, "linked")),
		os.Symlink("a/b", filepath.Join(src, "link")),
		os.Mkdir(filepath.Join(src, "many"), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 600 {
		if err := os.WriteFile(filepath.Join(src, "many", strings.Repeat("m", i%250)+string(rune('A'+i%26))), []byte{byte(i)}, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, form := range []string{"force-inode-compact", "force-inode-extended"} {
		t.Run(form, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "image")
			out, err := exec.Command(mkfs, "-x-1", "-T1700000000", "-Enoinline_data,"+form, name, src).CombinedOutput()
			if err != nil {
				t.Fatalf("mkfs.erofs: %v\n%s", err, out)
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want := hostEntries(t, src)
			for path, e := range want { // -T
				e.Seconds, e.Nanos = 1700000000, 0
				want[path] = e
			}
			if d := cmp.Diff(want, treetest.Entries(t, load(t, b))); d != "" {
				t.Error(d)
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(write(f, small(f), WriteOptions{}))
	f.Add(write(f, treetest.New(f), WriteOptions{}))
	f.Add([]byte("not an image"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= blockSize {
			reseal(b)
		}
		im, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		tr := treetest.New(t)
		if err := im.Load(tr); err != nil {
			if k := api.KindOf(err); k != api.KindUnsafe && k != api.KindVerification && k != api.KindUnsupported {
				t.Fatalf("kind %q: %v", k, err)
			}
			return
		}
		if tr.Stat().Bytes > 64<<20 {
			return // many files may share their bytes
		}
		again := load(t, write(t, tr, WriteOptions{}))
		if d := cmp.Diff(treetest.Entries(t, tr), treetest.Entries(t, again)); d != "" {
			t.Fatal("its own image gives another tree:\n", d)
		}
	})
}
