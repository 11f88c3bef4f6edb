package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/client/clienttest"
	"pyro/internal/cli"
	"pyro/internal/paths"
)

// run is one command line and what came of it.
type run struct {
	code           int
	stdout, stderr string
}

// pyro runs a command line against the process of dirs.
func pyro(t *testing.T, dirs paths.Dirs, stdin io.Reader, args ...string) run {
	t.Helper()
	return pyroWith(t, clienttest.Env(dirs), stdin, args...)
}

// pyroWith is pyro with the variables env.
func pyroWith(t *testing.T, env []string, stdin io.Reader, args ...string) run {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := cli.Main(args, cli.Program{Stdin: stdin, Stdout: &stdout, Stderr: &stderr, Env: env, Signals: make(chan os.Signal)})
	return run{code, stdout.String(), stderr.String()}
}

// scene is a background process in which one VM, one workspace and two
// environments exist.
func scene(t *testing.T) paths.Dirs {
	t.Helper()
	dirs := clienttest.Dirs(t)
	server := &clienttest.Server{
		Call: map[string]func(context.Context, []byte) (any, error){
			"status_vm":           statusVM,
			"create_vm":           createVM,
			"delete_vm":           reply(api.Cleanup{Deleted: true, Reason: "deleted", VMID: "vm-1"}),
			"list_vms":            reply(api.VMList{VMs: []api.VM{vm}}),
			"network_info_vm":     reply(api.NetworkInfo{VMID: "vm-1", Detail: "no network"}),
			"reap_expired":        reply(api.Reaped{VMIDs: []string{"vm-2"}, Count: 1}),
			"list_environments":   reply(environments),
			"inspect_environment": reply(pulled),
			"prune_environments":  reply(api.PruneResult{Removed: []api.PrunedItem{{Type: "blob", Name: "sha256:1", Bytes: 2048}}, BytesFreed: 2048}),
			"daemon_status":       reply(api.DaemonInfo{Running: true, PID: 7, Version: "2.8.0", Socket: "/s", LogFile: "/l", StateDir: "/st", CacheDir: "/c", Sandboxes: 1}),
			"daemon_stop":         reply(api.DaemonInfo{PID: 7}),
			"doctor":              reply(healthy),
		},
		Events: map[string]func(context.Context, []byte, func(any)) (any, error){
			"pull_environment":   pull,
			"import_environment": importer,
		},
		Exec: map[string]func(context.Context, []byte, clienttest.Stream){
			"run_in_vm": guest, "exec_vm": guest,
		},
	}
	addWorkspace(server)
	addShells(server)
	addServices(server)
	server.Start(t, dirs)
	return dirs
}

func reply(v any) func(context.Context, []byte) (any, error) {
	return func(context.Context, []byte) (any, error) { return v, nil }
}

var (
	expires = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	vm      = api.VM{
		VMID: "vm-1", Environment: "debian:12", State: api.VMStarted, ExecutionMode: api.GuestGVisor,
		VCPUCount: 1, MemMiB: 1024, DiskMiB: 8192, PIDLimit: 512, TTLSeconds: 600, ExpiresAt: expires, MemoryBytes: 3 << 20,
	}
	environments = api.EnvironmentList{CatalogVersion: "2.8.0", Environments: []api.Environment{
		{Name: "debian:12", Description: "Debian 12 with git", Installed: true}, {Name: "debian:12-base", Description: "Debian 12"},
	}}
	pulled = api.Environment{
		Name: "debian:12", Source: "http://mirror.example/debian", Digest: "sha256:abc", SizeBytes: 1536, Path: "/p", Installed: true, Version: "1",
		Packages: []api.Package{{Name: "git", Version: "1:2.39", Arch: "amd64"}}, Verified: true,
	}
	healthy = api.DoctorReport{
		Platform: "linux/amd64", OK: true, KVM: api.DeviceKVM{Exists: true}, EnvironmentCache: "/c",
		Capabilities: api.Capabilities{VMBoot: true, GuestExec: true, GuestNetwork: true}, Networking: api.Networking{TUN: true},
		Runtimes: []api.RuntimeCheck{{Name: "vm", Reason: "no KVM", Hint: "turn it on"}, {Name: "gvisor", OK: true}},
		Checks:   []api.HostCheck{{Name: "kvm", Detail: "missing", Hint: "get one"}, {Name: "tun", OK: true, Detail: "there"}, {Name: "vsock", OK: true, Detail: "could be", Hint: "load it"}},
	}
)

