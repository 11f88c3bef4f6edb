package pyro_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// smallDisk is a state folder on a file system of its own.
type smallDisk struct{ *stateFolder }

// newSmallDisk mounts one of so many MiB, an eighth of which is the reserve that
// pyro does not use for anything new.
func newSmallDisk(t *testing.T, h *harness, mib string) *smallDisk {
	t.Helper()
	s := newStateFolder(t, h)
	dir := filepath.Join(s.dir, "s")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+mib+"m"); err != nil {
		t.Skipf("needs root to mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		s.ok("daemon", "stop", "--force")
		if t.Failed() {
			t.Logf("end of the log of the background process:\n%s", tail(filepath.Join(dir, "daemon.log"), 16<<10))
		}
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	d := &smallDisk{s}
	t.Cleanup(func() { d.free(); s.deleteAll(); s.assertTidy() })
	return d
}

func (d *smallDisk) filler() string { return filepath.Join(d.dir, "s", "filler") }

// fill leaves so many KiB free.
func (d *smallDisk) fill(kib int64) {
	d.Helper()
	f, err := os.OpenFile(d.filler(), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		d.Fatal(err)
	}
	defer f.Close()
	for {
		var st unix.Statfs_t
		if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
			d.Fatal(err)
		}
		over := int64(st.Bavail)*st.Bsize - kib<<10
		if over < st.Bsize {
			return
		}
		info, err := f.Stat()
		if err != nil {
			d.Fatal(err)
		}
		err = unix.Fallocate(int(f.Fd()), 0, info.Size(), over)
		if err != nil && !errors.Is(err, syscall.ENOSPC) { // somebody else was faster
			d.Fatal(err)
		}
	}
}

func (d *smallDisk) free() { os.Remove(d.filler()) }

// refused wants a command to fail for want of room, and to say what to do.
func (d *smallDisk) refused(args ...string) {
	d.Helper()
	a := d.run(nil, append(args, "--json")...)
	if kind, hint := a.kind(); a.code != api.ExitFailure || kind != api.KindStorage || hint == "" {
		d.Errorf("pyro %q on a full disk: %s", args, a)
	}
}

// testFullDisks fills the disk under workspaces.
func testFullDisks(t *testing.T, h *harness) {
	t.Run("reserve", func(t *testing.T) { testReserve(t, h) })
	t.Run("full", func(t *testing.T) { testNoRoomForSaves(t, h) })
	t.Run("last byte", func(t *testing.T) { testNothingFree(t, h) })
}

// testReserve: what is new is refused before it begins; what there is goes on.
func testReserve(t *testing.T, h *harness) {
	d := newSmallDisk(t, h, "64")
	seed := d.folder("f", "0\n")
	id := d.create("--seed-path", seed)
	d.sh(id, "echo 1 >f; echo 1 >/etc/f")
	d.ok("workspace", "snapshot", "create", id, "s1")
	d.fill(7 << 10)
	d.refused("workspace", "create", smallEnvironment)
	d.refused("workspace", "snapshot", "create", id, "s2")
	d.refused("workspace", "sync", "push", id, d.folder("f", "pushed\n"))
	d.assertPair(id, "1 1")
	d.sh(id, "echo 2 >f; echo 2 >/etc/f")
	d.ok("workspace", "reset", id, "--snapshot", "s1") // takes no room to speak of
	d.assertPair(id, "1 1")
	d.assertTidy()
	d.free()
	d.works(id)
}

// works wants everything to work again.
func (d *smallDisk) works(id string) {
	d.Helper()
	d.sh(id, "echo 5 >f; echo 5 >/etc/f")
	d.ok("workspace", "snapshot", "create", id, "after")
	d.ok("workspace", "sync", "push", id, d.folder("f", "6\n"))
	d.assertPair(id, "6 5")
	d.ok("workspace", "stop", id)
	d.assertPair(id, "6 5")
	d.ok("workspace", "reset", id, "--snapshot", "after")
	d.assertPair(id, "5 5")
	d.ok("workspace", "reset", id)
	d.assertPair(id, "0 none")
	if w := d.status(id); w.SaveError != nil {
		d.Errorf("save error: %v", w.SaveError)
	}
	d.assertDense(id)
	d.assertTidy()
}

