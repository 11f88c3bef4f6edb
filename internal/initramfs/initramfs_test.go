package initramfs_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"pyro/internal/initramfs"
)

// TestReadByCpio has the reference implementation read what was written.
func TestReadByCpio(t *testing.T) {
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("needs cpio")
	}
	var a initramfs.Archive
	a.Dir("dir")
	a.File("dir/odd", 0o755, []byte("odd"))
	a.File("dir/empty", 0o644, nil)
	a.CharDevice("console", 5, 1)
	cmd := exec.CommandContext(t.Context(), cpio, "-itv", "--quiet", "--numeric-uid-gid")
	cmd.Stdin = bytes.NewReader(a.Bytes())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"drwxr-xr-x", "-rwxr-xr-x", "3 Jan", "dir/odd", "-rw-r--r--", "dir/empty", "crw-------", "5,   1"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

// TestOneAfterTheOther: an archive ends on a boundary at which another may begin.
func TestOneAfterTheOther(t *testing.T) {
	var a initramfs.Archive
	a.File("x", 0o644, []byte("12345"))
	if n := len(a.Bytes()); n%4 != 0 {
		t.Errorf("the archive has %d bytes", n)
	}
}
