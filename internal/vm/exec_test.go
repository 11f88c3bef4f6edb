package vm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pyro/api"
	"pyro/internal/sandbox"
)

func TestRunResults(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		argv   []string
		code   int
		stdout string
		limit  string // kind and a part of the message
	}{
		{[]string{"echo", "hello"}, 0, "hello\n", ""},
		{[]string{"sh", "-c", "exit 7"}, 7, "", ""},
		{[]string{"sh", "-c", "kill -9 $$"}, 137, "", ""},
		{[]string{"no-such-command"}, 127, "", `exec_failed command "no-such-command" was not found in environment debian:12`},
		{[]string{"/etc/passwd"}, 126, "", `exec_failed command "/etc/passwd" cannot be executed`},
		{[]string{"cat"}, 0, "input", ""},
	} {
		var out bytes.Buffer
		res, err := w.Run(t.Context(), request(tc.argv...), sandbox.Stdio{Stdin: strings.NewReader("input"), Stdout: &out})
		if err != nil {
			t.Errorf("%q: %v", tc.argv, err)
			continue
		}
		limit := ""
		if res.Limit != nil {
			limit = fmt.Sprint(res.Limit.Kind, " ", res.Limit.Message)
		}
		if res.ExitCode != tc.code || out.String() != tc.stdout || (limit == "") != (tc.limit == "") || !strings.HasPrefix(limit, tc.limit) {
			t.Errorf("%q: %+v, limit %q, stdout %q", tc.argv, res, limit, out.String())
		}
		if !res.Cleanup.Deleted {
			t.Errorf("%q: %+v", tc.argv, res.Cleanup)
		}
	}
	w.assertEmpty(t)
}

