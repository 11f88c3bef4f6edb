package workspace

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pyro/api"
)

// TestParallelUse uses a few workspaces in every way at the same time. Commands
// that succeed since the last reset are in the log, each under a sequence of its
// own; what is cut off says by what.
func TestParallelUse(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for range 2 {
		u := &parallelUse{world: w, id: w.create("a", "0\n"), cut: map[api.Kind]int{}}
		for range 4 {
			wg.Go(u.commands)
		}
		wg.Go(u.pushes)
		wg.Go(u.snapshots)
		wg.Go(u.diffs)
		wg.Go(u.exports)
		wg.Go(func() {
			u.resets(12)
			u.over.Store(true)
		})
		t.Cleanup(func() { t.Logf("commands: %d succeeded, cut off: %v", u.done.Load(), u.cut) })
		defer u.finish()
	}
	wg.Go(func() { // others come and go
		for range 5 {
			w.delete(w.create("b", "1\n"))
			w.all()
		}
	})
	wg.Wait()
}

type parallelUse struct {
	*world
	id   string
	over atomic.Bool
	n    atomic.Int64
	done atomic.Int64

	mu  sync.Mutex
	cut map[api.Kind]int // guarded by mu
}

// may wants no error, or one that tells of a reset or stop.
func (u *parallelUse) may(what string, err error) {
	switch kind := api.KindOf(err); {
	case err == nil:
	case kind == api.KindReset, kind == api.KindCanceled && strings.Contains(err.Error(), "stopped"):
		u.mu.Lock()
		defer u.mu.Unlock()
		u.cut[kind]++
	default:
		u.t.Errorf("%s: %v (kind %s)", what, err, kind)
	}
}

func (u *parallelUse) commands() {
	for !u.over.Load() {
		name := fmt.Sprint("/workspace/c", u.n.Add(1)%20)
		res, _, err := u.tryExec(u.id, "append", name, "x")
		if err == nil && (res.ExitCode != 0 || res.Limit != nil) {
			u.t.Errorf("command: %+v", res)
		}
		if err == nil {
			u.done.Add(1)
		}
		u.may("command", err)
	}
}

func (u *parallelUse) pushes() {
	for n := 0; !u.over.Load(); n++ {
		_, err := u.tryPush(u.id, u.folder("src", "pushed", fmt.Sprint(n)))
		u.may("push", err)
	}
}

func (u *parallelUse) snapshots() {
	for n := 0; !u.over.Load(); n++ {
		req := api.SnapshotRequest{WorkspaceID: u.id, SnapshotName: fmt.Sprint("n", n)}
		_, err := u.CreateSnapshot(u.t.Context(), req)
		u.may("snapshot", err)
		if err == nil {
			_, err = u.DeleteSnapshot(u.t.Context(), req)
			u.may("deletion of a snapshot", err)
		}
	}
}

func (u *parallelUse) diffs() {
	for !u.over.Load() {
		_, err := u.Diff(u.t.Context(), api.DiffRequest{WorkspaceID: u.id, From: api.Baseline})
		u.may("diff", err)
		_, err = u.Logs(u.t.Context(), api.LogsWorkspaceRequest{WorkspaceID: u.id, MaxBytes: 10})
		u.may("logs", err)
	}
}

func (u *parallelUse) exports() {
	dir := u.t.TempDir()
	for n := 0; !u.over.Load(); n++ {
		_, err := u.Export(u.t.Context(), api.ExportRequest{WorkspaceID: u.id, Path: ".", OutputPath: filepath.Join(dir, fmt.Sprint(n))})
		u.may("export", err)
	}
}

// resets resets and stops, with a few commands between.
func (u *parallelUse) resets(times int) {
	for n := range times {
		for want := u.done.Load() + 10; u.done.Load() < want && !u.t.Failed(); {
			time.Sleep(time.Millisecond)
		}
		_, err := u.Reset(u.t.Context(), api.ResetRequest{WorkspaceID: u.id, Snapshot: api.Baseline})
		u.may("reset", err)
		if n%3 == 0 {
			_, err = u.Stop(u.t.Context(), u.id)
			u.may("stop", err)
		}
	}
}

// finish wants what is left to be in order.
func (u *parallelUse) finish() {
	for _, c := range u.assertDense(u.id) {
		if c.State != api.CommandExited {
			u.t.Errorf("command %d is %s", c.Sequence, c.State)
		}
	}
	if s := u.status(u.id); s.ResetCount != 12 {
		u.t.Errorf("%d resets", s.ResetCount)
	}
	u.reset(u.id, api.Baseline)
	if p := u.patch(u.id); p != "" {
		u.t.Errorf("patch after a reset:\n%s", p)
	}
	u.delete(u.id)
	u.assertGone(u.id)
}

// assertGone wants nothing of the workspace to be left.
func (w *world) assertGone(id string) {
	w.t.Helper()
	for _, machine := range w.host.ids() {
		if strings.HasPrefix(machine, id) {
			w.t.Errorf("machine %s is left", machine)
		}
	}
	for _, name := range names(w.dir, "workspaces") {
		if name == id {
			w.t.Errorf("folder %s is left", name)
		}
	}
}