func statusVM(_ context.Context, body []byte) (any, error) {
	if !bytes.Contains(body, []byte("vm-1")) {
		return nil, api.Errorf(api.KindNotFound, "VM vm-9 does not exist").WithHint("pyro vm list")
	}
	return vm, nil
}

// createVM answers with what it was asked for.
func createVM(_ context.Context, body []byte) (any, error) {
	var req api.CreateVMRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, err
	}
	return api.VM{
		VMID: "vm-1", Environment: req.Environment, State: api.VMCreated, VCPUCount: req.VCPUCount, MemMiB: req.MemMiB,
		DiskMiB: req.DiskMiB, PIDLimit: req.PIDLimit, TTLSeconds: req.TTLSeconds, Network: req.Network, ExecutionMode: api.ExecutionMode(req.Runtime),
	}, nil
}

func pull(_ context.Context, body []byte, emit func(any)) (any, error) {
	if bytes.Contains(body, []byte("broken")) {
		return nil, api.Errorf(api.KindNetwork, "mirror does not answer").WithHint("try again")
	}
	emit(api.Progress{Phase: "install", Environment: "debian:12"})
	for i := range int64(100) {
		emit(api.Progress{Phase: "download", Environment: "debian:12", Done: i, Total: 100, Unit: "bytes"})
	}
	emit(api.Progress{Phase: "ready", Environment: "debian:12"})
	return pulled, nil
}

func importer(_ context.Context, body []byte, _ func(any)) (any, error) {
	var req api.ImportRequest
	json.Unmarshal(body, &req)
	return api.Environment{Name: req.Name, Source: req.Source}, nil
}

// guest plays a command: its first word says which.
func guest(_ context.Context, body []byte, s clienttest.Stream) {
	var req api.RunRequest
	json.Unmarshal(body, &req)
	res := api.ExecResult{
		VMID: "vm-1", Environment: req.Environment, ExecutionMode: api.GuestGVisor, Command: req.Command, DurationMS: 5,
		Cleanup: &api.Cleanup{Deleted: true, Reason: "post_exec_cleanup", VMID: "vm-1"},
	}
	s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "create", Environment: req.Environment})
	s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "start", Environment: req.Environment, VMID: "vm-1"})
	s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "execute", Environment: req.Environment, VMID: "vm-1"})
	switch req.Command[0] {
	case "echo":
		s.Write(api.FrameStdout, []byte(strings.Join(req.Command[1:], "|")+"\n"))
	case "git":
		s.Write(api.FrameStdout, []byte("git version 2.39.5\n"))
	case "fail":
		s.Write(api.FrameStderr, []byte("broken\n"))
		res.ExitCode = 3
	case "sleep":
		res.ExitCode, res.Limit = 124, api.Errorf(api.KindTimeout, "the time limit of 30 s ended the command").WithHint("--timeout-seconds 60")
	case "flood":
		for range 64 {
			s.Write(api.FrameStdout, bytes.Repeat([]byte("x"), 1<<16))
		}
	case "crash":
		s.WriteJSON(api.FrameError, api.Errorf(api.KindSandboxDied, "the sandbox ended"))
		return
	case "cat", "trap":
		res.ExitCode = converse(s)
	}
	s.WriteJSON(api.FrameResult, res)
}

