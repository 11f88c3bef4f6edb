package workspace

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// TestFailuresChangeNothing lets every operation fail in every way that it can:
// afterwards the workspace is as before, or as the operation makes it, nothing
// lies about, and everything works.
func TestFailuresChangeNothing(t *testing.T) {
	operations := map[string]func(w *world, id string) error{
		"create": func(w *world, _ string) error {
			_, err := w.Create(w.t.Context(), request(), func(api.Progress) {})
			return err
		},
		"exec": func(w *world, id string) error { _, _, err := w.tryExec(id, "read", "a"); return err },
		"push": func(w *world, id string) error { _, err := w.tryPush(id, w.folder("src", "pushed", "1")); return err },
		"snapshot": func(w *world, id string) error {
			_, err := w.CreateSnapshot(w.t.Context(), api.SnapshotRequest{WorkspaceID: id, SnapshotName: "new"})
			return err
		},
		"snapshot delete": func(w *world, id string) error {
			_, err := w.DeleteSnapshot(w.t.Context(), api.SnapshotRequest{WorkspaceID: id, SnapshotName: "old"})
			return err
		},
		"reset": func(w *world, id string) error {
			_, err := w.Reset(w.t.Context(), api.ResetRequest{WorkspaceID: id, Snapshot: "other"})
			return err
		},
		"move":   func(w *world, id string) error { _, err := w.tryMove(id, "other", w.other); return err },
		"stop":   func(w *world, id string) error { _, err := w.Stop(w.t.Context(), id); return err },
		"delete": func(w *world, id string) error { _, err := w.Delete(w.t.Context(), id); return err },
	}
	faults := map[string]fault{}
	for _, what := range []string{"INSERT ON workspaces", "UPDATE ON workspaces", "DELETE ON workspaces", "INSERT ON snapshots", "DELETE ON snapshots", "INSERT ON commands", "UPDATE ON commands", "DELETE ON commands"} {
		faults[what] = func(w *world) func() { return w.refuse(what) }
	}
	for _, op := range []string{"create", "created", "save", "start", "open", "remove"} {
		faults["driver "+op] = func(w *world) func() {
			w.driver.setFault(func(at, _ string) error {
				if at == op {
					return storageError("driver", unix.ENOSPC)
				}
				return nil
			})
			return func() { w.driver.setFault(nil) }
		}
	}
	for _, step := range steps(t) {
		faults["step "+step] = func(w *world) func() { w.failAt(step); return func() { w.failAt("") } }
	}
	for name, op := range operations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failed := 0
			for _, stopped := range []bool{false, true} {
				passed := passes(t, op, stopped)
				for fault, inject := range faults {
					if !strings.Contains(fault, " ON ") && !passed[fault] {
						continue
					}
					synctest.Test(t, func(t *testing.T) {
						w := newBubble(t)
						f := failure{world: w, id: w.create("a", "0\n"), operation: name, fault: fault}
						f.prepare(stopped)
						mend := inject(w)
						err := op(w, f.id)
						synctestSleep(saveInterval)
						mend()
						if err != nil {
							failed++
							wantKind(t, err, api.KindStorage, api.KindInternal, api.KindCanceled)
						}
						f.check(err)
						if t.Failed() {
							t.Logf("operation %s, fault %s, stopped %t, error %v", name, fault, stopped, err)
						}
					})
				}
			}
			if failed == 0 {
				t.Error("nothing has failed")
			}
		})
	}
}

// fault makes something fail until mend is called.
type fault = func(w *world) (mend func())

// passes returns the faults that an operation gives an occasion to, undisturbed.
func passes(t *testing.T, op func(*world, string) error, stopped bool) map[string]bool {
	t.Helper()
	var mu sync.Mutex
	passed := map[string]bool{}
	note := func(name string) error {
		mu.Lock()
		defer mu.Unlock()
		passed[name] = true
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t)
		f := failure{world: w, id: w.create("a", "0\n")}
		f.prepare(stopped)
		w.at(func(step string) error { return note("step " + step) })
		w.driver.setFault(func(op, _ string) error { return note("driver " + op) })
		if err := op(w, f.id); err != nil {
			t.Fatal(err)
		}
		synctestSleep(saveInterval)
	})
	return passed
}

// failure is a workspace in which one operation has failed.
type failure struct {
	*world
	id, operation, fault string
}

