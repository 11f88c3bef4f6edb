package layer

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pyro/internal/holes"
)

// sample makes a layer with everything that one can hold.
const sample = `set -e; umask 022
mkdir -p d/sub opaque "odd dir"; echo one >d/one; ln d/one d/sub/hard; ln -s ../one d/sub/soft; ln -s /nowhere dangling
mkfifo fifo; mknod gone c 0 0; mknod null c 1 3; printf x >"odd dir/new
line"; printf x >"$(printf 'bad\377utf8')"; chmod 4755 d/one; chmod 1777 d/sub; chown 12:34 d; chown -h 7:8 dangling
truncate -s 5M hole; printf end >>hole; head -c 70000 /dev/zero >zeros; head -c 300000 /dev/urandom >random; : >empty
touch -d '2001-02-03 04:05:06.789' d/one; touch -h -d 1999-01-01 dangling; touch -d 1970-01-01 fifo; touch -d '1980-01-01' opaque; touch -d 1990-01-01 d .`

const list = `find . -printf '%y %m %U %G %n %s %T@ %l %p\0' | sort -z | tr '\0' '\n' | sed 's/^d \(\S* \S* \S*\) \S* \S* /d \1 /'; find . -type f -print0 | sort -z | xargs -0 sha256sum`

func sh(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func export(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Export(dir, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make devices and change owners")
	}
	from, to := t.TempDir(), t.TempDir()
	sh(t, from, sample)
	if err := unix.Lsetxattr(from+"/opaque", opaqueXattr, []byte("y"), 0); err != nil {
		t.Skipf("needs a file system with trusted attributes: %v", err)
	}
	for _, name := range []string{"user.kept", "trusted.overlay.origin"} {
		if err := unix.Lsetxattr(from+"/d/one", name, []byte("v"), 0); err != nil {
			t.Fatal(err)
		}
	}
	want := sh(t, from, list)
	if err := Restore(to, bytes.NewReader(export(t, from))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, sh(t, to, list)); diff != "" {
		t.Errorf("(-layer +restored):\n%s", diff)
	}
	for path, attrs := range map[string]map[string]string{
		"/opaque": {"SCHILY.xattr." + opaqueXattr: "y"}, "/d/one": {"SCHILY.xattr.user.kept": "v"},
	} {
		got, err := xattrs(to+path, make([]byte, maxXattrs))
		if diff := cmp.Diff(attrs, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", path, err, diff)
		}
	}
	var st syscall.Stat_t
	if err := syscall.Stat(to+"/hole", &st); err != nil || st.Blocks > 64 {
		t.Errorf("the hole takes %d blocks (%v)", st.Blocks, err)
	}
}

// TestHoles: a layer is as large as the data in it.
func TestHoles(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	const size = 1 << 40
	pieces := []holes.Piece{{Offset: 0, Size: 5000}, {Offset: 20_000, Size: 9}, {Offset: size / 2, Size: 300_000}, {Offset: size - 4097, Size: 4097}}
	f, err := os.Create(filepath.Join(from, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, p := range pieces {
		if _, err := f.WriteAt(bytes.Repeat([]byte{byte(i + 1)}, int(p.Size)), p.Offset); err != nil {
			t.Skipf("needs a file system with files of a terabyte: %v", err)
		}
	}
	sh(t, from, "truncate -s 1T only")
	layer := export(t, from)
	if len(layer) > 400_000 {
		t.Errorf("the layer has %d bytes", len(layer))
	}
	if err := Restore(to, bytes.NewReader(layer)); err != nil {
		t.Fatal(err)
	}
	for name, blocks := range map[string]int64{"f": 800, "only": 0} {
		var st syscall.Stat_t
		if err := syscall.Stat(filepath.Join(to, name), &st); err != nil || st.Size != size || st.Blocks > blocks {
			t.Errorf("%s: %d bytes in %d blocks, %v", name, st.Size, st.Blocks, err)
		}
	}
	got, err := os.Open(filepath.Join(to, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	for i, p := range pieces {
		b := make([]byte, p.Size)
		if _, err := got.ReadAt(b, p.Offset); err != nil || !bytes.Equal(b, bytes.Repeat([]byte{byte(i + 1)}, int(p.Size))) {
			t.Errorf("other bytes at %d, %v", p.Offset, err)
		}
	}
}

// hostile is a tar with one bad entry after a link that leads outside.
func hostile(t testing.TB, outside string, h tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{{Typeflag: tar.TypeSymlink, Name: "out", Linkname: outside}, h} {
		h.Uid, h.Gid = os.Getuid(), os.Getgid()
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestNothingOutside(t *testing.T) {
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeReg, Name: "out/f"},
		{Typeflag: tar.TypeReg, Name: "../f"},
		{Typeflag: tar.TypeReg, Name: "/../f"},
		{Typeflag: tar.TypeDir, Name: "out/d/e"},
		{Typeflag: tar.TypeSymlink, Name: "out/l", Linkname: "x"},
		{Typeflag: tar.TypeLink, Name: "l", Linkname: "out/secret"},
		{Typeflag: tar.TypeFifo, Name: "out/p"},
	} {
		dir := t.TempDir()
		outside, inside := filepath.Join(dir, "outside"), filepath.Join(dir, "inside")
		for _, d := range []string{outside, inside} {
			if err := os.Mkdir(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(outside+"/secret", []byte("s"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Restore(inside, bytes.NewReader(hostile(t, outside, h)))
		if names := strings.TrimSpace(sh(t, outside, "ls -A; stat -c %h secret")); names != "secret\n1" {
			t.Errorf("%s: outside there is %q now (%v)", h.Name, names, err)
		}
		if names := strings.TrimSpace(sh(t, dir, "ls -A")); names != "inside\noutside" {
			t.Errorf("%s: beside the layer there is %q now (%v)", h.Name, names, err)
		}
	}
}

func FuzzRestore(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(hostile(f, "/tmp", tar.Header{Typeflag: tar.TypeReg, Name: "out/f"}))
	f.Add(hostile(f, "/tmp", tar.Header{Typeflag: tar.TypeReg, Name: "f", PAXRecords: map[string]string{holes.Record: "9"}}))
	f.Add(hostile(f, "..", tar.Header{Typeflag: tar.TypeLink, Name: "l", Linkname: "out/x"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<20 {
			return
		}
		dir := t.TempDir()
		inside := filepath.Join(dir, "inside")
		if err := os.Mkdir(inside, 0o755); err != nil {
			t.Fatal(err)
		}
		_ = Restore(inside, bytes.NewReader(b))
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("beside the layer there is %v (%v)", entries, err)
		}
	})
}

func TestZeros(t *testing.T) {
	data := bytes.Join([][]byte{[]byte("a"), make([]byte, 3*zeroUnit), []byte("b"), make([]byte, 10), []byte("c"), make([]byte, zeroUnit)}, nil)
	for _, piece := range []int{1, 100, zeroUnit, 2*zeroUnit + 1, len(data)} {
		var out bytes.Buffer
		skipped := int64(0)
		z := &Zeros{W: &out, Skip: func(n int64) error { skipped += n; out.Write(make([]byte, n)); return nil }}
		if _, err := io.CopyBuffer(struct{ io.Writer }{z}, struct{ io.Reader }{bytes.NewReader(data)}, make([]byte, piece)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), data) {
			t.Errorf("in pieces of %d the stream is different", piece)
		}
		if piece == zeroUnit && skipped == 0 {
			t.Error("nothing was taken out")
		}
	}
}
