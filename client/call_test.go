package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/client"
	"pyro/client/clienttest"
)

// serve starts s and returns a client that never starts another.
func serve(t testing.TB, s *clienttest.Server) *client.Client {
	t.Helper()
	dirs := clienttest.Dirs(t)
	s.Start(t, dirs)
	c, err := client.New(client.Options{Dirs: dirs, NoStart: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type calls = map[string]func(context.Context, []byte) (any, error)

func echoVM(_ context.Context, body []byte) (any, error) {
	var req api.VMRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, err
	}
	if req.VMID == "" {
		return nil, api.Errorf(api.KindNotFound, "VM does not exist").WithHint("pyro vm list")
	}
	return api.VM{VMID: req.VMID, MemMiB: 64}, nil
}

func TestDo(t *testing.T) {
	c := serve(t, &clienttest.Server{Call: calls{"status_vm": echoVM}})
	vm, err := client.Do(t.Context(), c, api.StatusVM, api.VMRequest{VMID: "vm-1"})
	if err != nil || vm.VMID != "vm-1" || vm.MemMiB != 64 {
		t.Errorf("got %+v, %v", vm, err)
	}
	_, err = client.Do(t.Context(), c, api.StatusVM, api.VMRequest{})
	want := &api.Error{Kind: api.KindNotFound, Message: "VM does not exist", Hint: "pyro vm list"}
	if diff := cmp.Diff(want, err); diff != "" {
		t.Error(diff)
	}
}

func TestDoThroughALongPath(t *testing.T) {
	root := t.TempDir() + "/" + strings.Repeat("long/", 60)
	dirs := clienttest.MakeDirs(t, root)
	(&clienttest.Server{Call: calls{"status_vm": echoVM}}).Start(t, dirs)
	c, err := client.New(client.Options{Dirs: dirs, NoStart: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Do(t.Context(), c, api.StatusVM, api.VMRequest{VMID: "vm-1"}); err != nil {
		t.Error(err)
	}
}

func TestDoEndsWithItsContext(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	c := serve(t, &clienttest.Server{Call: calls{"status_vm": func(ctx context.Context, _ []byte) (any, error) {
		close(entered)
		<-ctx.Done() // the server learns of it
		close(left)
		return nil, ctx.Err()
	}}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	_, err := client.Do(ctx, c, api.StatusVM, api.VMRequest{VMID: "vm-1"})
	if api.KindOf(err) != api.KindCanceled || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-left
}

func TestDoOfAServerThatEnds(t *testing.T) {
	c := serve(t, &clienttest.Server{Call: calls{"status_vm": func(context.Context, []byte) (any, error) {
		panic("abort") // net/http closes the connection
	}}})
	_, err := client.Do(t.Context(), c, api.StatusVM, api.VMRequest{VMID: "vm-1"})
	if e := api.AsError(err); e == nil || e.Kind != api.KindDaemonUnavailable || !strings.Contains(e.Hint, "daemon.log") {
		t.Errorf("got %+v", e)
	}
}

type events = map[string]func(context.Context, []byte, func(any)) (any, error)

func TestWatch(t *testing.T) {
	progress := []api.Progress{{Phase: "install", Environment: "e"}, {Phase: "download", Environment: "e", Done: 5, Total: 10, Unit: "bytes"}}
	for _, tt := range []struct {
		name  string
		end   func() (any, error)
		check func(api.Environment, error) bool
	}{
		{
			"result", func() (any, error) { return api.Environment{Name: "e"}, nil },
			func(e api.Environment, err error) bool { return err == nil && e.Name == "e" },
		},
		{
			"error", func() (any, error) { return nil, api.Errorf(api.KindVerification, "wrong digest") },
			func(_ api.Environment, err error) bool { return api.KindOf(err) == api.KindVerification },
		},
		{
			"end in the middle", func() (any, error) { panic("abort") },
			func(_ api.Environment, err error) bool { return api.KindOf(err) == api.KindDaemonUnavailable },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, &clienttest.Server{Events: events{"pull_environment": func(_ context.Context, _ []byte, emit func(any)) (any, error) {
				for _, p := range progress {
					emit(p)
				}
				return tt.end()
			}}})
			var got []api.Progress
			env, err := client.Watch(t.Context(), c, api.PullEnvironment, api.PullRequest{Environment: "e"}, func(p api.Progress) { got = append(got, p) })
			if !tt.check(env, err) {
				t.Errorf("got %+v, %v", env, err)
			}
			if diff := cmp.Diff(progress, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWatchOfAPlainError(t *testing.T) {
	c := serve(t, &clienttest.Server{})
	_, err := client.Watch(t.Context(), c, api.PullEnvironment, api.PullRequest{Environment: "e"}, nil)
	if api.KindOf(err) != api.KindNotFound {
		t.Errorf("got %v", err)
	}
}

func TestNewNeedsAProgram(t *testing.T) {
	_, err := client.New(client.Options{Dirs: clienttest.Dirs(t), Executable: os.DevNull})
	if api.KindOf(err) != api.KindInternal {
		t.Errorf("got %v", err)
	}
}

func BenchmarkDo(b *testing.B) {
	c := serve(b, &clienttest.Server{Build: "", Call: calls{"status_vm": echoVM}})
	for b.Loop() {
		if _, err := client.Do(b.Context(), c, api.StatusVM, api.VMRequest{VMID: "vm-1"}); err != nil {
			b.Fatal(err)
		}
	}
}
