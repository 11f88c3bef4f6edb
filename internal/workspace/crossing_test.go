package workspace

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/runtime"
	"pyro/internal/store"
)

// diff is the patch between two states.
func (w *world) diff(id, from, to string) string {
	w.t.Helper()
	d, err := w.Diff(w.t.Context(), api.DiffRequest{WorkspaceID: id, From: from, To: to})
	if err != nil {
		w.t.Fatal(err)
	}
	return d.Patch
}

// wantMode wants the workspace, and its commands, to be on the driver.
func (w *world) wantMode(id string, driver *fakeDriver) {
	w.t.Helper()
	if got := w.status(id).ExecutionMode; got != driver.mode {
		w.t.Errorf("the status names %s, want %s", got, driver.mode)
	}
	if res, _, err := w.tryExec(id, "exit", "0"); err != nil || res.ExecutionMode != driver.mode {
		w.t.Errorf("a command names %s (%v), want %s", res.ExecutionMode, err, driver.mode)
	}
}

// TestMixedSnapshots: a workspace that goes from one runtime to the other and back
// keeps its id, baseline and snapshots, whoever wrote them, and can do with each
// of them what it could do with its own.
func TestMixedSnapshots(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create("a", "seed\n", "gone", "seed\n")
		w.exec(id, "write", "a", "first\n")
		w.exec(id, "rm", "gone")
		w.exec(id, "write", "/etc/f", "first\n")
		w.snapshot(id, "first")
		patch := w.patch(id)

		w.move(id, "first", w.other)
		w.wantMode(id, w.other)
		w.assertFile(id, "a", "first\n")
		w.assertFile(id, "gone", "")
		w.assertFile(id, "/etc/f", "first\n")
		if got := w.patch(id); got != patch {
			t.Errorf("after the move the diff is\n%s\nwant\n%s", got, patch)
		}
		w.exec(id, "write", "a", "second\n")
		w.exec(id, "write", "/etc/f", "second\n")
		w.snapshot(id, "second")
		between := w.diff(id, "first", "second")
		if !strings.Contains(between, "-first\n+second\n") || strings.Contains(between, "gone") {
			t.Errorf("from the one to the other:\n%s", between)
		}

		for _, driver := range []*fakeDriver{w.driver, w.other} {
			for _, name := range []string{"first", "second"} {
				w.move(id, name, driver)
				w.wantMode(id, driver)
				w.assertFile(id, "a", name+"\n")
				w.assertFile(id, "/etc/f", name+"\n")
				w.assertFile(id, "gone", "")
				if got := w.diff(id, name, ""); got != "" {
					t.Errorf("right after the reset to it on %s, %s differs from the present:\n%s", driver.name, name, got)
				}
				if got := w.diff(id, "first", "second"); got != between {
					t.Errorf("on %s, from the one to the other:\n%s", driver.name, got)
				}
			}
		}
		w.move(id, api.Baseline, w.driver)
		w.assertFile(id, "a", "seed\n")
		w.assertFile(id, "/etc/f", "")
		if got := w.patch(id); got != "" {
			t.Errorf("diff at the baseline:\n%s", got)
		}

		// What the other one wrote can be deleted, and the rest goes on.
		if _, err := w.DeleteSnapshot(t.Context(), api.SnapshotRequest{WorkspaceID: id, SnapshotName: "second"}); err != nil {
			t.Fatal(err)
		}
		w.reset(id, "first")
		w.wantMode(id, w.driver)
		w.assertFile(id, "a", "first\n")
		settle()
		w.assertTidy()
	})
}

// TestMovedStays: without a runtime, or with auto, a reset keeps the one that there
// is; so do a stop, the loss of the sandbox and that of the background process.
func TestMovedStays(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create("a", "seed\n")
		w.exec(id, "write", "a", "1\n")
		w.snapshot(id, "s")
		w.move(id, "s", w.other)
		w.machine(id).die(errGone) // before anything else was saved
		w.assertFile(id, "a", "1\n")
		w.wantMode(id, w.other)
		w.exec(id, "write", "a", "2\n")
		settle()
		w.machine(id).die(errGone)
		w.assertFile(id, "a", "2\n")
		w.wantMode(id, w.other)
		w = w.crash()
		w.wantMode(id, w.other)
		w.assertFile(id, "a", "2\n")
		if _, err := w.Stop(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w = w.crash()
		w.wantMode(id, w.other)
		w.assertFile(id, "a", "2\n")
		for _, want := range []api.Runtime{"", api.RuntimeAuto} {
			if _, err := w.Reset(t.Context(), api.ResetRequest{WorkspaceID: id, Snapshot: "s", Runtime: want}); err != nil {
				t.Fatal(err)
			}
			w.wantMode(id, w.other)
		}
		w.delete(id)
		w.assertTidy()
	})
}

