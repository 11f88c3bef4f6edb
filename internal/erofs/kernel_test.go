package erofs

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// TestKernelMount mounts our images with Linux's own driver and compares what a
// walk sees with the tree.
func TestKernelMount(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skipf("needs root, to mount")
	}
	if _, err := exec.LookPath("mount"); err != nil {
		t.Skipf("needs mount from util-linux")
	}
	if b, _ := os.ReadFile("/proc/filesystems"); !strings.Contains(string(b), "\terofs\n") {
		t.Skipf("needs a kernel with the erofs file system loaded")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skipf("needs loop devices: %v", err)
	}
	eachTree(t, func(t *testing.T, tr *tree.Tree) {
		dir := t.TempDir()
		if out, err := exec.Command("mount", "-t", "erofs", "-o", "loop,ro", imageFile(t, tr), dir).CombinedOutput(); err != nil {
			t.Fatalf("mount: %v\n%s", err, out)
		}
		t.Cleanup(func() {
			if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
				t.Errorf("umount: %v\n%s", err, out)
			}
		})
		if d := cmp.Diff(treetest.Entries(t, tr), hostEntries(t, dir)); d != "" {
			t.Error("the kernel sees something else:\n", d)
		}
		for path, want := range linkCounts(tr) {
			var st syscall.Stat_t
			if err := syscall.Lstat(filepath.Join(dir, path), &st); err != nil {
				t.Error(err)
			} else if int(st.Nlink) != int(want) { // the type of Nlink depends on the architecture
				t.Errorf("%q has %d links, want %d", path, st.Nlink, want)
			}
		}
	})
}

var hostTypes = map[uint32]tree.Type{
	syscall.S_IFREG: tree.Regular, syscall.S_IFDIR: tree.Dir, syscall.S_IFLNK: tree.Symlink,
	syscall.S_IFCHR: tree.CharDevice, syscall.S_IFBLK: tree.BlockDevice, syscall.S_IFIFO: tree.Fifo,
}

// hostEntries walks a folder of the host as treetest.Entries walks a tree.
func hostEntries(t *testing.T, dir string) map[string]treetest.Entry {
	all := map[string]treetest.Entry{}
	first := map[uint64]string{}
	err := filepath.WalkDir(dir, func(host string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path := "/" + strings.TrimPrefix(strings.TrimPrefix(host, dir), "/")
		var st syscall.Stat_t
		if err := syscall.Lstat(host, &st); err != nil {
			return fmt.Errorf("%s: %w", host, err)
		}
		typ, ok := hostTypes[st.Mode&syscall.S_IFMT]
		if !ok {
			return fmt.Errorf("%s has mode %#o", host, st.Mode)
		}
		e := treetest.Entry{
			Type: typ.String(), Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
			Seconds: time.Unix(st.Mtim.Unix()).Unix(), Nanos: int(st.Mtim.Nsec), LinkOf: first[st.Ino],
		}
		if first[st.Ino] == "" {
			first[st.Ino] = path
		}
		switch typ {
		case tree.Regular:
			b, err := os.ReadFile(host)
			if err != nil {
				return err
			}
			e.Data = string(b)
		case tree.Symlink:
			if e.Target, err = os.Readlink(host); err != nil {
				return err
			}
		case tree.CharDevice, tree.BlockDevice:
			e.Major = uint32(st.Rdev>>8&0xfff | st.Rdev>>32&^0xfff)
			e.Minor = uint32(st.Rdev&0xff | st.Rdev>>12&^0xff)
		}
		all[path] = e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// linkCounts returns the st_nlink of every path: of a folder, 2 and one for each
// folder in it.
func linkCounts(tr *tree.Tree) map[string]uint64 {
	names := map[*tree.Node]uint64{}
	tr.Walk(func(_ string, n *tree.Node) error {
		names[n]++
		return nil
	})
	all := map[string]uint64{}
	tr.Walk(func(path string, n *tree.Node) error {
		all[path] = names[n]
		if n.Type == tree.Dir {
			all[path] = 2
			for _, c := range n.Children() {
				if c.Type == tree.Dir {
					all[path]++
				}
			}
		}
		return nil
	})
	return all
}
