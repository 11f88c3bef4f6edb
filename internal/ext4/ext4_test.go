package ext4

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func format(t *testing.T, size int64) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Format(f, size); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// sizes are whole and broken numbers of groups, of one block of descriptors and
// of several.
var sizes = []int64{MinSize, 64 << 20, 128 << 20, 128<<20 + 4096, 130 << 20, 200 << 20, 1 << 30, 8<<30 + 12345, 33 << 30}

func TestCheckedByE2fsck(t *testing.T) {
	e2fsck, err := exec.LookPath("e2fsck")
	if err != nil {
		t.Skip("needs e2fsck (package e2fsprogs)")
	}
	for _, size := range sizes {
		path := format(t, size)
		if out, err := exec.CommandContext(t.Context(), e2fsck, "-f", "-n", path).CombinedOutput(); err != nil {
			t.Errorf("%d bytes: %v\n%s", size, err, out)
		}
	}
}

func TestSparse(t *testing.T) {
	for _, size := range sizes {
		var st syscall.Stat_t
		if err := syscall.Stat(format(t, size), &st); err != nil {
			t.Fatal(err)
		}
		if st.Size > size || st.Size < size-8<<20 || st.Blocks*512 > 256<<10 {
			t.Errorf("%d bytes: the file has %d and takes %d", size, st.Size, st.Blocks*512)
		}
	}
}

func TestTooSmall(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int64{-1, 0, MinSize - 1, 1 << 60} {
		if err := Format(f, size); err == nil || !strings.Contains(err.Error(), "cannot be made") {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// TestMounted writes and reads with the kernel's own driver.
func TestMounted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	dir := t.TempDir()
	path := format(t, 300<<20)
	if out, err := exec.CommandContext(t.Context(), "mount", "-o", "loop", path, dir).CombinedOutput(); err != nil {
		t.Skipf("needs loop devices and ext4 in the kernel: %s", out)
	}
	mounted := true
	unmount := func() {
		if mounted {
			if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
				t.Errorf("umount: %s", out)
			}
		}
		mounted = false
	}
	defer unmount()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if total := int64(st.Blocks) * st.Bsize; total < 285<<20 || st.Bfree-st.Bavail > 4096 { // the kernel keeps that many back
		t.Errorf("of 300 MiB %d bytes are usable, %d of %d free blocks for everybody", total, st.Bavail, st.Bfree)
	}
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", "cd "+dir+" && mkdir -p a/b && for i in $(seq 2000); do echo $i >a/b/$i; done && head -c 200000000 /dev/zero >big").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	unmount()
	if e2fsck, err := exec.LookPath("e2fsck"); err == nil {
		if out, err := exec.CommandContext(t.Context(), e2fsck, "-f", "-n", path).CombinedOutput(); err != nil {
			t.Errorf("after use: %v\n%s", err, out)
		}
	}
}
