package workspace

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pyro/api"
)

// TestExecWithoutRecord: a command that cannot be recorded does not run, and
// does not keep the next from running.
func TestExecWithoutRecord(t *testing.T) {
	for _, what := range []string{"INSERT ON commands"} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				id := w.create()
				w.exec(id, "write", "a", "1")
				accept := w.refuse(what)
				if _, _, err := w.tryExec(id, "write", "b", "2"); err == nil {
					t.Error("a command ran without a record")
				}
				accept()
				w.assertFile(id, "a", "1")
				w.assertFile(id, "b", "")
				if log := w.assertDense(id); len(log) != 3 {
					t.Errorf("%d commands are in the log, want 3", len(log))
				}
			})
		})
	}
}

// TestExecEndsUnrecorded: the store failing at the end of a command does not
// change its result; the next process calls the command lost.
func TestExecEndsUnrecorded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create()
		accept := w.refuse("UPDATE ON commands")
		w.exec(id, "write", "a", "1")
		accept()
		w = w.crash()
		log := w.assertDense(id)
		if log[0].State != api.CommandLost || log[0].Limit == nil || log[0].ExitCode != nil {
			t.Errorf("command %+v, want it lost", log[0])
		}
	})
}

// TestCutOff: what takes the machine away ends the commands in it, with the
// reason as their error.
func TestCutOff(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(w *world, id string) error
		want api.Kind
	}{
		"reset": {func(w *world, id string) error {
			_, err := w.Reset(w.t.Context(), api.ResetRequest{WorkspaceID: id, Snapshot: api.Baseline})
			return err
		}, api.KindReset},
		"delete": {func(w *world, id string) error { _, err := w.Delete(w.t.Context(), id); return err }, api.KindCanceled},
		"stop":   {func(w *world, id string) error { _, err := w.Stop(w.t.Context(), id); return err }, api.KindCanceled},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				id := w.create()
				var cut error
				var wg sync.WaitGroup
				wg.Go(func() { _, _, cut = w.tryExec(id, "sleep", "1h") })
				synctest.Wait()
				begun := time.Now()
				if err := c.act(w, id); err != nil {
					t.Fatal(err)
				}
				wg.Wait()
				if waited := time.Since(begun); waited > time.Minute {
					t.Errorf("the command went on for %s", waited)
				}
				wantKind(t, cut, c.want)
				settle()
				w.assertTidy()
			})
		})
	}
}

// TestDeath: a machine that dies is a result of its command; the next command
// has a new one, with what was saved.
func TestDeath(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create()
		w.exec(id, "write", "a", "1")
		settle()
		w.exec(id, "write", "b", "2")
		var res api.ExecResult
		var wg sync.WaitGroup
		wg.Go(func() {
			var err error
			if res, _, err = w.tryExec(id, "sleep", "1h"); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Millisecond) // the autosave of b is a second away
		died := now()
		w.machine(id).die(api.Errorf(api.KindSandboxDied, "killed by the test"))
		wg.Wait()
		if res.Limit == nil || res.Limit.Kind != api.KindSandboxDied || res.ExitCode != api.ExitFailure {
			t.Errorf("result %+v, want that the sandbox died", res)
		}
		synctest.Wait()
		s := w.status(id)
		if s.State != api.WorkspaceStopped || s.Recovery == nil || s.Recovery.Source != "autosave" || s.Recovery.LostAt.Before(died) || !s.Recovery.RestoredAt.IsZero() {
			t.Errorf("status %+v, recovery %+v", s, s.Recovery)
		}
		w.assertTidy()
		w.assertFile(id, "a", "1")
		w.assertFile(id, "b", "")
		if s := w.status(id); s.State != api.WorkspaceStarted || s.Recovery.RestoredAt.IsZero() {
			t.Errorf("status %+v, recovery %+v", s, s.Recovery)
		}
		w.assertTidy()
		w.reset(id, api.Baseline)
		if s := w.status(id); s.Recovery != nil {
			t.Errorf("recovery %+v after a reset", s.Recovery)
		}
	})
}

// TestDeleteWhileWaiting: calls that wait for the machine while the workspace is
// deleted get out of the way.
func TestDeleteWhileWaiting(t *testing.T) {
	for name, call := range map[string]func(w *world, id string) error{
		"exec": func(w *world, id string) error { _, _, err := w.tryExec(id, "read", "a"); return err },
		"snapshot": func(w *world, id string) error {
			_, err := w.CreateSnapshot(w.t.Context(), api.SnapshotRequest{WorkspaceID: id, SnapshotName: "s"})
			return err
		},
		"push": func(w *world, id string) error { _, err := w.tryPush(id, w.folder("src", "x", "y")); return err },
		"reset": func(w *world, id string) error {
			_, err := w.Reset(w.t.Context(), api.ResetRequest{WorkspaceID: id, Snapshot: api.Baseline})
			return err
		},
		"stop":  func(w *world, id string) error { _, err := w.Stop(w.t.Context(), id); return err },
		"start": func(w *world, id string) error { _, err := w.Start(w.t.Context(), id); return err },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				id := w.create()
				if _, err := w.Stop(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				in, err := w.lookup(id)
				if err != nil {
					t.Fatal(err)
				}
				in.act.lock() // as by whoever came first
				var wg sync.WaitGroup
				deleted := make(chan error, 1)
				go func() { _, err := w.Delete(t.Context(), id); deleted <- err }()
				// Delete waits for the lock already, but looks as if it did not.
				synctest.Wait()
				in.mu.Lock()
				doom, doomed := in.doom, in.doomed
				in.doom, in.doomed = nil, make(chan struct{})
				in.mu.Unlock()
				var got error
				wg.Go(func() { got = call(w, id) })
				synctest.Wait()
				in.mu.Lock()
				in.doom = doom
				close(in.doomed)
				in.doomed = doomed
				in.mu.Unlock()
				in.act.unlock()
				if err := <-deleted; err != nil {
					t.Error(err)
				}
				wg.Wait()
				if name != "stop" {
					wantKind(t, got, api.KindNotFound, api.KindCanceled)
				}
				w.assertTidy()
			})
		})
	}
}
