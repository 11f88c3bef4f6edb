package spool

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of n bytes.
func smallDisk(t *testing.T, n string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+n); err != nil {
		t.Skipf("needs root, to mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFullDisk: what comes while the disk is full is kept in memory as far as
// that goes, and the file is used again when there is room.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, "256k")
	s := New(filepath.Join(dir, "out"), 1<<20)
	defer s.Remove()
	all := pattern(2 << 20)
	end := 0
	write := func(n int) {
		_, _ = s.Write(all[end : end+n])
		end += n
	}
	write(300 << 10) // 44 KiB more than there is room for: nothing is lost yet
	check(t, s, all[:end], 300<<10)
	write(100 << 10)
	check(t, s, all[:end], tailBytes)
	if cap(s.tail) > 2*tailBytes {
		t.Errorf("%d bytes of memory", cap(s.tail))
	}
	write(3)
	check(t, s, all[:end], tailBytes)

	// A file of 1 MiB cannot grow, but from now on it may.
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	write(100 << 10)
	check(t, s, all[:end], tailBytes+100<<10)
	if s.tail != nil {
		t.Errorf("%d bytes stay in memory", len(s.tail))
	}
	write(1 << 20)
	check(t, s, all[:end], 1<<20)
}

// TestFullFromTheBeginning: the file cannot even be made.
func TestFullFromTheBeginning(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	s := New(filepath.Join(dir, "out"), 1<<20)
	defer s.Remove()
	all := pattern(500_000)
	_, _ = s.Write(all[:300_000])
	check(t, s, all[:300_000], tailBytes)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	_, _ = s.Write(all[300_000:])
	check(t, s, all, tailBytes+200_000)
}
