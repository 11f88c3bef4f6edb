package client_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pyro/api"
	"pyro/client"
	"pyro/client/clienttest"
	"pyro/internal/paths"
)

// newClient returns a client whose background process is this test binary. It
// is stopped when the test ends.
func newClient(t *testing.T, dirs paths.Dirs, env ...string) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{Dirs: dirs, Env: append(os.Environ(), env...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := client.Do(context.Background(), c, api.DaemonStop, api.DaemonStopRequest{}); err != nil && api.KindOf(err) != api.KindConflict {
			t.Errorf("stop: %v", err)
		}
	})
	return c
}

func TestManyClientsStartOneProcess(t *testing.T) {
	dirs := clienttest.Dirs(t)
	var wg sync.WaitGroup
	for range 24 {
		wg.Go(func() {
			c := newClient(t, dirs)
			if _, err := client.Do(t.Context(), c, api.ListEnvironments, api.Empty{}); err != nil {
				t.Error(err)
			}
		})
	}
	for range 6 { // and clients that are processes of their own
		wg.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(append(os.Environ(), clienttest.Env(dirs)...), "PYRO_TEST_ROLE=client")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("client process: %v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	notes, err := os.ReadFile(dirs.State + "/notes")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(notes), "start"); n != 1 {
		t.Errorf("%d processes started, want 1:\n%s", n, notes)
	}
}

// TestAProcessStartedByHandIsWaitedFor checks that a client copes with a
// process that holds the lock and does not listen yet.
func TestAProcessStartedByHandIsWaitedFor(t *testing.T) {
	dirs := clienttest.Dirs(t)
	cmd := exec.Command(os.Args[0], "daemon", "run")
	cmd.Env = append(append(os.Environ(), clienttest.Env(dirs)...), "PYRO_TEST_DAEMON=slow")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	for { // until it has the lock
		if _, err := os.Stat(dirs.State + "/notes"); err == nil {
			break
		}
		runtime.Gosched()
	}
	c := newClient(t, dirs)
	if _, err := client.Do(t.Context(), c, api.ListEnvironments, api.Empty{}); err != nil {
		t.Error(err)
	}
	info, err := client.Do(t.Context(), c, api.DaemonStop, api.DaemonStopRequest{})
	if err != nil || info.PID != cmd.Process.Pid {
		t.Errorf("stopped %+v, %v, want pid %d", info, err, cmd.Process.Pid)
	}
}

func TestProcessGetsASelectionOfTheCaller(t *testing.T) {
	t.Setenv("SECRET_TOKEN", "hunter2")
	t.Setenv("https_proxy", "http://proxy.example:3128")
	dirs := clienttest.Dirs(t)
	c := newClient(t, dirs, "PYRO_DEBIAN_MIRROR=http://mirror.example/debian")
	list, err := client.Do(t.Context(), c, api.ListEnvironments, api.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, env := range list.Environments {
		got = append(got, env.Name)
		if strings.Contains(env.Name, "hunter2") {
			t.Errorf("the process got %s", env.Name)
		}
	}
	for _, want := range []string{
		"env:https_proxy=http://proxy.example:3128", "env:PYRO_DEBIAN_MIRROR=http://mirror.example/debian",
		"env:PYRO_STATE_DIR=" + dirs.State, "env:PATH=" + os.Getenv("PATH"),
		"cwd:/", "leader:true", "fd0:/dev/null", "fd1:" + dirs.Log(), "fd2:" + dirs.Log(),
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
}

func TestProcessThatDiesSaysWhy(t *testing.T) {
	for _, tt := range []struct {
		how, message, hint string
		kind               api.Kind
	}{
		{"die", "ended at once: the floor is lava", "daemon.log", api.KindDaemonUnavailable},
		{"refuse", "no floor", "build one", api.KindUnavailable},
	} {
		t.Run(tt.how, func(t *testing.T) {
			c := newClient(t, clienttest.Dirs(t), "PYRO_TEST_DAEMON="+tt.how)
			_, err := client.Do(t.Context(), c, api.ListVMs, api.Empty{})
			e := api.AsError(err)
			if err == nil || e.Kind != tt.kind || !strings.Contains(e.Message, tt.message) || !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func TestStatusAndStopStartNothing(t *testing.T) {
	dirs := clienttest.Dirs(t)
	c := newClient(t, dirs)
	for range 2 {
		info, err := client.Do(t.Context(), c, api.DaemonStatus, api.Empty{})
		if err != nil || info.Running || info.Socket != dirs.Socket() {
			t.Errorf("status: %+v, %v", info, err)
		}
		info, err = client.Do(t.Context(), c, api.DaemonStop, api.DaemonStopRequest{})
		if err != nil || info.Running {
			t.Errorf("stop: %+v, %v", info, err)
		}
	}
	if _, err := os.Stat(dirs.Log()); err == nil {
		t.Error("a process was started")
	}
}

func TestNoStart(t *testing.T) {
	c, err := client.New(client.Options{Dirs: clienttest.Dirs(t), NoStart: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Do(t.Context(), c, api.ListVMs, api.Empty{})
	if api.KindOf(err) != api.KindDaemonUnavailable {
		t.Errorf("got %v", err)
	}
}

func TestAStaleSocketIsNoObstacle(t *testing.T) {
	dirs := clienttest.Dirs(t)
	l, err := clienttest.Listen(dirs)
	if err != nil {
		t.Fatal(err)
	}
	// As after kill -9: the name stays, nobody listens.
	name := dirs.Socket()
	if err := os.Link(name, name+".kept"); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := os.Rename(name+".kept", name); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Do(t.Context(), newClient(t, dirs), api.ListEnvironments, api.Empty{}); err != nil {
		t.Error(err)
	}
}

// otherBuild serves as a process of another build; busy says that it refuses to stop.
func otherBuild(t *testing.T, dirs paths.Dirs, busy bool) {
	t.Helper()
	s := &clienttest.Server{Build: "another"}
	l := s.Start(t, dirs)
	s.Call = map[string]func(context.Context, []byte) (any, error){
		"daemon_stop": func(context.Context, []byte) (any, error) {
			if busy {
				return nil, api.Errorf(api.KindConflict, "2 VMs are running")
			}
			l.Close()
			return api.DaemonInfo{PID: os.Getpid()}, nil
		},
	}
}

func TestIdleProcessOfAnotherBuildIsReplaced(t *testing.T) {
	dirs := clienttest.Dirs(t)
	otherBuild(t, dirs, false)
	c := newClient(t, dirs)
	info, err := client.Do(t.Context(), c, api.ListEnvironments, api.Empty{})
	if err != nil || len(info.Environments) == 0 {
		t.Errorf("got %+v, %v", info, err)
	}
}

func TestBusyProcessOfAnotherBuildIsAConflict(t *testing.T) {
	dirs := clienttest.Dirs(t)
	otherBuild(t, dirs, true)
	_, err := client.Do(t.Context(), newClient(t, dirs), api.ListEnvironments, api.Empty{})
	e := api.AsError(err)
	if e == nil || e.Kind != api.KindConflict || e.Hint != "pyro daemon stop --force" || !strings.Contains(e.Message, "2 VMs are running") {
		t.Errorf("got %+v", e)
	}
}

// TestRootless starts the process as a plain user and looks at its namespaces.
func TestRootless(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	root, err := os.MkdirTemp("", "rootless")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	const user = 65534
	program := filepath.Join(root, "program")
	copyFile(t, os.Args[0], program)
	for _, path := range []string{root, program} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(root, user, user); err != nil {
		t.Fatal(err)
	}
	dirs := paths.Dirs{State: root + "/s", Cache: root + "/c", Config: root + "/f"}
	asUser := func(cmd *exec.Cmd) *exec.Cmd {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		cmd.Dir = root
		return cmd
	}
	if out, err := asUser(exec.Command("unshare", "-Urm", "true")).CombinedOutput(); err != nil {
		t.Skipf("needs user namespaces for plain users: %v %s", err, out)
	}
	cmd := asUser(exec.Command(program))
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "PYRO_TEST_ROLE=client"}, clienttest.Env(dirs)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"uid:0\n", fmt.Sprintf("/proc/self/uid_map:0 %d 1\n", user), "/proc/self/setgroups:deny\n"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	c, err := client.New(client.Options{Dirs: dirs})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := client.Do(t.Context(), c, api.DaemonStop, api.DaemonStopRequest{}); err != nil || !info.Running {
		t.Errorf("stop: %+v, %v", info, err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}
