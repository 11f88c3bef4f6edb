package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"pyro/internal/agent/process"
	"pyro/internal/agent/service"
	"pyro/internal/agent/shell"
	"pyro/internal/agent/spool"
	"pyro/internal/agent/wire"
	"pyro/internal/frame"
)

// table is the only one of this test binary: a table collects all children.
var table = sync.OnceValues(func() (*process.Table, error) {
	t, err := process.NewTable()
	if err == nil {
		go t.Reap()
	}
	return t, err
})

// owner is a guest with shells and services.
func owner(t *testing.T) *guest {
	t.Helper()
	processes, err := table()
	if err != nil {
		t.Skipf("needs root, to drop capabilities: %v", err)
	}
	dir, pump := t.TempDir(), &spool.Pump{}
	g := &guest{shells: shell.NewSet(dir, processes, pump), services: service.NewSet(dir, processes, &process.Groups{}, pump)}
	t.Cleanup(func() {
		for _, s := range g.shells.List().Shells {
			if _, err := g.shells.Close(wire.ShellParams{ID: s.ID}); err != nil {
				t.Error(err)
			}
		}
		for _, s := range g.services.List().Services {
			if _, err := g.services.Stop(t.Context(), wire.ServiceStopParams{Name: s.Name}); err != nil {
				t.Error(err)
			}
		}
	})
	return g
}

// serving connects to a guest; the channel is closed when it no longer serves.
func serving(t *testing.T, g *guest) (net.Conn, <-chan struct{}) {
	t.Helper()
	host, guestEnd := net.Pipe()
	t.Cleanup(func() { host.Close() })
	ended := make(chan struct{})
	go func() {
		g.serve(guestEnd)
		guestEnd.Close()
		close(ended)
	}()
	return host, ended
}

func client(t *testing.T, g *guest) *wire.Client {
	t.Helper()
	conn, _ := serving(t, g)
	c, err := wire.NewClient(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestCallsRunAtTheSameTime: one that waits holds nobody up, and each stream
// sees the same.
func TestCallsRunAtTheSameTime(t *testing.T) {
	g := owner(t)
	c := client(t, g)
	ctx := t.Context()
	if _, err := c.OpenShell(ctx, wire.ShellOpenParams{ID: "s", Argv: []string{"sh", "-c", "stty -echo; read x; echo got $x; sleep 1000"}, Cwd: "/"}); err != nil {
		t.Fatal(err)
	}
	read := make(chan wire.ShellReadResult, 1)
	go func() {
		r, err := c.ReadShell(ctx, wire.ShellReadParams{ID: "s", WaitMS: wire.MaxWaitMS})
		if err != nil {
			t.Error(err)
		}
		read <- r
	}()
	if err := c.Call(ctx, wire.Ping, nil, nil); err != nil {
		t.Fatal(err)
	}
	if r, err := c.WriteShell(ctx, wire.ShellWriteParams{ID: "s", Data: []byte("hello\n")}); err != nil || r.Written != 6 {
		t.Fatalf("%+v, %v", r, err)
	}
	if r := <-read; len(r.Data) == 0 {
		t.Errorf("read %+v", r)
	}
	other := client(t, g)
	if list, err := other.ListShells(ctx); err != nil || len(list) != 1 || list[0].ID != "s" {
		t.Errorf("another stream sees %+v, %v", list, err)
	}
	if info, err := other.StartService(ctx, wire.ServiceStartParams{Name: "w", Argv: []string{"sleep", "1000"}, Cwd: "/"}); err != nil || info.State != wire.ServiceRunning {
		t.Errorf("%+v, %v", info, err)
	}
	if list, err := c.ListServices(ctx); err != nil || len(list) != 1 || list[0].Name != "w" {
		t.Errorf("the first stream sees %+v, %v", list, err)
	}
}

// TestAStreamsEndEndsItsWaits, but not what it has started.
func TestAStreamsEndEndsItsWaits(t *testing.T) {
	g := owner(t)
	conn, ended := serving(t, g)
	c, err := wire.NewClient(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.OpenShell(t.Context(), wire.ShellOpenParams{ID: "s", Argv: []string{"sleep", "1000"}, Cwd: "/"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if _, err := c.ReadShell(t.Context(), wire.ShellReadParams{ID: "s", WaitMS: wire.MaxWaitMS}); err == nil {
				t.Error("an answer came")
			}
		})
	}
	c.Close()
	wg.Wait()
	<-ended
	if s := g.shells.List().Shells; len(s) != 1 || s[0].State != wire.ShellRunning {
		t.Errorf("afterwards there are %+v", s)
	}
}

// TestTooManyCalls are refused, so that they cost no memory.
func TestTooManyCalls(t *testing.T) {
	g := owner(t)
	conn, ended := serving(t, g)
	in, out := frame.NewReader(conn), frame.NewWriter(conn)
	if _, _, err := in.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := g.shells.Open(wire.ShellOpenParams{ID: "s", Argv: []string{"sleep", "1000"}, Cwd: "/"}); err != nil {
		t.Fatal(err)
	}
	params, _ := json.Marshal(wire.ShellReadParams{ID: "s", WaitMS: wire.MaxWaitMS})
	go func() {
		for id := range maxCalls + 1 {
			if err := out.WriteJSON(wire.FrameCall, wire.Call{ID: uint64(id + 1), Method: wire.ShellRead, Params: params}); err != nil {
				t.Error(err)
			}
		}
	}()
	_, payload, err := in.Next()
	if err != nil {
		t.Fatal(err)
	}
	var reply wire.Reply
	if err := json.Unmarshal(payload, &reply); err != nil || reply.ID != maxCalls+1 || !strings.Contains(reply.Error, fmt.Sprint(maxCalls)) {
		t.Errorf("reply %+v, %v", reply, err)
	}
	conn.Close()
	<-ended
}

// TestAnswersAreBounded: an answer that no frame can carry, and an error that
// quotes a long call, become errors that can be sent.
func TestAnswersAreBounded(t *testing.T) {
	c := client(t, &guest{})
	err := c.Call(t.Context(), wire.Method(strings.Repeat("x", 900_000)), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "xxx") {
		t.Errorf("error %.100v", err)
	}
	host, guestEnd := net.Pipe()
	defer host.Close()
	go func() {
		s := &stream{out: frame.NewWriter(guestEnd)}
		if err := s.send(1, strings.Repeat("x", frame.MaxPayload), nil); err != nil {
			t.Error(err)
		}
	}()
	_, payload, err := frame.NewReader(host).Next()
	var reply wire.Reply
	if err != nil || json.Unmarshal(payload, &reply) != nil || !strings.Contains(reply.Error, "no frame can carry") {
		t.Errorf("reply %.100s, %v", payload, err)
	}
}

func TestBadParameters(t *testing.T) {
	g := owner(t)
	c := client(t, g)
	for _, method := range []wire.Method{
		wire.KillLargest, wire.KillSession, wire.ShellOpen, wire.ShellRead, wire.ShellWrite, wire.ShellResize, wire.ShellSignal, wire.ShellClose,
		wire.ServiceStart, wire.ServiceStatus, wire.ServiceStop, wire.ServiceLogs,
	} {
		err := c.Call(t.Context(), method, []int{1}, nil)
		if e, ok := errors.AsType[*wire.Error](err); !ok || e.Kind != wire.KindUsage {
			t.Errorf("%s: %v", method, err)
		}
	}
}
