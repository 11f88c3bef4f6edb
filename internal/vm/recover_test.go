package vm

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/sandbox"
	"pyro/internal/store"
)

// Every row of the table at Recover, plus what lies about without a record.
func TestRecover(t *testing.T) {
	const (
		alive = "alive" // a machine that can be adopted
		dead  = "dead"  // a folder that cannot
		none  = "none"
	)
	type outcome struct {
		State   api.VMState // "" for gone
		Machine bool
	}
	for _, tc := range []struct {
		name      string
		state     store.State // "" for no record
		ephemeral bool
		machine   string
		want      outcome
	}{
		{"ephemeral, alive", store.Created, true, alive, outcome{}},
		{"ephemeral, none", store.Created, true, none, outcome{}},
		{"removing, alive", store.Removing, false, alive, outcome{}},
		{"removing, none", store.Removing, false, none, outcome{}},
		{"created, none", store.Created, false, none, outcome{api.VMCreated, false}},
		{"starting, dead", store.Starting, false, dead, outcome{api.VMCreated, false}},
		{"starting, alive", store.Starting, false, alive, outcome{api.VMCreated, false}},
		{"started, alive", store.Started, false, alive, outcome{api.VMStarted, true}},
		{"started, dead", store.Started, false, dead, outcome{api.VMStopped, false}},
		{"started, none", store.Started, false, none, outcome{api.VMStopped, false}},
		{"stopped, dead", store.Stopped, false, dead, outcome{api.VMStopped, false}},
		{"no record, alive", "", false, alive, outcome{}},
		{"no record, dead", "", false, dead, outcome{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			id := newID()
			if tc.state != "" {
				now := time.Now()
				row := store.VM{ID: id, Environment: "debian:12", Driver: "gvisor", State: tc.state, Ephemeral: tc.ephemeral, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
				if err := w.store.InsertVM(t.Context(), row); err != nil {
					t.Fatal(err)
				}
			}
			folder := filepath.Join(w.dir, "gvisor", id)
			switch tc.machine {
			case alive:
				if err := os.MkdirAll(filepath.Join(folder, "workspace"), 0o700); err != nil {
					t.Fatal(err)
				}
			case dead:
				if err := os.Mkdir(folder, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			var got outcome
			if vm, err := w.Status(t.Context(), id); err == nil {
				got.State = vm.State
			}
			_, err := os.Stat(folder)
			got.Machine = err == nil
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
			rows, err := w.store.VMs(t.Context())
			if err != nil || (len(rows) == 1) != (tc.want.State != "") {
				t.Errorf("rows %+v, %v", rows, err)
			}
		})
	}
}

// What a dropped process had started goes on after recovery, to its end.
func TestAdoptedVMRunsItsCommand(t *testing.T) {
	first := newWorld(t)
	id := first.started(t)
	second := openWorld(t, first.dir)
	if err := second.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if vm, err := second.Status(t.Context(), id); err != nil || vm.State != api.VMStarted || vm.MemMiB != 128 {
		t.Errorf("%+v, %v", vm, err)
	}
	if second.shelf.held != 1 {
		t.Errorf("%d images are held", second.shelf.held)
	}
	res, err := second.Exec(t.Context(), api.ExecVMRequest{VMID: id, Command: []string{"true"}, TimeoutSeconds: 30}, sandbox.Stdio{})
	if err != nil || res.ExitCode != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	second.assertEmpty(t)
}

func TestRecoverRemovesExpired(t *testing.T) {
	w := newWorld(t)
	past := time.Now().Add(-time.Hour)
	if err := w.store.InsertVM(t.Context(), store.VM{ID: newID(), Driver: "gvisor", State: store.Created, CreatedAt: past, ExpiresAt: past}); err != nil {
		t.Fatal(err)
	}
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	for {
		if list, _ := w.List(t.Context()); len(list.VMs) == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	w.assertEmpty(t)
}
