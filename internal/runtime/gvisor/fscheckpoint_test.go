package gvisor_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/internal/erofs"
	"pyro/internal/runtime"
	"pyro/internal/runtime/gvisor"
	"pyro/internal/runtime/gvisor/fscheckpoint"
	"pyro/internal/runtime/runtimetest"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// checkpointCases makes a file of every kind whose bytes are easily lost on the
// way through a checkpoint, and prints the sums of the regular files.
const checkpointCases = `set -e
mkdir -p /workspace/many "/workspace/odd dir"; cd /workspace
head -c 67108864 /dev/urandom >big
head -c 5000 /dev/urandom >hole; dd if=/dev/urandom of=hole bs=1000 count=3 seek=2000 2>/dev/null; truncate -s 50M hole
truncate -s 40M all-hole; : >empty; printf x >one; head -c 4096 /dev/urandom >page; head -c 4097 /dev/urandom >page-and-one
head -c 20000 /dev/urandom >cut; truncate -s 5000 cut; truncate -s 9000 cut
head -c 300000 /dev/zero >zeros; head -c 8192 /dev/urandom >front; dd if=/dev/zero of=front bs=4096 count=1 conv=notrunc 2>/dev/null
i=0; while [ $i -lt 2000 ]; do echo "file $i" >many/$i; i=$((i+1)); done
for i in 3 33 333; do rm many/$i; done; for i in 5 55 555; do head -c $((i*99)) /dev/urandom >many/$i; done
echo in place >>many/7; ln big many/hard; ln many/7 "odd dir/hard"; ln -s ../one many/soft; ln -s /nowhere dangling; ln dangling many/dangling-too
mkfifo fifo; mknod null c 1 3; printf x >"odd dir/new
line"; printf x >"$(printf 'bad\377utf8')"; printf x >-dash; n=$(printf %0250d 1); mkdir "$n"; printf long >"$n/$n"
chmod 4755 one; chmod 0 page; chown 1234:99 many; chown -h 7:8 dangling; touch -d '2001-02-03 04:05:06' page; touch -d '1969-01-01' cut
rm /etc/debian_version /etc/issue; rm -r /etc/apt; mkdir /etc/apt; echo new >/etc/apt/file; echo more >>/etc/passwd
rm -r /usr/share/doc; echo "a file now" >/usr/share/doc; rm /etc/profile; mkdir /etc/profile
mv /usr/share/perl5 /usr/share/moved 2>/dev/null || cp -a /etc/skel /usr/share/moved
find /workspace /etc /usr/share/moved /usr/share/doc -xdev -type f -print0 | xargs -0 sha256sum -z`

// TestReadCheckpoint: what a checkpoint of a real sandbox says on the host is
// what the sandbox itself says: its export of the layer, and its sums of files.
func TestReadCheckpoint(t *testing.T) {
	m := checkpointMachine(t, "")
	sums := runInGuest(t, m, checkpointCases)
	c := saveAndOpen(t, m)
	if d := cmp.Diff([]string{"/"}, c.Mounts()); d != "" || c.Version() == "" {
		t.Errorf("version %q, mounts %s", c.Version(), d)
	}
	ours := layerOf(t, func(w io.Writer) error { return c.WriteLayer(t.Context(), "/", w) })
	gvisors := layerOf(t, func(w io.Writer) error { return m.(runtime.LayerExporter).ExportLayer(t.Context(), w) })
	if d := cmp.Diff(gvisors, ours); d != "" {
		t.Errorf("the layer (-as the sandbox exports it +as the checkpoint has it):\n%s", d)
	}
	if len(ours) < 2000 {
		t.Errorf("the layer has %d entries", len(ours))
	}
	inLayer := sumsOf(t, c, "/", treetest.New(t))
	for path, sum := range parseSums(sums) {
		if got, ok := inLayer[path]; ok && got != sum { // the others are of the image
			t.Errorf("%q has the sum %s, in the sandbox %s", path, got, sum)
		}
		delete(inLayer, path)
	}
	if len(inLayer) > 0 {
		t.Errorf("the layer has files that the sandbox does not: %v", inLayer)
	}
}

// workspaceCases changes what the image of /workspace holds.
const workspaceCases = `set -e; cd /workspace; rm gone "$(printf 'bad\377utf8')"; echo more >>keep; mv dir moved; mkdir dir; echo new >dir/new
ln moved/sub/deep hard; rm -r replaced; echo file >replaced; dd if=/dev/urandom of=large bs=1000 count=1 seek=1500 conv=notrunc 2>/dev/null
truncate -s 70000 short; echo t >/etc/changed; find . -type f -print0 | sed -z 's/^.//' | xargs -0 -I {} sh -c 'sha256sum -z ".$1"' - {} | sed -z 's/  \./  /'`

