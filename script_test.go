// Package pyro_test tests the program pyro the way its users run it.
//
// Every file of testdata/script is one test: commands as they are typed, and
// what they must answer. The scripts run the real bin/pyro (make build) against
// real sandboxes. Each has a state folder, a configuration folder, a HOME and a
// TMPDIR of its own; the cache of environments is shared, so that debian:12 is
// installed once in a run. When a script has ended its background process is
// stopped, and anything of the script that is left on the host, be it a
// process, a mount, a socket or a file, fails it.
//
// # Variables
//
//	PYRO_BIN             the program under test, ./bin/pyro by default
//	PYRO_TEST_CACHE_DIR  a cache of environments that outlives the run
//	PYRO_CRASH_ROUNDS    how often TestWorkspaceFaults kills something (24)
//	PYRO_TEST_KEEP       if set, the folders of scripts that fail are kept
//
// # Commands
//
// Beyond those of testscript (go doc github.com/rogpeppe/go-internal/testscript):
//
//	environment NAME            have the environment in the shared cache
//	exits CODE PROGRAM ARG...   run the program, which must end with exactly CODE
//	[!] json FILE PATH [VALUE]  FILE (or stdout, stderr) is one JSON document in
//	                            which PATH (limit.kind, vms.0.state, vms.len for the
//	                            length) exists and is VALUE, or matches ~REGEXP
//	[!] retry PROGRAM ARG...    run the program until it succeeds (! fails)
//	kill9daemon                 kill the background process and wait until it is gone
//	daemon-memory-below MIB     the background process never used more memory
//	no-sandboxes                no process but the background process is left
//	memory-is-private           no sandbox has the memory of another one open
//	listen NAME                 listen on loopback, the port is in $NAME
//	registry NAME               start an OCI registry in memory, its address is in $NAME
//	docker-registry NAME        start Debian's docker-registry, its address is in $NAME
//	oci-push REFERENCE TAR...   push an image of these layers; $DIGEST is its digest
//	break-blobs                 damage every downloaded blob of the cache
//	unreached NAME              nobody has connected to that port
//	older-disks WORKSPACE       what it has saved looks as if an older pyro had done it
//
// Those about workspaces:
//
//	workspace NAME ENV ARG...   create a workspace; $NAME is its id
//	let NAME FILE [PATH]        $NAME is what json finds in FILE at PATH, or all of FILE
//	[!] guest WORKSPACE FILE    run the shell script FILE in the workspace
//	fingerprint WORKSPACE FILE  describe every file of the workspace's disk in FILE
//	saved WORKSPACE             wait until what its commands have written is saved
//	kill9sandbox WORKSPACE      kill its sandbox and wait until it is gone
//	flip-byte PATTERN           damage the one file that matches
//	zstd FILE                   compress FILE to FILE.zst
//	refuses-archives PROGRAM ARG...
//	                            run the program with hostile archives in the place of
//	                            the argument {}; it must refuse each and name the entry
//	example NAME ARG...         run examples/NAME/walkthrough.sh
//
// # Conditions
//
//	[root] [user]   who runs the test
//	[vm] [gvisor]   pyro doctor says that the runtime works
//	[onvm]          the script runs on microVMs
package pyro_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"pyro/api"
)

func TestScripts(t *testing.T) {
	h := newHarness(t)
	before := cgroups(t)
	t.Cleanup(func() { checkShared(t, h, before) })
	t.Setenv("GOTMPDIR", h.dir) // where testscript makes $WORK; it keeps it with -run
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		Setup:              h.setup,
		Condition:          h.condition,
		Cmds:               h.commands(),
		RequireUniqueNames: true,
	})
}

// onVM are the scripts that are run on microVMs too, with what it costs in mind:
// where there is no KVM they are emulated, twenty times slower. Those that are not
// listed are about what no runtime has a part in, or about gVisor itself; what they
// say of limits and isolation the suite of the drivers says of both. True are those
// that run without root as well.
var onVM = map[string]bool{
	"run_exit": true, "run_stdin": false, "run_output": false, "vm": false, "vm_kernel": true,
	"network": true, "workspace_network": true, "workspace_publish": false,
	"shell": false, "service": false,
	"workspace_exec": true, "workspace_logs": false, "workspace_seed": false, "workspace_push": false, "workspace_diff": false,
	"workspace_snapshots": true, "workspace_reset": false, "workspace_durability": false,
	"workspace_export": false, "workspace_damage": false, "workspace_ttl": false,
	"workspace_walkthrough": true,
}