// converse sends stdin back and tells the signals it gets; the end of stdin or
// TERM ends it.
func converse(s clienttest.Stream) int {
	for {
		t, p, err := s.Next()
		if err != nil || t == api.FrameStdinEOF {
			return 0
		}
		if t == api.FrameSignal {
			s.Write(api.FrameStdout, p)
			if bytes.Contains(p, []byte("TERM")) {
				return 143
			}
		}
		if t == api.FrameStdin {
			s.Write(api.FrameStdout, p)
		}
	}
}

const (
	phases = "[run] phase=create environment=debian:12\n[run] phase=start vm_id=vm-1\n[run] phase=execute vm_id=vm-1\n"
	ended  = "[run] environment=debian:12 execution_mode=guest_gvisor exit_code=%d duration_ms=5\n"
)

func endedWith(code string) string { return strings.Replace(ended, "%d", code, 1) }

func TestCommands(t *testing.T) {
	t.Setenv("TZ", "UTC")
	stamp := expires.Local().Format(time.RFC3339)
	dirs := scene(t)
	for _, tt := range []struct {
		args string
		want run
	}{
		{"--version", run{0, "pyro " + api.Version + "\n", ""}},
		{"version", run{0, "pyro " + api.Version + "\n", ""}},
		{"vm status vm-1", run{0, "VM: vm-1\nEnvironment: debian:12\nState: started\nExecution mode: guest_gvisor\n" +
			"Resources: vcpu_count=1 mem_mib=1024 disk_mib=8192 pid_limit=512\nNetwork: no\nTTL: 600 s, until " + stamp + "\nMemory in use: 3.0MiB\n", ""}},
		{"vm status vm-9", run{125, "", "pyro: VM vm-9 does not exist\nhint: pyro vm list\n"}},
		{"vm list", run{0, "VM_ID  ENVIRONMENT  STATE    EXECUTION_MODE  EXPIRES\nvm-1   debian:12    started  guest_gvisor    " + stamp + "\n", ""}},
		{"vm delete vm-1", run{0, "Deleted: vm-1 (deleted)\n", ""}},
		{"vm network-info vm-1", run{0, "VM: vm-1\nNetwork: no\nDetail: no network\n", ""}},
		{"vm reap-expired", run{0, "Removed: 1\nvm-2\n", ""}},
		{"env list", run{0, "Catalog version: 2.8.0\ndebian:12 [installed] Debian 12 with git\ndebian:12-base [not installed] Debian 12\n", ""}},
		{"env pull debian:12", run{
			0, "Pulled: debian:12\nSource: http://mirror.example/debian\nDigest: sha256:abc\nSize: 1.5KiB (1536 bytes)\n",
			"[pull] phase=install environment=debian:12\n[pull] phase=download environment=debian:12\n[pull] phase=ready environment=debian:12\n",
		}},
		{"env pull broken", run{125, "", "pyro: mirror does not answer\nhint: try again\n"}},
		{"env inspect debian:12", run{0, "Environment: debian:12\nVersion: 1\nInstalled: yes\nSource: http://mirror.example/debian\nDigest: sha256:abc\nSize: 1.5KiB (1536 bytes)\n" +
			"Path: /p\nVerified: yes, the image matches its digest\nPackages: 1\n  git  1:2.39  amd64\n", ""}},
		{"env prune", run{0, "Removed: blob sha256:1 (2.0KiB)\nFreed: 2.0KiB (2048 bytes)\n", ""}},
		{"env import mine /rootfs.tar", run{0, "Imported: mine\nSource: /rootfs.tar\n", ""}},
		{"daemon status", run{0, "Background process: running\nPID: 7\nVersion: 2.8.0\nStarted: -\nRootless: no\nSandboxes: 1\nCalls: 0\nSocket: /s\nLog file: /l\nState: /st\nCache: /c\n", ""}},
		{"daemon stop --force", run{0, "Stopped: background process (pid 7)\n", ""}},
		{"doctor", run{0, "Platform: linux/amd64\nRuntime: PASS\nKVM: exists=yes readable=no writable=no\nEnvironment cache: /c\n" +
			"Capabilities: vm_boot=yes guest_exec=yes guest_network=yes\nNetworking: tun=yes ip_forward=no\n" +
			"vm: FAIL no KVM (hint: turn it on)\ngvisor: PASS\nhost kvm: FAIL missing (hint: get one)\nhost vsock: PASS could be (hint: load it)\n", ""}},
		{"run debian:12 -- echo a --json b", run{0, "a|--json|b\n", phases + endedWith("0")}},
		{"run debian:12 echo a --json b", run{0, "a|--json|b\n", phases + endedWith("0")}},
		{"run --network debian:12 --mem-mib 64 echo a", run{0, "a\n", phases + endedWith("0")}},
		{"run -- debian:12 echo -- a", run{0, "--|a\n", phases + endedWith("0")}},
		{"run debian:12 -- fail", run{3, "", phases + "broken\n" + endedWith("3")}},
		{"run debian:12 -- sleep", run{124, "", phases + endedWith("124") + "pyro: the time limit of 30 s ended the command\nhint: --timeout-seconds 60\n"}},
		{"run debian:12 -- crash", run{125, "", phases + "pyro: the sandbox ended\n"}},
		{"vm exec vm-1 -- echo a", run{0, "a\n", "[vm-exec] phase=create\n[vm-exec] phase=start vm_id=vm-1\n[vm-exec] phase=execute vm_id=vm-1\n" +
			"[vm-exec] environment= execution_mode=guest_gvisor exit_code=0 duration_ms=5\n"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			got := pyro(t, dirs, nil, strings.Fields(tt.args)...)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(run{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUsageErrors(t *testing.T) {
	dirs := clienttest.Dirs(t) // nobody listens: a usage error asks nobody
	for args, want := range map[string]string{
		"run":                                  "pyro: argument ENV (environment name, see pyro env list) is missing\nhint: pyro run debian:12 -- git --version\n",
		"run debian:12":                        "pyro: no command given\nhint: pyro run debian:12 -- git --version\n",
		"run debian:12 --":                     "pyro: no command given\nhint: pyro run debian:12 -- git --version\n",
		"run --bogus":                          "pyro: unknown flag --bogus for pyro run\nhint: pyro run --help\n",
		"run debian:12 --bogus -- true":        "pyro: unknown flag --bogus for pyro run\nhint: pyro run --help\n",
		"run debian:12 --mem-mib":              "pyro: flag --mem-mib needs a value\nhint: pyro run --help\n",
		"run debian:12 --mem-mib lots true":    "pyro: --mem-mib is \"lots\", a whole number is needed\nhint: pyro run --help\n",
		"run debian:12 --mem-mib 0 true":       "pyro: --mem-mib is 0, at least 1 is needed\nhint: leave it out for the default\n",
		"run debian:12 --vcpu-count 0 true":    "pyro: --vcpu-count is 0, at least 1 is needed\nhint: leave it out for the default\n",
		"run --timeout-seconds=0 debian:12 a":  "pyro: --timeout-seconds is 0, at least 1 is needed\nhint: leave it out for the default\n",
		"vm exec vm-1 --timeout-seconds 0 a":   "pyro: --timeout-seconds is 0, at least 1 is needed\nhint: leave it out for the default\n",
		"run debian:12 --mem-mib=-5 true":      "pyro: --mem-mib is -5, at least 1 is needed\nhint: leave it out for the default\n",
		"run debian:12 --runtime docker true":  "pyro: --runtime is \"docker\"\nhint: use one of: auto, vm, gvisor\n",
		"run debian:12 --network=perhaps true": "pyro: --network is \"perhaps\"\nhint: use true or false\n",
		"vm status vm-1 vm-2":                  "pyro: unexpected argument \"vm-2\" for pyro vm status\nhint: pyro vm status --help\n",
		"vm list x":                            "pyro: unexpected argument \"x\" for pyro vm list\nhint: pyro vm list --help\n",
		"vm lst":                               "pyro: unknown command \"lst\" for pyro vm\nhint: pyro vm list\n",
		"bogus":                                "pyro: unknown command \"bogus\" for pyro\nhint: pyro --help\n",
		"vm list -x":                           "pyro: unknown flag -x for pyro vm list\nhint: pyro vm list --help\n",
		"workspace lst":                        "pyro: unknown command \"lst\" for pyro workspace\nhint: pyro workspace list\n",
		"workspace sync pull":                  "pyro: unknown command \"pull\" for pyro workspace sync\nhint: pyro workspace sync push\n",
		"workspace snapshot creat ws-1 a":      "pyro: unknown command \"creat\" for pyro workspace snapshot\nhint: pyro workspace snapshot create\n",
		"workspace snapshot create ws-1":       "pyro: argument NAME (name of the snapshot: 1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit) is missing\nhint: pyro workspace snapshot create ws-0123456789ab before-refactoring\n",
		"workspace export ws-1 dist":           "pyro: flag --output (host path to make, which must not exist; on the command line - writes a tar to stdout) is missing\nhint: pyro workspace export ws-0123456789ab dist --output ./dist\n",
		"workspace export ws-1 d --output=":    "pyro: --output is empty, a path is needed\nhint: pyro workspace export --help\n",
		"workspace create e --ttl-seconds=-1":  "pyro: --ttl-seconds is -1, at least 0 is needed\nhint: leave it out for the default\n",
		"workspace create e --seed-path=":      "pyro: --seed-path is empty, a path is needed\nhint: pyro workspace create --help\n",
		"demo now":                             "pyro: unexpected argument \"now\" for pyro demo\nhint: pyro demo --help\n",
	} {
		t.Run(args, func(t *testing.T) {
			got := pyro(t, dirs, nil, strings.Fields(args)...)
			if diff := cmp.Diff(run{2, "", want}, got, cmp.AllowUnexported(run{})); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, args := range []string{"vm list --json x", "vm status --bogus --json", "run --json debian:12", "workspace export ws-1 dist --output - --json"} {
		got := pyro(t, dirs, nil, strings.Fields(args)...)
		if e := api.UnmarshalError([]byte(got.stdout)); got.code != 2 || got.stderr != "" || e == nil || e.Kind != api.KindUsage {
			t.Errorf("%s: got %+v", args, got)
		}
	}
}

func TestFlagsReachTheRequest(t *testing.T) {
	dirs := scene(t)
	for args, want := range map[string]api.VM{
		"vm create debian:12 --json": {VCPUCount: 1, MemMiB: 1024, DiskMiB: 8192, PIDLimit: 512, TTLSeconds: 600, ExecutionMode: "auto"},
		"vm create --json --vcpu-count 2 debian:12 --mem-mib=64 --disk-mib 100 --pid-limit 20 --ttl-seconds 5 --network --runtime gvisor": {
			VCPUCount: 2, MemMiB: 64, DiskMiB: 100, PIDLimit: 20, TTLSeconds: 5, Network: true, ExecutionMode: "gvisor",
		},
	} {
		got := pyro(t, dirs, nil, strings.Fields(args)...)
		var vm api.VM
		if err := json.Unmarshal([]byte(got.stdout), &vm); err != nil || got.code != 0 {
			t.Fatalf("%s: %v %+v", args, err, got)
		}
		want.VMID, want.Environment, want.State = "vm-1", "debian:12", api.VMCreated
		if diff := cmp.Diff(want, vm); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
	}
}

func TestHostPathsAreMadeAbsolute(t *testing.T) {
	dirs := scene(t)
	t.Chdir(t.TempDir())
	wd, _ := os.Getwd()
	if got := pyro(t, dirs, nil, "env", "import", "mine", "./rootfs.tar"); got.stdout != "Imported: mine\nSource: "+wd+"/rootfs.tar\n" {
		t.Errorf("got %+v", got)
	}
}

// TestJSONIsOneDocument checks the promise of --json for every row.
func TestJSONIsOneDocument(t *testing.T) {
	dirs := scene(t)
	for _, op := range api.Operations() {
		if op.CLI == "" {
			continue
		}
		words := strings.Fields(strings.TrimPrefix(op.Example, "pyro "))
		n := len(strings.Fields(op.CLI))
		args := append(append(append([]string{}, words[:n]...), "--json"), words[n:]...)
		got := pyro(t, dirs, nil, args...)
		dec := json.NewDecoder(strings.NewReader(got.stdout))
		var doc map[string]any
		if err := dec.Decode(&doc); err != nil {
			t.Errorf("%q: %v in %q", args, err, got.stdout)
		}
		if _, err := dec.Token(); err != io.EOF {
			t.Errorf("%q: more than one document in %q", args, got.stdout)
		}
		if strings.Contains(got.stderr, "pyro:") || got.code == 2 {
			t.Errorf("%q: exit code %d, stderr %q", args, got.code, got.stderr)
		}
	}
}

func TestRunJSON(t *testing.T) {
	dirs := scene(t)
	got := pyro(t, dirs, nil, "run", "debian:12", "--json", "--", "fail")
	var res api.ExecResult
	if err := json.Unmarshal([]byte(got.stdout), &res); err != nil || got.code != 3 || res.ExitCode != 3 || res.Stderr != "broken\n" || got.stderr != "" {
		t.Errorf("got %+v, %v", got, err)
	}
	got = pyro(t, dirs, nil, "run", "debian:12", "--json", "--", "flood")
	if err := json.Unmarshal([]byte(got.stdout), &res); err != nil || !res.StdoutTruncated || !strings.Contains(res.Stdout, "bytes left out") || len(res.Stdout) > api.MaxOutput+100 {
		t.Errorf("a flood gives %d bytes, truncated %v, %v", len(res.Stdout), res.StdoutTruncated, err)
	}
	got = pyro(t, dirs, nil, "run", "debian:12", "--json", "--", "crash")
	if e := api.UnmarshalError([]byte(got.stdout)); got.code != 125 || e == nil || e.Kind != api.KindSandboxDied || got.stderr != "" {
		t.Errorf("got %+v", got)
	}
}

func TestDemo(t *testing.T) {
	want := run{0, `{
  "cleanup": {
    "deleted": true,
    "reason": "post_exec_cleanup",
    "vm_id": "vm-1"
  },
  "command": [
    "git",
    "--version"
  ],
  "environment": "debian:12",
  "execution_mode": "guest_gvisor",
  "exit_code": 0,
  "stdout": "git version 2.39.5\n"
}
`, strings.ReplaceAll(phases+endedWith("0"), "[run]", "[demo]")}
	got := pyro(t, scene(t), nil, "demo", "--network")
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(run{})); diff != "" {
		t.Error(diff)
	}
}

func TestStdin(t *testing.T) {
	dirs := scene(t)
	if got := pyro(t, dirs, strings.NewReader("hello\n"), "run", "debian:12", "cat"); got.stdout != "hello\n" {
		t.Errorf("text: got %+v", got)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if got := pyro(t, dirs, null, "run", "debian:12", "cat"); got.stdout != "" || got.code != 0 {
		t.Errorf("/dev/null: got %+v", got)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() { io.WriteString(w, "through a pipe"); w.Close() }()
	if got := pyro(t, dirs, r, "run", "debian:12", "cat"); got.stdout != "through a pipe" {
		t.Errorf("pipe: got %+v", got)
	}
}

// signaled runs a command line and sends signals as the writes to its stdout
// and stderr go on: next gets all that was written until now.
func signaled(t *testing.T, dirs paths.Dirs, next func(written string, send func(os.Signal)), args ...string) run {
	t.Helper()
	signals := make(chan os.Signal, 8)
	w := &watchedWriter{next: func(s string) { next(s, func(sig os.Signal) { signals <- sig }) }}
	stdin, end := io.Pipe()
	defer end.Close()
	code := cli.Main(args, cli.Program{Stdin: stdin, Stdout: w, Stderr: w, Env: clienttest.Env(dirs), Signals: signals})
	return run{code: code, stdout: w.all.String()}
}

type watchedWriter struct {
	all  strings.Builder
	next func(string)
}

func (w *watchedWriter) Write(p []byte) (int, error) {
	w.all.Write(p)
	w.next(w.all.String())
	return len(p), nil
}

func TestSignalsGoToTheCommand(t *testing.T) {
	got := signaled(t, scene(t), func(written string, send func(os.Signal)) {
		switch {
		case strings.HasSuffix(written, "phase=execute vm_id=vm-1\n"):
			send(syscall.SIGINT)
		case strings.HasSuffix(written, `{"signal":"INT"}`):
			send(syscall.SIGTERM)
		}
	}, "run", "debian:12", "trap")
	if got.code != 143 || !strings.Contains(got.stdout, `{"signal":"INT"}{"signal":"TERM"}`) {
		t.Errorf("got %+v", got)
	}
}

func TestThreeInterruptsEndPyro(t *testing.T) {
	got := signaled(t, scene(t), func(written string, send func(os.Signal)) {
		if strings.HasSuffix(written, "phase=execute vm_id=vm-1\n") || strings.HasSuffix(written, `{"signal":"INT"}`) {
			send(syscall.SIGINT)
		}
	}, "run", "debian:12", "trap")
	if got.code != 130 || strings.Count(got.stdout, `{"signal":"INT"}`) != 2 || !strings.HasSuffix(got.stdout, "pyro: interrupted by interrupt\n") {
		t.Errorf("got %+v", got)
	}
}

func TestASignalBeforeTheCommandEndsPyro(t *testing.T) {
	dirs := clienttest.Dirs(t)
	gone := make(chan struct{})
	(&clienttest.Server{
		Exec: map[string]func(context.Context, []byte, clienttest.Stream){"run_in_vm": func(_ context.Context, _ []byte, s clienttest.Stream) {
			defer close(gone)
			s.WriteJSON(api.FramePull, api.Progress{Phase: "download", Environment: "debian:12"})
			for {
				if _, _, err := s.Next(); err != nil {
					return
				}
			}
		}},
		Events: map[string]func(context.Context, []byte, func(any)) (any, error){"pull_environment": func(ctx context.Context, _ []byte, emit func(any)) (any, error) {
			emit(api.Progress{Phase: "download", Environment: "debian:12"})
			<-ctx.Done()
			return nil, ctx.Err()
		}},
	}).Start(t, dirs)
	interrupt := func(_ string, send func(os.Signal)) { send(syscall.SIGTERM) }
	if got := signaled(t, dirs, interrupt, "run", "debian:12", "true"); got.code != 143 {
		t.Errorf("run: got %+v", got)
	}
	<-gone
	if got := signaled(t, dirs, interrupt, "env", "pull", "debian:12"); got.code != 143 {
		t.Errorf("env pull: got %+v", got)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestStdoutThatTakesNothing(t *testing.T) {
	dirs := scene(t)
	for _, tt := range []struct {
		stdout io.Writer
		args   string
		code   int
		stderr string
	}{
		{brokenPipe{}, "run debian:12 flood", 141, phases},
		{brokenPipe{}, "vm list", 141, ""},
		{fullDisk{}, "run debian:12 flood", 125, phases + "pyro: output: no space left on device\nhint: the command was ended because its output could not be written\n"},
		{fullDisk{}, "vm list", 125, "pyro: stdout: no space left on device\nhint: see that stdout can be written\n"},
	} {
		if code, stderr := mainTo(dirs, tt.stdout, strings.Fields(tt.args)...); code != tt.code || stderr != tt.stderr {
			t.Errorf("%s: exit code %d, stderr %q", tt.args, code, stderr)
		}
	}
}

// mainTo runs a command line with a stdout of its own.
func mainTo(dirs paths.Dirs, stdout io.Writer, args ...string) (code int, stderr string) {
	var talk bytes.Buffer
	code = cli.Main(args, cli.Program{Stdout: stdout, Stderr: &talk, Env: clienttest.Env(dirs), Signals: make(chan os.Signal)})
	return code, talk.String()
}