// TestReadCheckpointOfWorkspace: a /workspace on an image of its own has a layer
// of its own, which makes of that image what the sandbox has.
func TestReadCheckpointOfWorkspace(t *testing.T) {
	image := treetest.New(t)
	for _, name := range []string{"/keep", "/gone", "/bad\377utf8", "/dir/sub/deep", "/dir/other", "/replaced/x"} {
		if err := image.PutFile(name, 0o644, time.Unix(1e9, 0), []byte("image: "+name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"/large", "/short"} {
		if err := image.PutFile(name, 0o644, time.Unix(1e9, 0), bytes.Repeat([]byte("image "), 1e6)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "workspace.erofs")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := erofs.Write(f, image, erofs.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	m := checkpointMachine(t, path)
	sums := runInGuest(t, m, workspaceCases)
	c := saveAndOpen(t, m)
	if d := cmp.Diff([]string{"/", "/workspace"}, c.Mounts()); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff(parseSums(sums), sumsOf(t, c, "/workspace", image)); d != "" {
		t.Errorf("files of /workspace (-in the sandbox +on the host):\n%s", d)
	}
	root := sumsOf(t, c, "/", treetest.New(t))
	if _, ok := root["/etc/changed"]; !ok || len(root) > 100 {
		t.Errorf("the root's layer holds %v", root)
	}
}

func runInGuest(t *testing.T, m runtime.Machine, script string) (stdout string) {
	t.Helper()
	var out, stderr bytes.Buffer
	p, err := m.Start(t.Context(), runtime.Command{Argv: []string{"sh", "-c", script}, Stdout: &out, Stderr: &stderr})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(); err != nil || exit.Code != 0 {
		t.Fatalf("%+v, %v\n%s", exit, err, &stderr)
	}
	return out.String()
}

func saveAndOpen(t *testing.T, m runtime.Machine) *fscheckpoint.Checkpoint {
	t.Helper()
	dir := t.TempDir()
	if err := m.(runtime.DiskSaver).SaveDisk(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	c, err := fscheckpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// parseSums reads what sha256sum -z prints, by path.
func parseSums(out string) map[string]string {
	sums := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		sum, path, _ := strings.Cut(line, "  ")
		sums[path] = sum
	}
	return sums
}

// sumsOf lays the mount's layer over tr and returns the sums of all files.
func sumsOf(t *testing.T, c *fscheckpoint.Checkpoint, mount string, tr *tree.Tree) map[string]string {
	t.Helper()
	if err := c.Apply(t.Context(), mount, tr, tree.Limits{}); err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	err := tr.Walk(func(path string, n *tree.Node) error {
		if n.Type == tree.Regular {
			sums[path] = sumOf(t, tr.Open(n))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

func sumOf(t *testing.T, r io.Reader) string {
	t.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Error(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func checkpointMachine(t *testing.T, workspace string) runtime.Machine {
	t.Helper()
	bin := runtimetest.Program(t)
	spec := runtime.Spec{ID: "test-checkpoint", Image: runtimetest.Installed(t, "debian:12-base"), Workspace: workspace, VCPUs: 2, MemoryBytes: 512 << 20, DiskBytes: 1 << 30, PIDs: 64}
	d, err := gvisor.New(gvisor.Options{Dir: t.TempDir(), Executable: bin})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	m, err := d.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Close()
		if err := d.Remove(context.Background(), spec.ID); err != nil {
			t.Error(err)
		}
	})
	return m
}

// layerEntry is an entry of a layer without what depends on the order of the
// tar: which of several names of a file comes first.
type layerEntry struct {
	Type       byte
	Mode       int64
	UID, GID   int
	Seconds    int64
	Target     string
	Device     string
	Records    map[string]string
	Size       int64
	Sum        string
	OtherNames []string
}

// layerOf reads what write writes.
func layerOf(t *testing.T, write func(io.Writer) error) map[string]layerEntry {
	t.Helper()
	r, w := io.Pipe()
	go func() { w.CloseWithError(write(w)) }()
	all, first, names := map[string]layerEntry{}, map[string]string{}, map[string][]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			io.Copy(io.Discard, r)
			break
		}
		if err != nil {
			t.Fatalf("after %d entries: %v", len(all), err)
		}
		if h.Typeflag == tar.TypeLink {
			first[h.Name] = h.Linkname
			names[h.Linkname] = append(names[h.Linkname], h.Name)
			all[h.Name] = all[h.Linkname]
			continue
		}
		first[h.Name] = h.Name
		names[h.Name] = []string{h.Name}
		all[h.Name] = layerEntry{
			Type: h.Typeflag, Mode: h.Mode, UID: h.Uid, GID: h.Gid, Seconds: h.ModTime.Unix(), Target: h.Linkname,
			Device: fmt.Sprint(h.Devmajor, ":", h.Devminor), Records: xattrs(h), Size: h.Size, Sum: sumOf(t, tr),
		}
	}
	for name, e := range all {
		e.OtherNames = slices.Clone(names[first[name]])
		slices.Sort(e.OtherNames)
		all[name] = e
	}
	return all
}

// xattrs are the records that are more than another way to write the header.
func xattrs(h *tar.Header) map[string]string {
	x := map[string]string{}
	for k, v := range h.PAXRecords {
		if strings.HasPrefix(k, "SCHILY.xattr.") {
			x[k] = v
		}
	}
	return x
}
