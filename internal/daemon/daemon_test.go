package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pyro/api"
	"pyro/internal/buildid"
)

// Every row of the table has a handler, and nothing else has one.
func TestEveryOperationHasARoute(t *testing.T) {
	s := newServer(Options{}, nil, &parts{environments: shelf{}}, nil, nil)
	for _, op := range api.Operations() {
		if s.table[op.Name].op != op {
			t.Errorf("operation %s has no handler", op.Name)
		}
	}
	if len(s.table) != len(api.Operations()) {
		t.Errorf("%d routes for %d operations", len(s.table), len(api.Operations()))
	}
}

func TestPing(t *testing.T) {
	c := inProcess(t)
	status, body := c.raw(http.MethodGet, "/v1/ping", nil)
	var pong struct {
		Version, Build string
		PID            int
	}
	want, err := buildid.Of(buildid.Self)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(body), &pong); err != nil || status != 200 || pong.PID != os.Getpid() || pong.Version != api.Version || pong.Build != want {
		t.Errorf("status %d, %q, %v", status, body, err)
	}
}

func TestOneVMThroughAllOperations(t *testing.T) {
	c := inProcess(t)
	vm := must(c, api.CreateVM, resources(fields{"mem_mib": 128}))
	if vm.State != api.VMCreated || vm.ExecutionMode != api.HostCompat || vm.MemMiB != 128 || vm.VCPUCount != 1 || vm.TTLSeconds != 600 {
		t.Errorf("created %+v", vm)
	}
	id := fields{"vm_id": vm.VMID}
	if got := must(c, api.StartVM, id); got.State != api.VMStarted {
		t.Errorf("started %+v", got)
	}
	if got := must(c, api.StatusVM, id); got.State != api.VMStarted {
		t.Errorf("status %+v", got)
	}
	if got := must(c, api.ListVMs, nil); len(got.VMs) != 1 || got.VMs[0].VMID != vm.VMID {
		t.Errorf("list %+v", got)
	}
	if got := must(c, api.NetworkInfoVM, id); got.VMID != vm.VMID || got.Detail == "" {
		t.Errorf("network %+v", got)
	}
	if got := must(c, api.DaemonStatus, nil); !got.Running || got.Sandboxes != 1 || got.Calls != 0 || got.PID != os.Getpid() {
		t.Errorf("daemon status %+v", got)
	}
	if got := must(c, api.StopVM, id); got.State != api.VMStopped {
		t.Errorf("stopped %+v", got)
	}
	must(c, api.StartVM, id)
	res := must(c, api.ExecVM, fields{"vm_id": vm.VMID, "command": []string{"sh", "-c", "echo out; echo err >&2; exit 7"}})
	if res.ExitCode != 7 || res.Stdout != "out\n" || res.Stderr != "err\n" || res.StdoutBytes != 4 || !res.Cleanup.Deleted {
		t.Errorf("exec %+v", res)
	}
	if _, err := do(c, api.StatusVM, id); api.KindOf(err) != api.KindNotFound {
		t.Errorf("status after exec: %v", err)
	}
	other := must(c, api.CreateVM, resources(nil))
	if got := must(c, api.DeleteVM, fields{"vm_id": other.VMID}); !got.Deleted || got.VMID != other.VMID {
		t.Errorf("deleted %+v", got)
	}
	if got := must(c, api.ReapExpired, nil); got.Count != 0 || got.VMIDs == nil {
		t.Errorf("reaped %+v", got)
	}
	c.assertNoVMs()
}

func TestTTLEndsAVM(t *testing.T) {
	c := inProcess(t)
	vm := must(c, api.CreateVM, resources(fields{"ttl_seconds": 1}))
	must(c, api.StartVM, fields{"vm_id": vm.VMID})
	c.assertNoVMs()
}

