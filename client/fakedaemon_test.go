package client_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/client"
	"pyro/client/clienttest"
	"pyro/internal/handshake"
	"pyro/internal/paths"
)

// TestMain lets the test binary play two more roles: the background process,
// which clients start as `PROGRAM daemon run`, and a client process.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "daemon" && os.Args[2] == "run" {
		os.Exit(fakeDaemon())
	}
	if os.Getenv("PYRO_TEST_ROLE") == "client" {
		os.Exit(fakeClient())
	}
	os.Exit(m.Run())
}

// fakeDaemon behaves as PYRO_TEST_DAEMON says. It keeps the promises of the
// real one: a lock for its life, a word on the pipe, an end when asked.
func fakeDaemon() int {
	ready := handshake.Speaker(os.Getenv)
	switch os.Getenv("PYRO_TEST_DAEMON") {
	case "die":
		fmt.Fprintln(os.Stderr, "the floor is lava")
		return 1
	case "refuse":
		ready(api.Errorf(api.KindUnavailable, "no floor").WithHint("build one"))
		return 1
	}
	dirs, err := paths.FromEnv(os.Getenv)
	if err != nil {
		return 1
	}
	lock, err := os.OpenFile(dirs.Lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil || unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		ready(api.Errorf(api.KindConflict, "another background process runs"))
		return 1
	}
	note(dirs, fmt.Sprintf("start %d", os.Getpid()))
	wait := 50 * time.Millisecond // so that starters overlap
	if os.Getenv("PYRO_TEST_DAEMON") == "slow" {
		wait = time.Second
	}
	time.Sleep(wait)
	l, err := clienttest.Listen(dirs)
	if err != nil {
		ready(err)
		return 1
	}
	stop := make(chan struct{})
	srv := &http.Server{Handler: &clienttest.Server{Call: map[string]func(context.Context, []byte) (any, error){
		"daemon_status": func(context.Context, []byte) (any, error) { return status(), nil },
		"daemon_stop": func(context.Context, []byte) (any, error) {
			time.AfterFunc(10*time.Millisecond, func() { close(stop) })
			return status(), nil
		},
		"list_environments": func(context.Context, []byte) (any, error) { return surroundings(), nil },
	}}}
	go srv.Serve(l)
	ready(nil)
	select {
	case <-stop:
	case <-time.After(time.Minute): // a test that died must not leave it behind
	}
	srv.Close()
	return 0
}

func status() api.DaemonInfo { return api.DaemonInfo{Running: true, PID: os.Getpid()} }

// surroundings reports what the process was started with, as names of environments.
func surroundings() api.EnvironmentList {
	var list api.EnvironmentList
	add := func(name string) { list.Environments = append(list.Environments, api.Environment{Name: name}) }
	for _, kv := range os.Environ() {
		add("env:" + kv)
	}
	wd, _ := os.Getwd()
	add("cwd:" + wd)
	sid, _ := unix.Getsid(0)
	add(fmt.Sprintf("leader:%v", sid == os.Getpid()))
	add(fmt.Sprintf("uid:%d", os.Getuid()))
	for _, file := range []string{"/proc/self/uid_map", "/proc/self/setgroups"} {
		b, _ := os.ReadFile(file)
		add(file + ":" + strings.Join(strings.Fields(string(b)), " "))
	}
	for fd := range 10 {
		if target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil {
			add(fmt.Sprintf("fd%d:%s", fd, target))
		}
	}
	return list
}

// note appends a line to the file in which the test counts.
func note(dirs paths.Dirs, line string) {
	f, err := os.OpenFile(dirs.State+"/notes", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintln(f, line)
}

// fakeClient makes one call and prints the answer.
func fakeClient() int {
	c, err := client.New(client.Options{})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	list, err := client.Do(context.Background(), c, api.ListEnvironments, api.Empty{})
	if err != nil {
		fmt.Println("error:", err, api.AsError(err).Hint)
		return 1
	}
	for _, env := range list.Environments {
		fmt.Println(env.Name)
	}
	return 0
}