// TestMoveRefused: what cannot work is refused before anything has changed.
func TestMoveRefused(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(w *world, id string)
		kind    api.Kind
	}{
		"no such runtime": {func(w *world, _ string) { w.drivers.Isolated = w.drivers.Isolated[:1] }, api.KindUnsupported},
		"its program is missing": {func(w *world, _ string) {
			w.drivers.Isolated[1] = lacking{w.other}
		}, api.KindUnavailable},
		"no network": {func(w *world, id string) {
			in := w.mustLookup(id)
			if err := in.update(func(r *store.Workspace) { r.Network, r.NetworkPolicy = true, `{"base":"egress"}` }, func(store.Workspace) error { return nil }); err != nil {
				w.t.Fatal(err)
			}
		}, api.KindUnsupported},
		"no room":    {func(w *world, _ string) { w.budget = 1; w.measure(w.all()[0]) }, api.KindStorage},
		"its disk":   {func(w *world, id string) { damage(w.t, filepath.Join(w.snapshotDir(id, "s"), savedFile)) }, api.KindVerification},
		"no machine": {func(w *world, _ string) { w.failAt("boot") }, api.KindStorage},
		"long files": {func(w *world, id string) {
			in := w.mustLookup(id)
			if err := in.update(func(r *store.Workspace) { r.DiskMiB = 0 }, func(store.Workspace) error { return nil }); err != nil {
				w.t.Fatal(err)
			}
		}, api.KindDiskLimit},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				id := w.create("a", "seed\n")
				w.exec(id, "write", "a", "1\n")
				w.snapshot(id, "s")
				w.exec(id, "write", "a", "2\n")
				settle()
				before, machine := w.status(id), w.machine(id)
				c.prepare(w, id)
				_, err := w.tryMove(id, "s", w.other)
				wantHint(t, err, c.kind)
				if hint := api.AsError(err).Hint; c.kind == api.KindDiskLimit && !strings.Contains(hint, "find / /workspace -xdev") {
					t.Errorf("it looks on one of the two file systems: %s", hint)
				}
				w.at(undisturbed)
				after := w.status(id)
				if after.ExecutionMode != before.ExecutionMode || after.ResetCount != 0 || after.SnapshotCount != 1 || w.machine(id) != machine {
					t.Errorf("it was changed: %+v", after)
				}
				w.assertFile(id, "a", "2\n")
				w.assertTidy()
			})
		})
	}
}

// lacking is a driver whose program is not installed. It makes nothing.
type lacking struct{ runtime.Driver }

func (lacking) Require() error {
	return api.Errorf(api.KindUnavailable, "it is not installed").WithHint("install it")
}

func (l lacking) Create(context.Context, runtime.Spec) (runtime.Machine, error) {
	panic("a machine is made of what is not there")
}

func (w *world) snapshotDir(id, name string) string {
	w.t.Helper()
	in := w.mustLookup(id)
	s, err := in.find(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return in.diskDir(s.Disk)
}

// TestSnapshotOfForeignRuntime: a disk of a runtime that this version does not have
// is in nobody's way but its own.
func TestSnapshotOfForeignRuntime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create("a", "seed\n")
		w.exec(id, "write", "a", "1\n")
		w.snapshot(id, "own")
		w.move(id, "own", w.other)
		w.snapshot(id, "foreign")
		w.move(id, "own", w.driver)
		w.drivers.Isolated = w.drivers.Isolated[:1]
		_, err := w.Reset(t.Context(), api.ResetRequest{WorkspaceID: id, Snapshot: "foreign"})
		wantHint(t, err, api.KindUnsupported)
		_, err = w.Diff(t.Context(), api.DiffRequest{WorkspaceID: id, From: "foreign"})
		wantHint(t, err, api.KindUnsupported)
		w.assertFile(id, "a", "1\n")
		if _, err := w.DeleteSnapshot(t.Context(), api.SnapshotRequest{WorkspaceID: id, SnapshotName: "foreign"}); err != nil {
			t.Fatal(err)
		}
		w.reset(id, "own")
		w.assertFile(id, "a", "1\n")
		settle()
		w.assertTidy()
	})
}