func TestEnvironmentOperations(t *testing.T) {
	c := inProcess(t)
	if got := must(c, api.ListEnvironments, nil); len(got.Environments) != 1 {
		t.Errorf("list %+v", got)
	}
	if got := must(c, api.InspectEnvironment, fields{"environment": "debian:12", "verify": true}); !got.Verified {
		t.Errorf("inspect %+v", got)
	}
	if got := must(c, api.PruneEnvironments, fields{"all": true}); got.BytesFreed != 2 {
		t.Errorf("prune %+v", got)
	}
	for _, tc := range []struct {
		path, body string
		status     int
		want       string // a line each, as it must start
	}{
		{"/v1/pull_environment", `{"environment":"debian:12"}`, 200, `{"event":{"phase":"install"` + "\n" + `{"result":{"name":"debian:12"`},
		{"/v1/pull_environment", `{"environment":"broken-debian:12"}`, 200, `{"event":{"phase":"install"` + "\n" + `{"error":{"kind":"network","message":"mirror is down","hint":"try later"}}`},
		{"/v1/pull_environment", `{"environment":"nosuch"}`, 404, `{"error":{"kind":"not_found"`},
		{"/v1/import_environment", `{"name":"mine","source":"/x"}`, 200, `{"event":{"phase":"unpack"` + "\n" + `{"result":{"name":"mine"`},
	} {
		status, body := c.raw(http.MethodPost, tc.path, strings.NewReader(tc.body))
		lines, want := strings.Split(strings.TrimSpace(body), "\n"), strings.Split(tc.want, "\n")
		ok := status == tc.status && slices.EqualFunc(lines, want, strings.HasPrefix)
		if !ok {
			t.Errorf("%s %s: status %d, %s", tc.path, tc.body, status, body)
		}
	}
}

func TestRequestsRefused(t *testing.T) {
	c := inProcess(t)
	for _, tc := range []struct {
		name, method, path, body string
		kind                     api.Kind
		want                     string
	}{
		{"unknown field", "POST", "/v1/create_vm", `{"environment":"debian:12","colour":1}`, api.KindUsage, `colour`},
		{"zero", "POST", "/v1/create_vm", `{"environment":"debian:12","mem_mib":0}`, api.KindUsage, `mem_mib`},
		{"no JSON", "POST", "/v1/list_vms", `nonsense`, api.KindUsage, `not valid JSON`},
		{"no command", "POST", "/v1/run_in_vm", `{"environment":"debian:12"}`, api.KindUsage, `command`},
		{"network", "POST", "/v1/create_vm", `{"environment":"debian:12","network":true}`, api.KindUnsupported, `network`},
		{"no sandbox to be had", "POST", "/v1/run_in_vm", `{"environment":"debian:12","command":["true"]}`, api.KindUnavailable, `installed`},
		{"operation", "POST", "/v1/nonsense", `{}`, api.KindNotFound, `nonsense`},
		{"method", "GET", "/v1/list_vms", ``, api.KindUsage, `GET`},
		{"path", "POST", "/nonsense", ``, api.KindUsage, `/nonsense`},
		{"too large", "POST", "/v1/create_vm", `{"environment":"` + strings.Repeat("e", maxBody) + `"}`, api.KindUsage, `larger`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, body := c.raw(tc.method, tc.path, strings.NewReader(tc.body))
			e := api.UnmarshalError([]byte(body))
			if e == nil || e.Kind != tc.kind || status != tc.kind.Info().HTTPStatus || !strings.Contains(e.Message, tc.want) {
				t.Errorf("status %d, %s", status, body)
			}
		})
	}
}

