package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/client/clienttest"
	"pyro/internal/cli"
	"pyro/internal/reference"
)

// TestMain lets the test binary be pyro, for tests that need a process. When a
// client starts it as the background process it dies at once.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "daemon" {
		os.Stderr.WriteString("no background process here\n")
		os.Exit(1)
	}
	if os.Getenv("CLI_TEST_PYRO") != "" {
		os.Exit(cli.Main(os.Args[1:], cli.Program{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
	}
	os.Exit(m.Run())
}

func TestReferenceIsFresh(t *testing.T) {
	dir := filepath.Join("..", "..", "docs", "reference")
	files := reference.Files(map[string]string{"cli.md": cli.Reference()})
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is stale, run go generate ./internal/cli:\n%s", name, diff)
		}
	}
	present, err := filepath.Glob(dir + "/*.md")
	if err != nil || len(present) != len(files) {
		t.Errorf("the folder holds %q, want %q, %v", present, slices.Sorted(maps.Keys(files)), err)
	}
}

func TestDocsGenerate(t *testing.T) {
	out := t.TempDir() + "/ref"
	if got := pyro(t, clienttest.Dirs(t), nil, "docs", "generate", out); got.code != 0 {
		t.Fatalf("got %+v", got)
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) != 5 {
		t.Errorf("got %v, %v", entries, err)
	}
}

func TestHelp(t *testing.T) {
	dirs := clienttest.Dirs(t)
	for args, want := range map[string][]string{
		"":                          {"pyro runs commands", "run ", "vm ", "env ", "doctor", "demo", "help for pyro"},
		"vm":                        {"VMs that live for one command", "create", "reap-expired"},
		"run --help":                {"pyro run ENV [flags] -- CMD...", "--vcpu-count N", "(default 1024)", "auto, vm, gvisor", "pyro run debian:12 -- git --version"},
		"run debian:12 --help":      {"pyro run ENV [flags] -- CMD..."},
		"workspace":                 {"baseline", "create", "snapshot", "Snapshots: states", "sync", "Put later content", "| git apply"},
		"workspace sync":            {"Put later content of the host into a workspace", "push"},
		"workspace snapshot":        {"survives every reset", "create", "list", "delete", "--from before"},
		"help workspace sync push":  {"pyro workspace sync push WORKSPACE_ID SRC [flags]", "--dest DEST", "  WORKSPACE_ID  id of the workspace\n  SRC           folder"},
		"workspace export --help":   {"pyro workspace export WORKSPACE_ID PATH --output OUTPUT [flags]"},
		"__complete workspace snap": {"snapshot\t"},
		"help exit-codes":           {"124", "the time limit ended the command", "128+n"},
		"help errors":               {"not_found", "exit 125", "The named object does not exist."},
		"completion bash":           {"__start_pyro"},
		"__complete vm st":          {"start\t", "status\t", "stop\t"},
	} {
		got := pyro(t, dirs, nil, strings.Fields(args)...)
		if got.code != 0 {
			t.Errorf("%q: got %+v", args, got)
		}
		for _, text := range want {
			if !strings.Contains(got.stdout, text) {
				t.Errorf("%q: %q is missing in\n%s", args, text, got.stdout)
			}
		}
	}
}

// TestExamplesParse checks that the example of each row is a command line that
// gets as far as calling the operation.
func TestExamplesParse(t *testing.T) {
	for _, op := range api.Operations() {
		dirs := clienttest.Dirs(t)
		refuse := map[string]error{}
		for _, other := range api.Operations() {
			refuse[other.Name] = errors.New("asked for " + other.Name)
		}
		(&clienttest.Server{Refuse: refuse}).Start(t, dirs)
		got := pyro(t, dirs, nil, strings.Fields(op.Example)[1:]...)
		if !strings.Contains(got.stdout+got.stderr, "asked for "+op.Name) {
			t.Errorf("%s: %q gives %+v", op.Name, op.Example, got)
		}
	}
}

// TestDoctorWithoutABackgroundProcess checks that doctor speaks when nothing works.
func TestDoctorWithoutABackgroundProcess(t *testing.T) {
	dirs := clienttest.Dirs(t)
	got := pyro(t, dirs, nil, "doctor")
	if got.code != 125 {
		t.Errorf("exit code %d", got.code)
	}
	for _, text := range []string{
		"Platform: linux/", "Runtime: FAIL\n", "KVM: exists=", "Environment cache: " + dirs.Cache + "\n",
		"Capabilities: vm_boot=no guest_exec=no guest_network=no\n", "Networking: tun=", "\ngvisor: FAIL the background process ended at once: no background process here (hint: ",
	} {
		if !strings.Contains(got.stdout, text) {
			t.Errorf("%q is missing in\n%s", text, got.stdout)
		}
	}
	got = pyro(t, dirs, nil, "doctor", "--json")
	var report api.DoctorReport
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.code != 125 || report.OK || len(report.Runtimes) != 3 || len(report.Checks) == 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDaemonStatusWithoutOne(t *testing.T) {
	dirs := clienttest.Dirs(t)
	for _, args := range []string{"daemon status", "daemon stop"} {
		got := pyro(t, dirs, nil, strings.Fields(args)...)
		if got.code != 0 || !strings.HasPrefix(got.stdout, "Background process: not running\nSocket: "+dirs.Socket()) {
			t.Errorf("%s: got %+v", args, got)
		}
	}
}

func TestDaemonRun(t *testing.T) {
	var stderr strings.Builder
	p := cli.Program{Stdout: &stderr, Stderr: &stderr, Env: clienttest.Env(clienttest.Dirs(t)), Signals: make(chan os.Signal)}
	if code := cli.Main([]string{"daemon", "run"}, p); code != 125 || !strings.Contains(stderr.String(), "no background process") {
		t.Errorf("without one: %d, %s", code, stderr.String())
	}
	p.RunDaemon = func(ctx context.Context, ready func(error)) error { ready(nil); return nil }
	if code := cli.Main([]string{"daemon", "run"}, p); code != 0 {
		t.Errorf("exit code %d", code)
	}
	p.RunDaemon = func(context.Context, func(error)) error { return api.Errorf(api.KindConflict, "taken") }
	if code := cli.Main([]string{"daemon", "run"}, p); code != 125 {
		t.Errorf("exit code %d", code)
	}
}