// TestScriptsOnVM runs scripts with PYRO_RUNTIME=vm.
func TestScriptsOnVM(t *testing.T) {
	h := newHarness(t)
	h.runtime = string(api.RuntimeVM)
	if err := h.install("kernel:debian-12"); err != nil {
		t.Skipf("the kernel of microVMs cannot be had: %v", err)
	}
	if !h.runtimes()[h.runtime] {
		t.Skip("pyro doctor says that microVMs do not run here; they need QEMU: apt-get install --no-install-recommends qemu-system-x86")
	}
	var files []string
	for _, name := range slices.Sorted(maps.Keys(onVM)) {
		if os.Geteuid() != 0 && !onVM[name] && os.Getenv("PYRO_TEST_ALL") == "" {
			t.Run(name, func(t *testing.T) {
				t.Skip("root's run has it; the microVMs of a plain user differ in how QEMU is started, which others show: PYRO_TEST_ALL=1 runs it too")
			})
			continue
		}
		files = append(files, filepath.Join("testdata", "script", name+".txtar"))
	}
	t.Setenv("GOTMPDIR", h.dir)
	testscript.Run(t, testscript.Params{
		Files: files, Setup: h.setup, Condition: h.condition, Cmds: h.commands(), RequireUniqueNames: true,
	})
}

// passedOn are the variables of the test's environment that pyro sees too: how
// to reach the Debian archive from this machine.
var passedOn = []string{
	"PYRO_VM_NO_KVM", "PYRO_DEBIAN_MIRROR", "PYRO_DEBIAN_SECURITY_MIRROR",
	"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
}

// harness is what all scripts share.
type harness struct {
	dir      string // short, for the sockets below it; one folder for each script
	cache    string // of environments
	scripts  atomic.Int32
	runtime  string                 // what --runtime auto stands for; "" for its own choice
	runtimes func() map[string]bool // what pyro doctor says, asked once

	mu           sync.Mutex
	environments map[string]func() error // installs one, once
}

