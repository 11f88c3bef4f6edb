package vm

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pyro/api"
	"pyro/internal/sandbox"
)

func TestLifeOfAVM(t *testing.T) {
	w := newWorld(t)
	created, err := w.Create(t.Context(), api.CreateVMRequest{Environment: "debian:12", SandboxOptions: resources()})
	if err != nil {
		t.Fatal(err)
	}
	if created.State != api.VMCreated || created.ExecutionMode != api.GuestGVisor || len(created.VMID) != 15 ||
		created.ExpiresAt.Sub(created.CreatedAt) != 10*time.Minute {
		t.Errorf("created %+v", created)
	}
	if vm, err := w.Start(t.Context(), created.VMID); err != nil || vm.State != api.VMStarted {
		t.Errorf("started %+v, %v", vm, err)
	}
	if vm, err := w.Status(t.Context(), created.VMID); err != nil || vm.State != api.VMStarted {
		t.Errorf("status %+v, %v", vm, err)
	}
	if n := w.Running(); n != 1 {
		t.Errorf("%d VMs run", n)
	}
	var out bytes.Buffer
	res, err := w.Exec(t.Context(), api.ExecVMRequest{VMID: created.VMID, Command: []string{"sh", "-c", "echo $FROM_IMAGE; exit 3"}, TimeoutSeconds: 30}, sandbox.Stdio{Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	want := api.Cleanup{Deleted: true, Reason: "post_exec_cleanup", VMID: created.VMID}
	if res.ExitCode != 3 || out.String() != "debian:12\n" || res.StdoutBytes != 10 || *res.Cleanup != want || res.ExecutionMode != api.GuestVsock {
		t.Errorf("result %+v, cleanup %+v, stdout %q", res, res.Cleanup, out.String())
	}
	_, err = w.Status(t.Context(), created.VMID)
	wantKind(t, err, api.KindNotFound)
	w.assertEmpty(t)
}

func TestWrongStates(t *testing.T) {
	w := newWorld(t)
	vm, err := w.Create(t.Context(), api.CreateVMRequest{Environment: "debian:12", SandboxOptions: resources()})
	if err != nil {
		t.Fatal(err)
	}
	exec := api.ExecVMRequest{VMID: vm.VMID, Command: []string{"true"}, TimeoutSeconds: 30}
	_, err = w.Exec(t.Context(), exec, sandbox.Stdio{})
	wantKind(t, err, api.KindConflict)
	if vm, err := w.Stop(t.Context(), vm.VMID); err != nil || vm.State != api.VMCreated {
		t.Errorf("a created VM is stopped to %+v, %v", vm, err)
	}
	for _, step := range []struct {
		name string
		do   func(context.Context, string) (api.VM, error)
		want api.VMState
		kind api.Kind
	}{
		{"start", w.Start, api.VMStarted, ""},
		{"start again", w.Start, "", api.KindConflict},
		{"stop", w.Stop, api.VMStopped, ""},
		{"stop again", w.Stop, api.VMStopped, ""},
		{"start after stop", w.Start, api.VMStarted, ""},
		{"stop", w.Stop, api.VMStopped, ""},
	} {
		got, err := step.do(t.Context(), vm.VMID)
		if api.KindOf(err) != step.kind || got.State != step.want {
			t.Errorf("%s: state %q, error %v", step.name, got.State, err)
		}
	}
	_, err = w.Exec(t.Context(), exec, sandbox.Stdio{})
	wantKind(t, err, api.KindConflict)
	if c, err := w.Delete(t.Context(), vm.VMID); err != nil || !c.Deleted {
		t.Errorf("%+v, %v", c, err)
	}
	for name, do := range map[string]func() error{
		"start":  func() error { _, err := w.Start(t.Context(), vm.VMID); return err },
		"exec":   func() error { _, err := w.Exec(t.Context(), exec, sandbox.Stdio{}); return err },
		"stop":   func() error { _, err := w.Stop(t.Context(), vm.VMID); return err },
		"delete": func() error { _, err := w.Delete(t.Context(), vm.VMID); return err },
		"net":    func() error { _, err := w.NetworkInfo(t.Context(), vm.VMID); return err },
	} {
		if err := do(); api.KindOf(err) != api.KindNotFound || api.AsError(err).Hint == "" {
			t.Errorf("%s of a deleted VM: %v", name, err)
		}
	}
	w.assertEmpty(t)
}

func TestRequestsRefused(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		name string
		set  func(*api.CreateVMRequest)
		kind api.Kind
	}{
		{"too many CPUs", func(r *api.CreateVMRequest) { r.VCPUCount = 1 << 20 }, api.KindUsage},
		{"too little memory", func(r *api.CreateVMRequest) { r.MemMiB = 63 }, api.KindUsage},
		{"network", func(r *api.CreateVMRequest) { r.Network = true }, api.KindUnsupported},
		{"runtime vm", func(r *api.CreateVMRequest) { r.Runtime = api.RuntimeVM }, api.KindUnsupported},
		{"runtime vm, host allowed", func(r *api.CreateVMRequest) { r.Runtime = api.RuntimeVM; r.AllowHostCompat = true }, api.KindUnsupported},
		{"environment", func(r *api.CreateVMRequest) { r.Environment = "nosuch" }, api.KindNotFound},
	} {
		req := api.CreateVMRequest{Environment: "debian:12", SandboxOptions: resources()}
		tc.set(&req)
		if _, err := w.Create(t.Context(), req); api.KindOf(err) != tc.kind {
			t.Errorf("%s: %v (kind %q), want kind %q", tc.name, err, api.KindOf(err), tc.kind)
		}
		run := request("true")
		run.Environment, run.SandboxOptions = req.Environment, req.SandboxOptions
		if _, err := w.Run(t.Context(), run, sandbox.Stdio{}); api.KindOf(err) != tc.kind {
			t.Errorf("run, %s: %v (kind %q), want kind %q", tc.name, err, api.KindOf(err), tc.kind)
		}
	}
	w.assertEmpty(t)
}

func TestHostCompatOnlyIfAllowedAndNeeded(t *testing.T) {
	unavailable := api.Errorf(api.KindUnavailable, "no user namespaces")
	for _, tc := range []struct {
		name     string
		allow    bool
		probeErr error
		mode     api.ExecutionMode
		kind     api.Kind
	}{
		{"works", false, nil, api.GuestVsock, ""},
		{"works, allowed", true, nil, api.GuestVsock, ""},
		{"unavailable", false, unavailable, "", api.KindUnavailable},
		{"unavailable, allowed", true, unavailable, api.HostCompat, ""},
		{"broken otherwise, allowed", true, api.Errorf(api.KindStorage, "disk full"), "", api.KindStorage},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.driver.probeErr, w.driver.createErr = tc.probeErr, tc.probeErr
			req := request("true")
			req.AllowHostCompat = tc.allow
			res, err := w.Run(t.Context(), req, sandbox.Stdio{})
			if api.KindOf(err) != tc.kind || res.ExecutionMode != tc.mode {
				t.Errorf("mode %q, error %v", res.ExecutionMode, err)
			}
			w.assertEmpty(t)
		})
	}
}