func (f failure) prepare(stopped bool) {
	f.exec(f.id, "write", "a", "1\n")
	f.snapshot(f.id, "other")
	f.exec(f.id, "write", "a", "2\n")
	f.snapshot(f.id, "old")
	settle()
	if stopped {
		if _, err := f.Stop(f.t.Context(), f.id); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f failure) check(err error) {
	f.t.Helper()
	synctestSleep(3 * deleteRetry)
	f.assertTidy()
	if _, missing := f.lookup(f.id); missing != nil {
		if f.operation != "delete" {
			f.t.Error("the workspace is gone")
		}
		return
	}
	for _, w := range f.all() {
		if w.id != f.id {
			f.assertFile(w.id, "a", "")
			f.delete(w.id)
		}
	}
	want := "2\n"
	// Behind its point of no return a reset cannot fail.
	if (f.operation == "reset" || f.operation == "move") && err == nil {
		want = "1\n"
	}
	mode := f.driver.mode
	if f.operation == "move" && err == nil {
		mode = f.other.mode
	}
	f.assertFile(f.id, "a", want)
	f.assertDense(f.id)
	if s := f.status(f.id); s.SaveError != nil || s.State != api.WorkspaceStarted || s.ExecutionMode != mode {
		f.t.Errorf("status %+v, save error %v", s, s.SaveError)
	}
	f.snapshot(f.id, "probe")
	f.reset(f.id, "other")
	f.assertFile(f.id, "a", "1\n")
	f.reset(f.id, "probe")
	f.assertFile(f.id, "a", want)
	f.reset(f.id, api.Baseline)
	f.assertFile(f.id, "a", "0\n")
	f.assertTidy()
}

// TestDeadWhileFailing: the death of a machine that cannot be recorded does no
// harm either.
func TestDeadWhileFailing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create()
		w.exec(id, "write", "a", "1")
		settle()
		accept := w.refuse("UPDATE ON workspaces")
		w.machine(id).die(errGone)
		settle()
		accept()
		w.assertFile(id, "a", "1")
		settle()
		w.assertTidy()
		accept = w.refuse("UPDATE ON workspaces")
		w.machine(id).die(errGone)
		settle()
		accept()
		w = w.crash()
		w.assertFile(id, "a", "1")
		w.assertTidy()
	})
}

// TestSaveErrorOfThePast: what went wrong with a machine that is gone is not said
// of the new one.
func TestSaveErrorOfThePast(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create()
		w.driver.setFault(func(op, _ string) error {
			if op == "save" {
				time.Sleep(time.Second)
				return storageError("driver", errors.New("injected"))
			}
			return nil
		})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := w.CreateSnapshot(t.Context(), api.SnapshotRequest{WorkspaceID: id, SnapshotName: "s"})
			wantKind(t, err, api.KindReset, api.KindStorage)
		})
		w.exec(id, "write", "a", "1")
		time.Sleep(saveInterval + saveInterval/2) // in the midst of the autosave
		w.reset(id, api.Baseline)
		w.driver.setFault(nil)
		wg.Wait()
		settle()
		if s := w.status(id); s.SaveError != nil {
			t.Errorf("save error %v", s.SaveError)
		}
		w.assertTidy()
	})
}

// TestTTL: a workspace goes when its time has come, whatever it does, also if the
// background process was killed meanwhile.
func TestTTL(t *testing.T) {
	for _, crash := range []bool{false, true} {
		inBubble(t, func(t *testing.T, w *world) {
			req := request()
			req.TTLSeconds = 60
			made, err := w.Create(t.Context(), req, func(api.Progress) {})
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(made.ExpiresAt); left > time.Minute || left < 59*time.Second {
				t.Errorf("it expires in %s", left)
			}
			time.Sleep(30 * time.Second)
			if crash {
				w = w.crash()
			} else {
				go func() {
					res, _, err := w.tryExec(made.WorkspaceID, "sleep", "1h")
					if err != nil || res.ExitCode != api.ExitTimeout || res.Limit == nil || res.Limit.Kind != api.KindTimeout {
						t.Errorf("command %+v, %v", res, err)
					}
				}()
			}
			time.Sleep(29 * time.Second)
			w.status(made.WorkspaceID)
			time.Sleep(2 * time.Second)
			if _, err := w.Status(t.Context(), made.WorkspaceID); api.KindOf(err) != api.KindNotFound {
				t.Errorf("status: %v", err)
			}
			w.assertTidy()
		})
	}
}

// TestBudget: what goes beyond the budget is refused, and what was saved stays.
func TestBudget(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create("a", "0")
		w.status(id)
		w.budget = 1
		_, err := w.CreateSnapshot(t.Context(), api.SnapshotRequest{WorkspaceID: id, SnapshotName: "s"})
		wantHint(t, err, api.KindStorage)
		_, err = w.Create(t.Context(), request(), func(api.Progress) {})
		wantHint(t, err, api.KindStorage)
		_, err = w.tryPush(id, w.folder("src", "b", "1"))
		wantHint(t, err, api.KindStorage)
		w.assertFile(id, "a", "0")
		w.reset(id, api.Baseline)
		w.budget = 0
		w.snapshot(id, "s")
		settle()
		w.assertTidy()
	})
}

// TestDamage: a saved disk or seed that is not as it was written is refused, and
// the machine stays.
func TestDamage(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create("a", "0")
		w.exec(id, "write", "a", "1")
		w.snapshot(id, "s")
		w.exec(id, "write", "a", "2")
		in := w.mustLookup(id)
		s, err := in.find("s")
		if err != nil {
			t.Fatal(err)
		}
		damage(t, in.diskDir(s.Disk)+"/"+savedFile)
		_, err = w.Reset(t.Context(), api.ResetRequest{WorkspaceID: id, Snapshot: "s"})
		wantHint(t, err, api.KindVerification)
		_, err = w.Diff(t.Context(), api.DiffRequest{WorkspaceID: id, From: "s"})
		wantHint(t, err, api.KindVerification)
		w.assertFile(id, "a", "2")
		damage(t, in.seedPath())
		_, err = w.Reset(t.Context(), api.ResetRequest{WorkspaceID: id, Snapshot: api.Baseline})
		wantHint(t, err, api.KindVerification)
		w.assertFile(id, "a", "2")
		settle()
		w.assertTidy()
	})
}