// A fault in a handler is an error of that call; the process goes on, and the
// log tells about it.
func TestPanic(t *testing.T) {
	c := inProcess(t)
	if _, err := do(c, api.InspectEnvironment, fields{"environment": "panic"}); api.KindOf(err) != api.KindInternal {
		t.Errorf("got %v", err)
	}
	must(c, api.ListVMs, nil)
	if log := readFile(t, filepath.Join(c.state, "daemon.log")); !strings.Contains(log, "a fault in a handler") {
		t.Errorf("log: %s", log)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLogTellsCallsAndNoSecrets(t *testing.T) {
	c := inProcess(t)
	res := must(c, api.RunInVM, command("echo", "hunter2"))
	log := readFile(t, filepath.Join(c.state, "daemon.log"))
	if strings.Contains(log, "hunter2") {
		t.Errorf("the log holds a command: %s", log)
	}
	found := false
	for line := range strings.Lines(log) {
		var record struct{ Msg, Operation, ID, VM, Kind string }
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Errorf("line %q: %v", line, err)
		}
		found = found || record.Operation == "run_in_vm" && record.ID == "debian:12" && record.VM == res.VMID && record.Kind == ""
	}
	if !found {
		t.Errorf("the call is not in the log: %s", log)
	}
}

func TestRunBoundsOutput(t *testing.T) {
	c := inProcess(t)
	res := must(c, api.RunInVM, command("sh", "-c", "echo first; head -c 5000000 /dev/zero | tr '\\0' x; echo last"))
	if !res.StdoutTruncated || res.StdoutBytes != 5000011 || len(res.Stdout) > api.MaxOutput+100 ||
		!strings.HasPrefix(res.Stdout, "first\n") || !strings.HasSuffix(res.Stdout, "last\n") || !strings.Contains(res.Stdout, "bytes left out") {
		t.Errorf("%d bytes, truncated %v, %d in all", len(res.Stdout), res.StdoutTruncated, res.StdoutBytes)
	}
}

func TestManyRunsAtOnce(t *testing.T) {
	c := inProcess(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			s := c.upgrade("run_in_vm", command("sh", "-c", fmt.Sprintf("cat; exit %d", i)))
			s.out.Write(api.FrameStdin, []byte(fmt.Sprint("input ", i)))
			s.out.Write(api.FrameStdinEOF, nil)
			res, err := s.end()
			if err != nil || res.ExitCode != i || s.stdout.String() != fmt.Sprint("input ", i) {
				t.Errorf("%d: %+v, %q, %v", i, res, s.stdout.String(), err)
			}
		})
	}
	wg.Wait()
	c.assertNoVMs()
}

func TestDoctor(t *testing.T) {
	c := inProcess(t)
	report := must(c, api.Doctor, nil)
	ok := map[string]bool{}
	for _, r := range report.Runtimes {
		ok[r.Name] = r.OK
		if r.Reason == "" {
			t.Errorf("%s has no reason", r.Name)
		}
	}
	if report.OK || ok["vm"] || ok["gvisor"] || !ok["host-compat"] || len(ok) != 3 || report.Capabilities.GuestExec {
		t.Errorf("%+v", report)
	}
}