// TestStrangerOfTheOtherRuntime: a machine of a move that was cut off may have the
// name of the one that the record means.
func TestStrangerOfTheOtherRuntime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create("a", "seed\n")
		w.kill()
		stray := w.host.get(id + "-0001")
		w.host.mu.Lock()
		w.host.machines[stray.ID()] = &fakeMachine{spec: stray.spec, driver: w.other.name, done: make(chan struct{})}
		w.host.mu.Unlock()
		stray.die(errGone)
		w = openWorld(t, w.dir, w.host)
		w.recover()
		w.assertTidy()
		w.assertFile(id, "a", "seed\n")
		w.wantMode(id, w.driver)
	})
}

// TestOwnKernelWaits: a kernel of the user's own is kept while the workspace is on
// a runtime that boots none.
func TestOwnKernelWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.driver.kernel = true
		req := request()
		req.Kernel = "/boot/own"
		made, err := w.Create(t.Context(), req, func(api.Progress) {})
		if err != nil {
			t.Fatal(err)
		}
		id := made.WorkspaceID
		w.move(id, api.Baseline, w.other)
		if got := w.machine(id).spec.Kernel; got != "" {
			t.Errorf("a runtime without kernels was given %s", got)
		}
		w.move(id, api.Baseline, w.driver)
		if got := w.machine(id).spec.Kernel; got != req.Kernel {
			t.Errorf("the kernel is %q, want %q", got, req.Kernel)
		}
	})
}

var _ runtime.Requirer = lacking{}

// TestBaseOfMoved: the image that a moved workspace runs on stays, whatever becomes
// of a disk that was saved since.
func TestBaseOfMoved(t *testing.T) {
	for name, lose := range map[string]func(w *world, id string){
		"its snapshot is deleted": func(w *world, id string) {
			w.snapshot(id, "later")
			if _, err := w.DeleteSnapshot(w.t.Context(), api.SnapshotRequest{WorkspaceID: id, SnapshotName: "later"}); err != nil {
				w.t.Fatal(err)
			}
		},
		"its snapshot is not recorded": func(w *world, id string) {
			accept := w.refuse("INSERT ON snapshots")
			defer accept()
			if _, err := w.CreateSnapshot(w.t.Context(), api.SnapshotRequest{WorkspaceID: id, SnapshotName: "later"}); err == nil {
				w.t.Error("it was recorded")
			}
		},
		"a save is not recorded": func(w *world, id string) {
			accept := w.refuse("UPDATE ON workspaces")
			defer accept()
			w.machine(id).work()
			settle()
			if w.status(id).SaveError == nil {
				w.t.Error("it was recorded")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				id := w.create("a", "seed\n")
				w.exec(id, "write", "a", "1\n")
				w.snapshot(id, "s")
				w.move(id, "s", w.other)
				settle()
				lose(w, id)
				if got := w.diff(id, "s", ""); got != "" {
					t.Errorf("the diff is\n%s", got)
				}
				w.exec(id, "write", "a", "2\n")
				if _, err := w.Stop(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				w.assertFile(id, "a", "2\n")
				w.assertTidy()
			})
		})
	}
}

// TestDamagedBase: the image that a moved workspace runs on is not read again with
// every save, which would give damage a hash that fits.
func TestDamagedBase(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create("a", "seed\n")
		w.exec(id, "write", "a", "1\n")
		w.snapshot(id, "s")
		w.move(id, "s", w.other)
		in := w.mustLookup(id)
		damage(t, filepath.Join(in.diskDir(in.record().Disk), ownBase))
		w.exec(id, "write", "/etc/f", "2\n")
		settle()
		if s := w.status(id); s.SaveError != nil {
			t.Error(s.SaveError)
		}
		w.machine(id).die(errGone)
		_, _, err := w.tryExec(id, "read", "a")
		wantHint(t, err, api.KindVerification)
		w.reset(id, "s")
		w.assertFile(id, "a", "1\n")
		settle()
		w.assertTidy()
	})
}

