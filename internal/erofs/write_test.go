package erofs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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

// edges returns a tree with what is likely to go wrong in the format.
func edges(t testing.TB) *tree.Tree {
	tr := treetest.New(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(tr.Put("/", &tree.Node{Type: tree.Dir, Mode: 0o755, ModTime: time.Unix(1600000000, 0)}, nil))
	for _, size := range []int{0, 1, 4032, 4033, 4095, 4096, 4097, 3 << 20} {
		must(tr.PutFile(fmt.Sprintf("/sizes/%d", size), 0o644, time.Unix(1, 0), bytes.Repeat([]byte{'x'}, size)))
	}
	for i := range 5003 {
		must(tr.PutFile(fmt.Sprintf("/many/entry-with-a-name-%d", i), 0o600, time.Unix(int64(i), 0), nil))
	}
	for i := range 300 {
		must(tr.PutFile(fmt.Sprintf("/long/%03d%s", i, strings.Repeat("n", 252)), 0o600, time.Unix(0, 0), []byte{byte(i)}))
	}
	// Folders whose entries end exactly at, before and behind the limits of the
	// inode's block and of a directory block: 27 bytes are "." and "..".
	for _, fill := range []int{4032 - 1, 4032, 4032 + 1, 4096 - 1, 4096, 4096 + 1, 8192, 8192 + 4032, 8192 + 4033} {
		rest := fill - 27
		for i := 0; rest > 0; i++ {
			n := min(rest, 12+255)
			if rest-n > 0 && rest-n < 13+4 {
				n -= 20
			}
			must(tr.PutFile(fmt.Sprintf("/fill/%d/%04d%s", fill, i, strings.Repeat("f", n-12-4)), 0o600, time.Unix(0, 0), nil))
			rest -= n
		}
	}
	for _, n := range []int{1, 4031, 4032, 4033, 4095} {
		must(tr.Put(fmt.Sprintf("/links/%d", n), &tree.Node{Type: tree.Symlink, Target: strings.Repeat("t", n)}, nil))
	}
	must(tr.PutFile("/order/!before-dot", 0o644, time.Unix(0, 0), nil))
	must(tr.PutFile("/order/-", 0o644, time.Unix(0, 0), nil))
	must(tr.PutFile("/order/...", 0o644, time.Unix(0, 0), nil))
	must(tr.PutFile("/order/\xff\xfe\n", 0o644, time.Unix(0, 0), nil))
	must(tr.Put("/dev/a", &tree.Node{Type: tree.CharDevice, Mode: 0o666, Major: 1, Minor: 3}, nil))
	must(tr.Put("/dev/b", &tree.Node{Type: tree.BlockDevice, Mode: 0o660, Major: 4095, Minor: 1048575}, nil))
	must(tr.Put("/dev/c", &tree.Node{Type: tree.CharDevice, Mode: 0o666, Major: 259, Minor: 0x12345}, nil))
	must(tr.Put("/dev/fifo", &tree.Node{Type: tree.Fifo, Mode: 0o600}, nil))
	must(tr.Put("/bits", &tree.Node{Mode: 0o7755, UID: 70000, GID: 1 << 31, ModTime: time.Unix(-5, 250)}, strings.NewReader("bits")))
	must(tr.Put("/future", &tree.Node{Mode: 0o400, ModTime: time.Unix(9999999999, 999999999)}, strings.NewReader("future")))
	must(tr.Put("/tmp", &tree.Node{Type: tree.Dir, Mode: 0o1777}, nil))
	must(tr.Link("/sizes/4097", "/hard/one"))
	must(tr.Link("/sizes/4097", "/another"))
	must(tr.Link("/links/1", "/hard/link"))
	must(tr.Link("/dev/fifo", "/hard/fifo"))
	return tr
}

func write(t testing.TB, tr *tree.Tree, o WriteOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := Write(&b, tr, o)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(b.Len()) || n%blockSize != 0 {
		t.Fatalf("Write returned %d for %d bytes", n, b.Len())
	}
	return b.Bytes()
}

func load(t testing.TB, image []byte) *tree.Tree {
	t.Helper()
	im, err := Open(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	tr := treetest.New(t)
	if err := im.Load(tr); err != nil {
		t.Fatal(err)
	}
	return tr
}

// imageFile writes the image of tr to a file.
func imageFile(t testing.TB, tr *tree.Tree) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image.erofs")
	if err := os.WriteFile(name, write(t, tr, WriteOptions{}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// eachTree runs f with the tree of edges and with random ones.
func eachTree(t *testing.T, f func(t *testing.T, tr *tree.Tree)) {
	t.Run("empty", func(t *testing.T) { f(t, treetest.New(t)) })
	t.Run("edges", func(t *testing.T) { f(t, edges(t)) })
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("random", seed), func(t *testing.T) {
			tr := treetest.New(t)
			treetest.Random(t, tr, rand.New(rand.NewPCG(seed, 1)), 60*int(seed+1))
			f(t, tr)
		})
	}
}

func TestRoundTrip(t *testing.T) {
	eachTree(t, func(t *testing.T, tr *tree.Tree) {
		got := load(t, write(t, tr, WriteOptions{}))
		if d := cmp.Diff(treetest.Entries(t, tr), treetest.Entries(t, got)); d != "" {
			t.Error("the tree came back different:\n", d)
		}
	})
}

func TestWriteIsDeterministic(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	eachTree(t, func(t *testing.T, tr *tree.Tree) {
		a := write(t, tr, WriteOptions{})
		if !bytes.Equal(a, write(t, tr, WriteOptions{})) {
			t.Error("two images of one tree differ")
		}
		if !bytes.Equal(a, write(t, treetest.Clone(t, tr, r), WriteOptions{})) {
			t.Error("the image depends on the order in which the tree was made")
		}
		if !bytes.Equal(a, write(t, load(t, a), WriteOptions{})) {
			t.Error("the image of the loaded image differs")
		}
	})
}

func TestUUIDFollowsMetadata(t *testing.T) {
	uuid := func(mode uint32, o WriteOptions) string {
		tr := treetest.New(t)
		if err := tr.PutFile("/f", mode, time.Unix(100, 0), []byte("x")); err != nil {
			t.Fatal(err)
		}
		return string(write(t, tr, o)[superOffset+48 : superOffset+64])
	}
	if uuid(0o644, WriteOptions{}) == uuid(0o600, WriteOptions{}) {
		t.Error("the UUID does not depend on the mode")
	}
	if uuid(0o644, WriteOptions{}) == uuid(0o644, WriteOptions{ModTime: time.Unix(50, 0)}) {
		t.Error("the UUID does not depend on times")
	}
}

func TestWriteClampsTimes(t *testing.T) {
	tr := treetest.New(t)
	for name, sec := range map[string]int64{"/old": 10, "/new": 5000} {
		if err := tr.PutFile(name, 0o644, time.Unix(sec, 7), nil); err != nil {
			t.Fatal(err)
		}
	}
	got := treetest.Entries(t, load(t, write(t, tr, WriteOptions{ModTime: time.Unix(1000, 0)})))
	if e := got["/old"]; e.Seconds != 10 || e.Nanos != 7 {
		t.Errorf("an earlier time became %d.%d", e.Seconds, e.Nanos)
	}
	if e := got["/new"]; e.Seconds != 1000 || e.Nanos != 0 {
		t.Errorf("a later time became %d.%d, not the build time", e.Seconds, e.Nanos)
	}
}

func TestWriteRefusesTooLarge(t *testing.T) {
	tr := treetest.New(t)
	n := &tree.Node{Size: 1 << 44}
	if err := tr.PutData("/huge", n, bytes.NewReader(nil), 0); err != nil {
		t.Fatal(err)
	}
	_, err := Write(io.Discard, tr, WriteOptions{})
	if api.KindOf(err) != api.KindUnsupported {
		t.Errorf("an image of 16 TiB: %v", err)
	}
}

func TestWriteReportsErrors(t *testing.T) {
	tr := edges(t)
	full := errors.New("disk full")
	for _, limit := range []int{0, 1 << 20, 2 << 20} {
		if _, err := Write(&failingWriter{limit, full}, tr, WriteOptions{}); !errors.Is(err, full) || api.KindOf(err) != api.KindStorage {
			t.Errorf("a disk full after %d bytes: %v", limit, err)
		}
	}
	n := &tree.Node{Size: 5000}
	if err := tr.PutData("/short", n, strings.NewReader("only this"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(io.Discard, tr, WriteOptions{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file shorter than its size: %v", err)
	}
}

type failingWriter struct {
	left int
	err  error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, w.err
	}
	return len(p), nil
}

func TestFsck(t *testing.T) {
	fsck, err := exec.LookPath("fsck.erofs")
	if err != nil {
		t.Skipf("needs fsck.erofs from erofs-utils")
	}
	eachTree(t, func(t *testing.T, tr *tree.Tree) {
		// It may print an error and still exit with 0.
		out, err := exec.Command(fsck, "--extract", imageFile(t, tr)).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("fsck.erofs: %v\n%s", err, out)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	tr := treetest.New(b)
	r := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	for i := range 10000 {
		size := r.IntN(16 << 10)
		if i%100 == 0 {
			size = len(data)
		}
		if err := tr.PutFile(fmt.Sprintf("/d%d/e%d/file%d", i%10, i%97, i), 0o644, time.Unix(0, 0), data[:size]); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(tr.Stat().Bytes)
	f, err := os.Create(filepath.Join(b.TempDir(), "image"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.Run("discard", func(b *testing.B) { benchWrite(b, tr, func() io.Writer { return io.Discard }) })
	b.Run("file", func(b *testing.B) {
		benchWrite(b, tr, func() io.Writer { f.Seek(0, io.SeekStart); return f })
	})
	b.Run("file+sha256", func(b *testing.B) {
		benchWrite(b, tr, func() io.Writer { f.Seek(0, io.SeekStart); return io.MultiWriter(f, sha256.New()) })
	})
}

func benchWrite(b *testing.B, tr *tree.Tree, w func() io.Writer) {
	b.ReportAllocs()
	for b.Loop() {
		n, err := Write(w(), tr, WriteOptions{})
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
}
