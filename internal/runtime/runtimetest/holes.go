package runtimetest

import (
	"bytes"
	"strings"
	"testing"

	"pyro/internal/runtime"
	"pyro/internal/tree/treetest"
)

// Where a file of a terabyte has data.
const (
	holesSize   = 1 << 40
	holesInside = 600_000_000_001
)

// makeHoles writes that file, and one that is nothing but a hole.
const makeHoles = `set -e; cd /workspace; truncate -s 1T nothing holes; printf before | dd of=holes conv=notrunc status=none
printf inside | dd of=holes bs=1 seek=600000000001 conv=notrunc status=none; printf after | dd of=holes bs=1 seek=1099511627771 conv=notrunc status=none`

// showHoles prints what they have.
const showHoles = `cd /workspace; stat -c '%n %s' nothing holes; head -c 8 holes | od -An -c; for at in 600000000000 1099511627769; do
dd if=holes bs=1 skip=$at count=8 status=none | od -An -c; done`

// testHoles: a file is saved, read on the host and restored at the cost of what was
// written into it, however far apart that is.
func testHoles(t *testing.T, w *world) {
	reader, ok := w.driver.(runtime.DiskReader)
	if !ok || !w.driver.Features().Isolated {
		t.Skipf("%s has no disks that can be read on the host", w.driver.Name())
	}
	spec := w.spec()
	spec.Workspace = workspaceImage(t)
	m := w.create(t, spec)
	if got := sh(t, m, makeHoles); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	want := sh(t, m, showHoles).stdout
	if !strings.Contains(want, "holes 1099511627776\n") {
		t.Fatalf("this is no file with holes: %s", want)
	}
	dir := save(t, m)
	checkHoles(t, reader, dir)
	again := w.spec()
	again.Workspace, again.Disk = spec.Workspace, dir
	m = w.create(t, again)
	if got := sh(t, m, showHoles).stdout; got != want {
		t.Errorf("restored it is\n%s, was\n%s", got, want)
	}
	if usage, err := m.Usage(t.Context()); err != nil || usage.DiskBytes > diskBytes/4 {
		t.Errorf("restored it takes %d bytes, %v", usage.DiskBytes, err)
	}
}

// checkHoles reads the file on the host.
func checkHoles(t *testing.T, reader runtime.DiskReader, dir string) {
	t.Helper()
	disk, err := reader.OpenDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	tr := treetest.New(t)
	if err := disk.Apply(t.Context(), runtime.WorkspaceMount, tr); err != nil {
		t.Fatal(err)
	}
	n, err := tr.Lookup("/holes")
	if err != nil || n.Size != holesSize {
		t.Fatalf("on the host: %+v, %v", n, err)
	}
	for at, data := range map[int64]string{0: "before\x00", holesInside - 1: "\x00inside\x00", holesSize - 6: "\x00after"} {
		b := make([]byte, len(data))
		if _, err := tr.Open(n).ReadAt(b, at); err != nil || !bytes.Equal(b, []byte(data)) {
			t.Errorf("on the host there is %q at %d, %v", b, at, err)
		}
	}
	pieces := 0
	for off := int64(0); off < n.Size; pieces++ {
		_, off = n.NextData(off)
	}
	if pieces < 3 || pieces > 100 {
		t.Errorf("on the host the file has %d pieces", pieces)
	}
}