func TestHostCompatNeedsNoImage(t *testing.T) {
	w := newWorld(t)
	w.driver.probeErr = api.Errorf(api.KindUnavailable, "no user namespaces")
	req := request("true")
	req.Environment, req.AllowHostCompat = "later", true
	if res, err := w.Run(t.Context(), req, sandbox.Stdio{}); err != nil || res.ExecutionMode != api.HostCompat {
		t.Errorf("%+v, %v", res, err)
	}
	req.Environment = "nosuch"
	_, err := w.Run(t.Context(), req, sandbox.Stdio{})
	wantKind(t, err, api.KindNotFound)
	if w.shelf.installed["later"] {
		t.Error("the environment was pulled")
	}
}

func TestProbeOnceIfItWorks(t *testing.T) {
	w := newWorld(t)
	req := request("true")
	req.AllowHostCompat = true
	for range 3 {
		if _, err := w.Run(t.Context(), req, sandbox.Stdio{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.driver.probes.Load(); n != 1 {
		t.Errorf("%d probes", n)
	}
}

func TestPullFirst(t *testing.T) {
	w := newWorld(t)
	var phases []string
	req := request("true")
	req.Environment = "later"
	res, err := w.Run(t.Context(), req, sandbox.Stdio{
		Event: func(e api.ExecEvent) { phases = append(phases, e.Phase) },
		Pull:  func(p api.Progress) { phases = append(phases, "pull "+p.Phase) },
	})
	if err != nil || res.ExitCode != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	if got, want := len(phases), 4; got != want || phases[0] != "create" || phases[1] != "pull install" || phases[3] != "execute" {
		t.Errorf("phases %v", phases)
	}
	w.shelf.installed["later"] = false
	w.shelf.pullErr = api.Errorf(api.KindNetwork, "mirror is down")
	_, err = w.Run(t.Context(), req, sandbox.Stdio{})
	wantKind(t, err, api.KindNetwork)
	w.assertEmpty(t)
}

// Delete during Start ends the start; nothing is left.
func TestDeleteDuringStart(t *testing.T) {
	w := newWorld(t)
	w.driver.creating = make(chan struct{})
	vm, err := w.Create(t.Context(), api.CreateVMRequest{Environment: "debian:12", SandboxOptions: resources()})
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error)
	go func() { _, err := w.Start(t.Context(), vm.VMID); result <- err }()
	for w.Running() == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := w.Delete(t.Context(), vm.VMID); err != nil {
		t.Error(err)
	}
	wantKind(t, <-result, api.KindCanceled)
	w.assertEmpty(t)
}

func TestStartFailsAndCanBeTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.driver.createErr = api.Errorf(api.KindUnavailable, "no memory")
	vm, err := w.Create(t.Context(), api.CreateVMRequest{Environment: "debian:12", SandboxOptions: resources()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Start(t.Context(), vm.VMID)
	wantKind(t, err, api.KindUnavailable)
	if vm, _ := w.Status(t.Context(), vm.VMID); vm.State != api.VMCreated {
		t.Errorf("state is %q", vm.State)
	}
	w.driver.createErr = nil
	if vm, err := w.Start(t.Context(), vm.VMID); err != nil || vm.State != api.VMStarted {
		t.Errorf("%+v, %v", vm, err)
	}
}

func TestDeathOfIdleVM(t *testing.T) {
	w := newWorld(t)
	id := w.started(t)
	w.driver.die(t, id, api.Errorf(api.KindMemoryLimit, "the sandbox reached its memory limit"))
	for {
		if vm, err := w.Status(t.Context(), id); err != nil {
			t.Fatal(err)
		} else if vm.State == api.VMStopped {
			break
		}
		time.Sleep(time.Millisecond)
	}
	_, err := w.Exec(t.Context(), api.ExecVMRequest{VMID: id, Command: []string{"true"}, TimeoutSeconds: 1}, sandbox.Stdio{})
	wantKind(t, err, api.KindMemoryLimit)
	if vm, err := w.Start(t.Context(), id); err != nil || vm.State != api.VMStarted {
		t.Errorf("%+v, %v", vm, err)
	}
}

func TestFailedRemovalIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	id := w.started(t)
	w.driver.removeErr.Store(api.Errorf(api.KindInternal, "mount is busy"))
	_, err := w.Delete(t.Context(), id)
	wantKind(t, err, api.KindInternal)
	if vm, err := w.Status(t.Context(), id); err != nil || vm.State != api.VMStopped {
		t.Errorf("%+v, %v", vm, err)
	}
	_, err = w.Start(t.Context(), id)
	wantKind(t, err, api.KindNotFound)
	w.driver.removeErr.Store(nil)
	if r, err := w.ReapExpired(t.Context()); err != nil || r.Count != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	w.assertEmpty(t)
}

func TestTTL(t *testing.T) {
	w := newWorld(t)
	opts := resources()
	opts.TTLSeconds = 1
	if _, err := w.Create(t.Context(), api.CreateVMRequest{Environment: "debian:12", SandboxOptions: opts}); err != nil {
		t.Fatal(err)
	}
	w.started(t) // has a long TTL
	for {
		list, err := w.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(list.VMs) == 1 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestReapExpiredNamesThem(t *testing.T) {
	w := newWorld(t)
	id := w.started(t)
	in, err := w.lookup(id)
	if err != nil {
		t.Fatal(err)
	}
	in.ttl.Stop() // so that only the call removes it
	in.mu.Lock()
	in.row.ExpiresAt = time.Now().Add(-time.Second)
	in.mu.Unlock()
	if r, err := w.ReapExpired(t.Context()); err != nil || r.Count != 1 || r.VMIDs[0] != id {
		t.Errorf("%+v, %v", r, err)
	}
	w.assertEmpty(t)
}

func TestStormOfCalls(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for range 5 {
		id := w.started(t)
		for _, do := range []func(){
			func() { w.Stop(t.Context(), id) },
			func() { w.Start(t.Context(), id) },
			func() { w.Status(t.Context(), id) },
			func() { w.List(t.Context()) },
			func() { w.Delete(t.Context(), id) },
			func() { w.ReapExpired(t.Context()) },
			func() {
				w.Exec(t.Context(), api.ExecVMRequest{VMID: id, Command: []string{"sleep", "0.05"}, TimeoutSeconds: 5}, sandbox.Stdio{})
			},
		} {
			wg.Go(do)
		}
	}
	wg.Wait()
	w.assertEmpty(t)
}

// joined must give the cause of whichever context ends.
func TestJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, cancelA := context.WithCancelCause(t.Context())
		b, cancelB := context.WithCancelCause(t.Context())
		defer cancelA(nil)
		ctx, stop := sandbox.Joined(a, b)
		defer stop()
		why := api.Errorf(api.KindCanceled, "b")
		cancelB(why)
		<-ctx.Done()
		if context.Cause(ctx) != error(why) {
			t.Errorf("cause is %v", context.Cause(ctx))
		}
	})
}