// TestSizeOfMoved: the image that the saved disks of a moved workspace share is
// counted once, and so is the room for its way back.
func TestSizeOfMoved(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		const large = 1 << 20
		id := w.create("a", strings.Repeat("x", large))
		w.exec(id, "write", "b", "1\n")
		w.snapshot(id, "s")
		w.move(id, "s", w.other)
		for _, name := range []string{"one", "two", "three"} {
			w.snapshot(id, name)
		}
		settle()
		used := w.status(id).DiskBytes
		if used > 3*large {
			t.Errorf("an image and a seed of %d bytes take %d bytes on the disk", large, used)
		}
		w.budget = used + 2*large
		w.move(id, "three", w.driver)
		w.assertFile(id, "b", "1\n")
		settle()
		w.assertTidy()
	})
}

// TestZerosOfMoved: a hole, which is zeros once it has crossed, takes no room then
// either.
func TestZerosOfMoved(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		const large = 8 << 20
		zeros := strings.Repeat("\x00", large) + "end"
		id := w.create()
		if err := w.machine(id).write(layer{api.WorkspacePath + "/a": &zeros}); err != nil {
			t.Fatal(err)
		}
		w.snapshot(id, "s")
		w.move(id, "s", w.other)
		in := w.mustLookup(id)
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(in.diskDir(in.record().Disk), ownBase), &st); err != nil || st.Size < large || st.Blocks*512 > large/4 {
			t.Errorf("the image has %d bytes and takes %d, %v", st.Size, st.Blocks*512, err)
		}
		if got, _ := w.machine(id).read(api.WorkspacePath + "/a"); got != zeros {
			t.Errorf("it has %d other bytes", len(got))
		}
	})
}

// TestMoveCanceled: who does not want to wait for /workspace to be written does not
// have to.
func TestMoveCanceled(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create("a", "seed\n")
		w.exec(id, "write", "a", "1\n")
		w.snapshot(id, "s")
		ctx, cancel := context.WithCancel(t.Context())
		w.at(func(step string) error {
			if step == "adapt" {
				cancel()
			}
			return nil
		})
		_, err := w.Reset(ctx, api.ResetRequest{WorkspaceID: id, Snapshot: "s", Runtime: api.Runtime(w.other.name)})
		wantKind(t, err, api.KindCanceled)
		w.at(undisturbed)
		w.wantMode(id, w.driver)
		settle()
		w.assertTidy()
	})
}

// TestDeletedAsItMoves: a deletion does not wait for /workspace to be written, nor
// for the machine after that.
func TestDeletedAsItMoves(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create("a", "seed\n")
		w.exec(id, "write", "a", "1\n")
		w.snapshot(id, "s")
		deleted := make(chan error)
		w.at(func(step string) error {
			if step == "adapt" {
				go func() {
					_, err := w.Delete(context.Background(), id)
					deleted <- err
				}()
				time.Sleep(time.Second)
			}
			return nil
		})
		w.driver.setFault(func(op, _ string) error {
			if op == "create" {
				t.Error("a machine is made of what is being deleted")
			}
			return nil
		})
		_, err := w.tryMove(id, "s", w.other)
		wantKind(t, err, api.KindNotFound, api.KindCanceled)
		if err := <-deleted; err != nil {
			t.Error(err)
		}
		w.assertTidy()
	})
}

// TestTooLongToStart: what a new version cannot convert can be taken out.
func TestTooLongToStart(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create("a", "seed\n")
		w.exec(id, "write", "a", "1\n")
		if _, err := w.Stop(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.driver.version = "next"
		in := w.mustLookup(id)
		if err := in.update(func(r *store.Workspace) { r.DiskMiB = 0 }, func(store.Workspace) error { return nil }); err != nil {
			t.Fatal(err)
		}
		_, err := w.Start(t.Context(), id)
		wantKind(t, err, api.KindDiskLimit)
		if hint := api.AsError(err).Hint; !strings.Contains(hint, "workspace export "+id) {
			t.Errorf("nothing can be done about it by: %s", hint)
		}
		out := filepath.Join(t.TempDir(), "out")
		if _, err := w.Export(t.Context(), api.ExportRequest{WorkspaceID: id, Path: "a", OutputPath: out}); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(out); err != nil || string(b) != "1\n" {
			t.Errorf("%q, %v", b, err)
		}
		w.reset(id, api.Baseline)
		w.assertFile(id, "a", "seed\n")
		w.assertTidy()
	})
}