// testNoRoomForSaves: there is room to begin, but not to end.
func testNoRoomForSaves(t *testing.T, h *harness) {
	d := newSmallDisk(t, h, "192")
	id := d.create("--seed-path", d.folder("f", "0\n"))
	d.sh(id, "head -c 32M /dev/urandom >big; echo 1 >f; echo 1 >/etc/f; sha256sum big >sum")
	d.ok("workspace", "snapshot", "create", id, "s1")
	d.fill(28 << 10) // the reserve is 24 MiB
	d.refused("workspace", "snapshot", "create", id, "s2")
	d.refused("workspace", "stop", id)
	d.sh(id, "echo 2 >f; echo 2 >/etc/f")
	d.refused("workspace", "stop", id)
	if w := d.status(id); w.SaveError == nil || w.SaveError.Kind != api.KindStorage || w.State != api.WorkspaceStarted {
		t.Errorf("status %+v, save error %v", w, w.SaveError)
	}
	large := d.folder("large", strings.Repeat("0123456789abcdef", 2<<20)) // 32 MiB
	d.refused("workspace", "create", smallEnvironment, "--seed-path", large)
	d.refused("workspace", "sync", "push", id, large)
	out := filepath.Join(d.dir, "s", "out")
	d.refused("workspace", "export", id, ".", "--output", out)
	if _, err := os.Lstat(out); err == nil {
		t.Error("a part of an export is there")
	}
	// What does not fit into the command log is not kept; the command goes on.
	if n := strings.TrimSpace(d.sh(id, "head -c 30M /dev/zero | tee /dev/stderr | wc -c")); n != "31457280" {
		t.Errorf("a command with much output wrote %s bytes", n)
	}
	d.free()
	d.assertTidy()
	d.assertPair(id, "2 2")
	d.sh(id, "sha256sum -c sum")
	d.ok("workspace", "stop", id)
	d.assertPair(id, "2 2")
	d.sh(id, "sha256sum -c sum; rm big")
	d.ok("workspace", "snapshot", "delete", id, "s1")
	d.works(id)
}

// testNothingFree: with not one block free every command fails or does its work,
// and the workspaces are as they were afterwards.
func testNothingFree(t *testing.T, h *harness) {
	d := newSmallDisk(t, h, "64")
	seed := d.folder("f", "0\n")
	id, other := d.create("--seed-path", seed), d.create("--seed-path", seed)
	d.sh(id, "echo 1 >f; echo 1 >/etc/f")
	d.ok("workspace", "stop", id)
	d.sh(other, "true")
	for _, restart := range []bool{false, true} {
		if restart {
			d.ok("daemon", "stop")
		}
		d.fill(0)
		for _, args := range [][]string{
			{"create", smallEnvironment},
			{"exec", id, "--", "true"},
			{"exec", other, "--", "true"},
			{"snapshot", "create", id, "s1"},
			{"sync", "push", other, seed},
			{"reset", other},
			{"diff", id},
			{"stop", other},
			{"start", id},
			{"list"},
		} {
			a := d.run(nil, append([]string{"workspace"}, args...)...)
			if a.code != 0 && !(a.code == api.ExitFailure && strings.Contains(a.stderr, "hint: ")) {
				t.Errorf("%q: %s", args, a)
			}
		}
		d.free()
		d.assertPair(id, "1 1")
		d.assertPair(other, "0 none")
		d.assertTidy()
	}
	d.fill(0)
	d.ok("workspace", "delete", other)
	d.free()
	d.works(id)
}
