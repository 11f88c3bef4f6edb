package workspace

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"pyro/api"
	"pyro/internal/store"
)

// TestRecoveryTable is the table of Recover, row by row: a record, what there is
// of a machine, and what becomes of both.
func TestRecoveryTable(t *testing.T) {
	type result struct {
		exists  bool
		state   api.WorkspaceState
		machine bool // the very machine of before is adopted
		lost    bool // the status tells
		file    bool // the unsaved file is still there
	}
	gone := result{}
	adopted := result{exists: true, state: api.WorkspaceStarted, machine: true, file: true}
	stopped := result{exists: true, state: api.WorkspaceStopped}
	lost := result{exists: true, state: api.WorkspaceStopped, lost: true}
	const alive, dead, none = "alive", "dead", "none"
	for _, c := range []struct {
		record  store.WorkspaceState
		machine string
		want    result
	}{
		{store.WorkspaceCreating, alive, gone},
		{store.WorkspaceCreating, dead, gone},
		{store.WorkspaceCreating, none, gone},
		{store.WorkspaceDeleting, alive, gone},
		{store.WorkspaceDeleting, none, gone},
		{store.WorkspaceStarted, alive, adopted},
		{store.WorkspaceStarted, dead, lost},
		{store.WorkspaceStarted, none, lost},
		{store.WorkspaceStopped, none, stopped},
		{store.WorkspaceStopped, alive, stopped}, // of a start that was cut off
	} {
		t.Run(string(c.record)+" "+c.machine, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				id := w.create("seed", "s")
				w.exec(id, "write", "saved", "1")
				settle()
				w.exec(id, "write", "unsaved", "2")
				before := w.machine(id)
				w.kill()
				switch c.machine {
				case none:
					w.host.mu.Lock()
					delete(w.host.machines, before.ID())
					w.host.mu.Unlock()
					fallthrough
				case dead:
					before.die(errGone)
				}
				w.sql("UPDATE workspaces SET state = '" + string(c.record) + "'")
				if c.record == store.WorkspaceStopped || c.record == store.WorkspaceCreating {
					w.sql("UPDATE workspaces SET machine = ''")
				}
				w = openWorld(t, w.dir, w.host)
				w.recover()
				w.assertTidy()
				if _, err := w.lookup(id); (err == nil) != c.want.exists {
					t.Fatalf("lookup: %v, want it to exist: %t", err, c.want.exists)
				}
				if !c.want.exists {
					return
				}
				s := w.status(id)
				if s.State != c.want.state || (s.Recovery != nil) != c.want.lost {
					t.Errorf("state %s, recovery %+v, want %+v", s.State, s.Recovery, c.want)
				}
				if c.want.machine && w.machine(id) != before {
					t.Error("it has another machine")
				}
				w.assertFile(id, "seed", "s")
				w.assertFile(id, "saved", "1")
				if c.want.file {
					w.assertFile(id, "unsaved", "2")
				} else {
					w.assertFile(id, "unsaved", "")
				}
				w.assertTidy()
			})
		})
	}
}

// TestRecoverRemovesGarbage: whatever no record names goes, what is not ours
// stays.
func TestRecoverRemovesGarbage(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create("seed", "s")
		w.exec(id, "write", "a", "1")
		w.snapshot(id, "keep")
		settle()
		other, err := w.driver.Create(t.Context(), w.mustLookup(id).specFor("vm-0123456789ab"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.driver.Create(t.Context(), w.mustLookup(id).specFor(id+"-0009")); err != nil {
			t.Fatal(err)
		}
		in := w.mustLookup(id)
		for _, dir := range []string{filepath.Join(in.tmp(), "half"), in.diskDir("half"), in.logPath("77"), filepath.Join(w.Manager.dir, "ws-stranger", "disks")} {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		w = w.crash()
		if w.host.get(other.ID()) == nil {
			t.Error("the machine of a VM was removed")
		} else if err := w.driver.Remove(t.Context(), other.ID()); err != nil {
			t.Fatal(err)
		}
		w.assertTidy()
		w.reset(id, "keep")
		w.assertFile(id, "a", "1")
	})
}

// TestUnknownRuntime: a workspace of a runtime that this version does not have is
// not touched.
func TestUnknownRuntime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create("seed", "s")
		machine := w.machine(id)
		w.kill()
		w.sql("UPDATE workspaces SET driver = 'later'")
		w = openWorld(t, w.dir, w.host)
		w.recover()
		if _, err := w.lookup(id); err == nil {
			t.Error("it is offered")
		}
		if w.host.get(machine.ID()) == nil {
			t.Error("its machine was removed")
		}
		w.kill()
		w.sql("UPDATE workspaces SET driver = 'fake'")
		w = openWorld(t, w.dir, w.host)
		w.recover()
		w.assertFile(id, "seed", "s")
		w.assertTidy()
	})
}

// TestRecoverWithoutSnapshots: records that cannot be read are no reason to
// remove what they name.
func TestRecoverWithoutSnapshots(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create()
		w.exec(id, "write", "a", "1")
		w.snapshot(id, "keep")
		w.exec(id, "write", "a", "2")
		w.kill()
		w.sql("ALTER TABLE snapshots RENAME TO hidden")
		w = openWorld(t, w.dir, w.host)
		if err := w.Recover(t.Context()); err == nil {
			t.Error("Recover goes on without knowing the snapshots")
		}
		w.kill()
		w.sql("ALTER TABLE hidden RENAME TO snapshots")
		w = openWorld(t, w.dir, w.host)
		w.recover()
		w.assertTidy()
		w.reset(id, "keep")
		w.assertFile(id, "a", "1")
	})
}

// TestRemovalFails: what cannot be removed is tried again.
func TestRemovalFails(t *testing.T) {
	fail := func(op, _ string) error {
		if op == "remove" {
			return errors.New("injected")
		}
		return nil
	}
	t.Run("delete", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			id := w.create()
			w.driver.setFault(fail)
			if _, err := w.Delete(t.Context(), id); err == nil {
				t.Error("deleted although the machine is there")
			}
			if _, _, err := w.tryExec(id, "read", "a"); api.KindOf(err) != api.KindNotFound {
				t.Errorf("a workspace that is being deleted runs a command: %v", err)
			}
			w.driver.setFault(nil)
			synctestSleep(2 * deleteRetry)
			w.assertTidy()
			if _, err := w.lookup(id); err == nil {
				t.Error("the deletion was not tried again")
			}
		})
	})
	t.Run("recover", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			id := w.create()
			w.crashAt("delete-folder", 1)
			go w.Delete(t.Context(), id)
			synctest.Wait()
			w = w.crashed(func(w *world) { w.driver.setFault(fail) })
			w.driver.setFault(nil)
			synctestSleep(2 * deleteRetry)
			w.assertTidy()
		})
	})
	t.Run("create", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			w.at(func(at string) error {
				if at == "create-committed" || at == "delete-machine" {
					return os.ErrInvalid
				}
				return nil
			})
			if _, err := w.Create(t.Context(), request(), func(api.Progress) {}); err == nil {
				t.Error("created")
			}
			w.failAt("")
			synctestSleep(2 * deleteRetry)
			w.assertTidy()
		})
	})
	t.Run("reset", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			id := w.create()
			w.exec(id, "write", "a", "1")
			w.driver.setFault(fail)
			w.reset(id, api.Baseline)
			synctest.Wait()
			w.driver.setFault(nil)
			w.assertFile(id, "a", "")
			w.reset(id, api.Baseline)
			w = w.crash()
			w.assertTidy()
		})
	})
}