func TestDaemonStop(t *testing.T) {
	state := t.TempDir()
	p := spawn(t, state)
	c := &caller{t, state}
	vm := must(c, api.CreateVM, resources(nil))
	must(c, api.StartVM, fields{"vm_id": vm.VMID})
	if _, err := do(c, api.DaemonStop, nil); api.KindOf(err) != api.KindConflict {
		t.Errorf("stop while a VM runs: %v", err)
	}
	s := c.upgrade("run_in_vm", command("sh", "-c", "echo ready; sleep 1000"))
	s.until("ready")
	if info := must(c, api.DaemonStop, fields{"force": true}); info.Running {
		t.Errorf("%+v", info)
	}
	if _, err := s.end(); api.KindOf(err) != api.KindCanceled {
		t.Errorf("the call ended with %v", err)
	}
	p.expect(t, "ended")
	if _, err := os.Stat(filepath.Join(state, "daemon.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	// Nothing runs now, so a next one can be stopped without force.
	p = spawn(t, state)
	must(c, api.DaemonStop, nil)
	p.expect(t, "ended")
}

// A second process does not disturb the first one and says that all is ready.
func TestSecondProcess(t *testing.T) {
	state := t.TempDir()
	spawn(t, state)
	second := spawn(t, state)
	second.expect(t, "ended")
	must(&caller{t, state}, api.ListVMs, nil)
}

// One that starts while another one ends waits for it.
func TestStartWhileAnotherEnds(t *testing.T) {
	state := t.TempDir()
	first := spawn(t, state)
	c := &caller{t, state}
	for range 5 {
		must(c, api.DaemonStop, nil)
		second := spawn(t, state)
		must(c, api.ListVMs, nil)
		first.expect(t, "ended")
		first = second
	}
}

func TestIdleExit(t *testing.T) {
	state := t.TempDir()
	p := spawn(t, state, "PYRO_IDLE_SECONDS=1")
	c := &caller{t, state}
	vm := must(c, api.CreateVM, resources(fields{"ttl_seconds": 4}))
	must(c, api.StartVM, fields{"vm_id": vm.VMID})
	p.expect(t, "ended")
	if time.Now().Before(vm.ExpiresAt) {
		t.Error("it ended while a VM was running")
	}
	if _, err := os.Stat(filepath.Join(state, "daemon.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// A VM that was started survives a killed process, one that belonged to a call
// does not, and nothing of the latter is left.
func TestKilledAndStartedAgain(t *testing.T) {
	state := t.TempDir()
	p := spawn(t, state)
	c := &caller{t, state}
	created := must(c, api.CreateVM, resources(nil))
	started := must(c, api.CreateVM, resources(nil))
	must(c, api.StartVM, fields{"vm_id": started.VMID})
	pidFile := filepath.Join(t.TempDir(), "pid")
	s := c.upgrade("run_in_vm", command("sh", "-c", "echo $$ >"+pidFile+"; echo ready; exec sleep 1000"))
	s.until("ready")
	if err := os.MkdirAll(filepath.Join(state, "host", "build-000000000000", "workspace"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.cmd.Process.Kill()
	p.cmd.Wait()

	spawn(t, state)
	states := map[string]api.VMState{}
	for _, vm := range must(c, api.ListVMs, nil).VMs {
		states[vm.VMID] = vm.State
	}
	if len(states) != 2 || states[created.VMID] != api.VMCreated || states[started.VMID] != api.VMStarted {
		t.Errorf("VMs after the restart: %v", states)
	}
	entries, err := os.ReadDir(filepath.Join(state, "host"))
	if err != nil || len(entries) != 1 || entries[0].Name() != started.VMID {
		t.Errorf("machines after the restart: %v, %v", entries, err)
	}
	if b, err := os.ReadFile("/proc/" + strings.TrimSpace(readFile(t, pidFile)) + "/cmdline"); err == nil && bytes.Contains(b, []byte("sleep")) {
		t.Errorf("the command of the killed call still runs: %q", b)
	}
	if res := must(c, api.ExecVM, fields{"vm_id": started.VMID, "command": []string{"echo", "alive"}}); res.Stdout != "alive\n" {
		t.Errorf("%+v", res)
	}
}

// SIGTERM cuts calls off and leaves VMs alone.
func TestTerminated(t *testing.T) {
	state := t.TempDir()
	p := spawn(t, state)
	c := &caller{t, state}
	vm := must(c, api.CreateVM, resources(nil))
	must(c, api.StartVM, fields{"vm_id": vm.VMID})
	s := c.upgrade("run_in_vm", command("sh", "-c", "echo ready; sleep 1000"))
	s.until("ready")
	p.cmd.Process.Signal(syscall.SIGTERM)
	if _, err := s.end(); api.KindOf(err) != api.KindCanceled {
		t.Errorf("the call ended with %v", err)
	}
	p.expect(t, "ended")
	spawn(t, state)
	if got := must(c, api.StatusVM, fields{"vm_id": vm.VMID}); got.State != api.VMStarted {
		t.Errorf("%+v", got)
	}
}