func newHarness(tb testing.TB) *harness {
	tb.Helper()
	h := &harness{dir: shortDir(tb), environments: map[string]func() error{}}
	bin := filepath.Join(h.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.Symlink(program(tb), filepath.Join(bin, "pyro")); err != nil {
		tb.Fatal(err)
	}
	h.cache = os.Getenv("PYRO_TEST_CACHE_DIR")
	if h.cache == "" {
		h.cache = filepath.Join(h.dir, "cache")
	}
	h.runtimes = sync.OnceValue(func() map[string]bool { return h.doctor(tb) })
	return h
}

// program finds the program under test.
func program(tb testing.TB) string {
	tb.Helper()
	path := os.Getenv("PYRO_BIN")
	if path == "" {
		path = filepath.Join("bin", "pyro")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		tb.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode()&0o111 == 0 {
		tb.Fatalf("%s is not a program: run make build, or set PYRO_BIN", path)
	}
	return path
}

// shortDir makes a folder whose path leaves room for sockets below it: the
// address of a unix socket has 108 bytes.
func shortDir(tb testing.TB) string {
	tb.Helper()
	root := os.TempDir()
	if len(root) > 24 {
		root = "/tmp"
	}
	dir, err := os.MkdirTemp(root, "py")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() && os.Getenv("PYRO_TEST_KEEP") != "" {
			tb.Logf("kept: %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("the test's folder cannot be removed: %v", err)
		}
	})
	return dir
}

// env is the environment of a script whose folder is dir. It is complete:
// scripts inherit nothing else.
func (h *harness) env(dir string) []string {
	env := []string{
		"PATH=" + filepath.Join(h.dir, "bin") + ":" + os.Getenv("PATH"),
		"HOME=" + filepath.Join(dir, "home"),
		"TMPDIR=" + filepath.Join(dir, "tmp"),
		"PYRO_STATE_DIR=" + filepath.Join(dir, "s"),
		"PYRO_CONFIG_DIR=" + filepath.Join(dir, "c"),
		"PYRO_CACHE_DIR=" + h.cache,
		"LC_ALL=C.UTF-8",
	}
	if h.runtime != "" {
		env = append(env, "PYRO_RUNTIME="+h.runtime)
	}
	for _, name := range passedOn {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// scriptDir makes the folders of one script.
func (h *harness) scriptDir() (string, error) {
	dir := filepath.Join(h.dir, strconv.Itoa(int(h.scripts.Add(1))))
	for _, sub := range []string{"home", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// setup prepares one script and sees to it that nothing of it stays.
func (h *harness) setup(e *testscript.Env) error {
	dir, err := h.scriptDir()
	if err != nil {
		return err
	}
	env := h.env(dir)
	e.Vars = append(e.Vars, env...)
	e.Values[scriptKey{}] = &script{dir: dir, listeners: map[string]*listener{}}
	tb := e.T().(testing.TB)
	tb.Cleanup(func() { h.finish(tb, dir, env) })
	return nil
}

// script is what the commands of one script share.
type script struct {
	dir       string
	listeners map[string]*listener
}

type scriptKey struct{}

func scriptOf(ts *testscript.TestScript) *script { return ts.Value(scriptKey{}).(*script) }

// finish stops the background process of a script and reports what is left.
func (h *harness) finish(tb testing.TB, dir string, env []string) {
	if out, err := h.pyro(env, "daemon", "stop", "--force"); err != nil {
		tb.Errorf("pyro daemon stop --force: %v\n%s", err, out)
	}
	for _, left := range leftovers(dir, 10*time.Second) {
		tb.Errorf("left behind: %s", left)
	}
	if tb.Failed() {
		tb.Logf("end of the log of the background process:\n%s", tail(filepath.Join(dir, "s", "daemon.log"), 8<<10))
	}
	removeLeftovers(tb, dir)
}

// pyro runs the program under test outside of a script.
func (h *harness) pyro(env []string, args ...string) ([]byte, error) {
	cmd := exec.Command(filepath.Join(h.dir, "bin", "pyro"), args...)
	cmd.Env = env
	return cmd.CombinedOutput()
}

// condition answers the conditions of the package comment.
func (h *harness) condition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Getuid() == 0, nil
	case "user":
		return os.Getuid() != 0, nil
	case "onvm":
		return h.runtime == string(api.RuntimeVM), nil
	case "vm", "gvisor":
		return h.runtimes()[name], nil
	}
	return false, fmt.Errorf("unknown condition")
}

// doctor asks which runtimes work. The kernel of microVMs is fetched before: a
// microVM would fetch it when it starts, where doctor only says that it is missing.
func (h *harness) doctor(tb testing.TB) map[string]bool {
	if err := h.install("kernel:debian-12"); err != nil {
		tb.Logf("the kernel of microVMs cannot be had: %v", err)
	}
	dir, err := h.scriptDir()
	if err != nil {
		tb.Error(err)
		return nil
	}
	env := h.env(dir)
	defer h.finish(tb, dir, env)
	cmd := exec.Command(filepath.Join(h.dir, "bin", "pyro"), "doctor", "--json")
	cmd.Env = env
	out, err := cmd.Output()
	var report api.DoctorReport
	if jsonErr := json.Unmarshal(out, &report); jsonErr != nil {
		tb.Errorf("pyro doctor --json: %v, %v\n%s", err, jsonErr, out)
	}
	works := map[string]bool{}
	for _, r := range report.Runtimes {
		works[r.Name] = r.OK
	}
	return works
}

// install has an environment in the shared cache; the first script that needs
// it waits for the work, the others for the first.
func (h *harness) install(name string) error {
	h.mu.Lock()
	once, ok := h.environments[name]
	if !ok {
		once = sync.OnceValue(func() error {
			dir, err := h.scriptDir()
			if err != nil {
				return err
			}
			env := h.env(dir)
			defer h.pyro(env, "daemon", "stop", "--force")
			if out, err := h.pyro(env, "env", "pull", name); err != nil {
				return fmt.Errorf("pyro env pull %s: %w\n%s", name, err, out)
			}
			return nil
		})
		h.environments[name] = once
	}
	h.mu.Unlock()
	return once()
}