func TestTimeout(t *testing.T) {
	w := newWorld(t)
	req := request("sh", "-c", "echo before; sleep 1000")
	req.TimeoutSeconds = 1
	var out bytes.Buffer
	res, err := w.Run(t.Context(), req, sandbox.Stdio{Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if res.ExitCode != 124 || res.Limit == nil || res.Limit.Kind != api.KindTimeout || !strings.Contains(res.Limit.Message, "1 s") ||
		!strings.Contains(res.Limit.Message, res.VMID) || !strings.Contains(res.Limit.Hint, "--timeout-seconds") || out.String() != "before\n" {
		t.Errorf("%+v, limit %+v, stdout %q", res, res.Limit, out.String())
	}
	w.assertEmpty(t)
}

func TestTTLDuringCommand(t *testing.T) {
	w := newWorld(t)
	req := request("sleep", "1000")
	req.TTLSeconds = 1
	res, err := w.Run(t.Context(), req, sandbox.Stdio{})
	if err != nil || res.ExitCode != 124 || res.Limit == nil || !strings.Contains(res.Limit.Hint, "--ttl-seconds") {
		t.Errorf("%+v, limit %+v, %v", res, res.Limit, err)
	}
	w.assertEmpty(t)
}

// A command is cut off from outside: the exec ends with a typed error.
func TestCommandCutOff(t *testing.T) {
	for name, cut := range map[string]func(w *world, id string, cancel func()){
		"deleted":         func(w *world, id string, _ func()) { w.Delete(context.Background(), id) },
		"stopped":         func(w *world, id string, _ func()) { w.Stop(context.Background(), id) },
		"caller away":     func(_ *world, _ string, cancel func()) { cancel() },
		"daemon told off": func(w *world, _ string, _ func()) { w.RemoveRunning(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.started(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ready := newReady()
			go func() {
				<-ready.ready
				cut(w, id, cancel)
			}()
			_, err := w.Exec(ctx, api.ExecVMRequest{VMID: id, Command: []string{"sh", "-c", "echo; sleep 1000"}, TimeoutSeconds: 600}, sandbox.Stdio{Stdout: ready})
			wantKind(t, err, api.KindCanceled)
			w.assertEmpty(t)
		})
	}
}

func TestOneCommandOnly(t *testing.T) {
	w := newWorld(t)
	id := w.started(t)
	ready := newReady()
	exec := func(argv ...string) error {
		_, err := w.Exec(t.Context(), api.ExecVMRequest{VMID: id, Command: argv, TimeoutSeconds: 600}, sandbox.Stdio{Stdout: ready})
		return err
	}
	first := make(chan error)
	go func() { first <- exec("sh", "-c", "echo; sleep 1000") }()
	<-ready.ready
	wantKind(t, exec("true"), api.KindConflict)
	w.Delete(t.Context(), id)
	wantKind(t, <-first, api.KindCanceled)
}

func TestSignals(t *testing.T) {
	w := newWorld(t)
	ready := newReady()
	signals := make(chan syscall.Signal)
	go func() {
		<-ready.ready
		signals <- syscall.SIGTERM
	}()
	res, err := w.Run(t.Context(), request("sh", "-c", "trap 'exit 5' TERM; echo; while :; do sleep 0.05; done"), sandbox.Stdio{Stdout: ready, Signals: signals})
	if err != nil || res.ExitCode != 5 {
		t.Errorf("%+v, %v", res, err)
	}
}

// A signal during the pull ends the call at once; SIGUSR1 does not.
func TestSignalBeforeStart(t *testing.T) {
	w := newWorld(t)
	w.shelf.pulling = make(chan struct{})
	signals := make(chan syscall.Signal)
	req := request("true")
	req.Environment = "later"
	_, err := w.Run(t.Context(), req, sandbox.Stdio{Signals: signals, Pull: func(api.Progress) {
		go func() {
			signals <- syscall.SIGUSR1
			signals <- syscall.SIGINT
		}()
	}})
	wantKind(t, err, api.KindCanceled)
	w.assertEmpty(t)
}

func TestLimitHits(t *testing.T) {
	for _, tc := range []struct {
		kind  api.Kind
		code  int
		named bool
	}{
		{api.KindMemoryLimit, 137, true},
		{api.KindMemoryLimit, 0, false},
		{api.KindDiskLimit, 1, true},
		{api.KindDiskLimit, 0, false},
		{api.KindPIDLimit, 0, true},
		{api.KindPIDLimit, 2, true},
	} {
		w := newWorld(t)
		w.driver.hit = api.Errorf(tc.kind, "limit")
		res, err := w.Run(t.Context(), request("sh", "-c", fmt.Sprintf("exit %d", tc.code)), sandbox.Stdio{})
		if err != nil || res.ExitCode != tc.code || (res.Limit != nil) != tc.named || tc.named && res.Limit.Kind != tc.kind {
			t.Errorf("%s, exit code %d: %+v, limit %v, %v", tc.kind, tc.code, res, res.Limit, err)
		}
	}
}

func TestSandboxDiesUnderCommand(t *testing.T) {
	for _, kind := range []api.Kind{api.KindSandboxDied, api.KindMemoryLimit} {
		w := newWorld(t)
		id := w.started(t)
		ready := newReady()
		go func() {
			<-ready.ready
			w.driver.die(t, id, api.Errorf(kind, "gone"))
		}()
		r, _ := io.Pipe() // an input without end
		res, err := w.Exec(t.Context(), api.ExecVMRequest{VMID: id, Command: []string{"sh", "-c", "echo; sleep 1000"}, TimeoutSeconds: 600}, sandbox.Stdio{Stdin: r, Stdout: ready})
		if err != nil || res.ExitCode == 0 || res.Limit == nil || res.Limit.Kind != kind {
			t.Errorf("%s: %+v, limit %v, %v", kind, res, res.Limit, err)
		}
		w.assertEmpty(t)
	}
}

func TestManyRunsAtOnce(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			var out bytes.Buffer
			res, err := w.Run(t.Context(), request("echo", fmt.Sprint(i)), sandbox.Stdio{Stdout: &out})
			if err != nil || res.ExitCode != 0 || out.String() != fmt.Sprintf("%d\n", i) {
				t.Errorf("%d: %+v, %q, %v", i, res, out.String(), err)
			}
		})
	}
	wg.Wait()
	w.assertEmpty(t)
}
