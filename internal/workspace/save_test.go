package workspace

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pyro/api"
)

// TestAutosave: what was done is saved a second later, and nothing is saved
// when nothing is done.
func TestAutosave(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create()
		settle()
		if n := len(w.machine(id).saved()); n != 0 {
			t.Errorf("%d saves of a workspace that did nothing", n)
		}
		// Not at the moment of a look, which could see the command halfway and
		// save, and then again at its end.
		time.Sleep(idleInterval / 5)
		w.exec(id, "write", "a", "1")
		time.Sleep(saveInterval)
		synctest.Wait()
		if n := len(w.machine(id).saved()); n != 1 {
			t.Errorf("%d saves a second after a command", n)
		}
		saved := w.status(id).SavedAt
		time.Sleep(time.Hour)
		if s := w.status(id); !s.SavedAt.Equal(saved) || s.SavedAt.IsZero() {
			t.Errorf("saved at %s, then at %s without a cause", saved, s.SavedAt)
		}
		// A process in the background is seen by its work.
		w.machine(id).work()
		time.Sleep(idleInterval + saveInterval)
		if n := len(w.machine(id).saved()); n != 2 {
			t.Errorf("%d saves after work in the background, want 2", n)
		}
		w.assertTidy()
	})
}

// TestSaveShare: a machine that takes long to save stands still for a small part
// of the time, however much is done in it.
func TestSaveShare(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create()
		const long = 500 * time.Millisecond
		w.driver.setFault(func(op, _ string) error {
			if op == "save" {
				time.Sleep(long)
			}
			return nil
		})
		const lasts = 5 * time.Minute
		for end := time.Now().Add(lasts); time.Now().Before(end); {
			w.exec(id, "append", "a", "x")
			time.Sleep(300 * time.Millisecond)
		}
		n := len(w.machine(id).saved())
		if still := time.Duration(n) * long; still > lasts/saveShare+long {
			t.Errorf("%d saves: the machine stood still for %s of %s", n, still, lasts)
		}
		if want := int(lasts / (saveShare * long) / 2); n < want {
			t.Errorf("%d saves in %s, want at least %d", n, lasts, want)
		}
	})
}

// TestSaveFails: a save that fails is told, is tried again, and harms nothing.
func TestSaveFails(t *testing.T) {
	for _, step := range []string{"driver", "save", "save-written", "save-renamed", "UPDATE ON workspaces"} {
		t.Run(step, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				id := w.create()
				w.exec(id, "write", "a", "1")
				settle()
				w.assertTidy()
				w.exec(id, "write", "b", "2")
				mend := func() { w.failAt(""); w.driver.setFault(nil) }
				switch step {
				case "driver":
					w.driver.setFault(func(op, _ string) error {
						if op == "save" {
							return storageError("disk", errors.New("full"))
						}
						return nil
					})
				case "UPDATE ON workspaces":
					mend = w.refuse(step)
				default:
					w.failAt(step)
				}
				settle()
				if s := w.status(id); s.SaveError == nil {
					t.Errorf("status %+v does not tell that a save failed", s)
				}
				w.assertTidy()
				mend()
				time.Sleep(saveRetry + saveInterval)
				if s := w.status(id); s.SaveError != nil {
					t.Errorf("the save was not tried again: %v", s.SaveError)
				}
				w.machine(id).die(errGone)
				synctest.Wait()
				w.assertFile(id, "a", "1")
				w.assertFile(id, "b", "2")
				w.assertTidy()
			})
		})
	}
}

// TestAdoptedChangesAreSaved: what was done just before the background process
// was killed is saved by the next one.
func TestAdoptedChangesAreSaved(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create()
		w.exec(id, "write", "a", "1")
		w = w.crash()
		settle()
		w.machine(id).die(errGone)
		synctest.Wait()
		w.assertFile(id, "a", "1")
	})
}

// TestStopKeepsWhatSucceeded: a command that succeeds while its workspace is
// being stopped is not forgotten.
func TestStopKeepsWhatSucceeded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create()
		w.exec(id, "write", "a", "1")
		// Between the save and the end of the machine is a write of the record.
		inside := make(chan struct{})
		goOn := make(chan struct{})
		var once sync.Once
		w.at(func(at string) error {
			if at == "save-renamed" {
				once.Do(func() { close(inside); <-goOn })
			}
			return nil
		})
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := w.Stop(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
		<-inside
		var res api.ExecResult
		var err error
		wg.Go(func() { res, _, err = w.tryExec(id, "write", "b", "2") })
		synctest.Wait()
		close(goOn)
		wg.Wait()
		if err == nil && res.ExitCode == 0 && res.Limit == nil {
			w.assertFile(id, "b", "2")
		} else {
			w.assertFile(id, "b", "")
		}
	})
}

// TestStopFails: a workspace that cannot be saved is not stopped.
func TestStopFails(t *testing.T) {
	for _, step := range []string{"save", "save-written", "save-renamed"} {
		t.Run(step, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				id := w.create()
				w.exec(id, "write", "a", "1")
				w.failAt(step)
				_, err := w.Stop(t.Context(), id)
				wantHint(t, err, api.KindStorage)
				w.failAt("")
				if s := w.status(id); s.State != api.WorkspaceStarted {
					t.Errorf("state %s", s.State)
				}
				w.assertFile(id, "a", "1")
				w.exec(id, "write", "b", "2")
				if s, err := w.Stop(t.Context(), id); err != nil || s.State != api.WorkspaceStopped {
					t.Errorf("stopped to %+v, %v", s, err)
				}
				w.assertTidy()
				w.assertFile(id, "b", "2")
			})
		})
	}
}

// TestOtherVersion: disks that another version of the driver wrote are used all
// the same, whatever dies afterwards.
func TestOtherVersion(t *testing.T) {
	for _, act := range []string{"save", "crash", "crash twice", "reset"} {
		t.Run(act, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				id := w.create("seed", "s\n", "both", "s\n")
				w.exec(id, "write", "a", "1\n")
				w.exec(id, "write", "both", "1\n")
				w.exec(id, "write", "/etc/a", "1")
				w.snapshot(id, "old")
				if _, err := w.Stop(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				want := w.patch(id)
				newer := func(w *world) { w.driver.version = "2" }
				w = w.crashed(newer)
				check := func() {
					t.Helper()
					w.assertFile(id, "seed", "s\n")
					w.assertFile(id, "both", "1\n")
					w.assertFile(id, "a", "1\n")
					w.assertFile(id, "/etc/a", "1")
					if got := w.patch(id); got != want {
						t.Errorf("patch\n%s\nwant\n%s", got, want)
					}
				}
				switch act {
				case "reset":
					w.reset(id, "old")
				case "crash", "crash twice":
					w.exec(id, "read", "a") // starts it
					w = w.crashed(newer)
				}
				check()
				if act == "crash twice" {
					w.exec(id, "write", "c", "3")
					w.exec(id, "rm", "c")
					settle()
					w = w.crashed(newer)
					check()
				}
				settle()
				w.machine(id).die(errGone)
				synctest.Wait()
				check()
				w.snapshot(id, "new")
				w.reset(id, api.Baseline)
				w.reset(id, "new")
				check()
				settle()
				w.assertTidy()
			})
		})
	}
}
