package mcp

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"pyro/api"
	"pyro/client/clienttest"
)

// execServer answers one operation of mode exec.
func execServer(op *api.Operation, f func(s clienttest.Stream)) *clienttest.Server {
	return &clienttest.Server{Exec: map[string]func(context.Context, []byte, clienttest.Stream){
		op.Name: func(_ context.Context, _ []byte, s clienttest.Stream) { f(s) },
	}}
}

// untilClosed reads frames until the caller has gone.
func untilClosed(s clienttest.Stream) {
	for {
		if _, _, err := s.Next(); err != nil {
			return
		}
	}
}

func execArguments() map[string]any {
	return map[string]any{"workspace_id": "ws-1", "command": []string{"make", "test"}, "timeout_seconds": 600}
}

// TestStillRunning: a command that takes longer than clients wait is answered
// for, goes on, and ends with the server.
func TestStillRunning(t *testing.T) {
	gone := make(chan struct{})
	s := newServer(t, execServer(api.ExecWorkspace.Operation, func(s clienttest.Stream) {
		defer close(gone)
		s.Write(api.FrameStdout, []byte("building\n"))
		s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "execute", WorkspaceID: "ws-1", Sequence: 3, ExecutionMode: api.GuestGVisor})
		untilClosed(s)
	}), Options{AnswerWithin: 200 * time.Millisecond})
	session := connect(t, s, nil)
	res := call(t, session, "workspace_exec", execArguments())
	fits(t, tools(t, session)["workspace_exec"], res)
	got := content[commandAnswer](t, res)
	if got.State != api.CommandRunning || got.ExitCode != nil || got.Sequence != 3 || got.WorkspaceID != "ws-1" || got.Stdout != "building\n" ||
		strings.Join(got.Command, " ") != "make test" || !strings.Contains(got.Hint, "workspace_logs") {
		t.Errorf("got %+v", got)
	}
	if out := text(t, res); !strings.Contains(out, "state=running") || !strings.Contains(out, "workspace_logs") || !strings.Contains(out, "building") {
		t.Errorf("the text is %q", out)
	}
	select {
	case <-gone:
		t.Fatal("the command ended with its answer")
	default:
	}
	s.Close()
	<-gone
}

// TestWaits: a command that no log will tell of is waited for, however long.
func TestWaits(t *testing.T) {
	waited := make(chan struct{})
	s := newServer(t, execServer(api.RunInVM.Operation, func(s clienttest.Stream) {
		s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "execute", VMID: "vm-1"})
		<-waited
		s.WriteJSON(api.FrameResult, api.ExecResult{VMID: "vm-1", ExitCode: 3})
	}), Options{AnswerWithin: time.Millisecond})
	time.AfterFunc(100*time.Millisecond, func() { close(waited) })
	res := call(t, connect(t, s, nil), "vm_run", map[string]any{"environment": "debian:12", "command": []string{"true"}})
	if got := content[commandAnswer](t, res); res.IsError || got.State != api.CommandExited || *got.ExitCode != 3 {
		t.Errorf("got %+v, %s", got, text(t, res))
	}
}

// TestCancel: a call that its client cancels ends the command.
func TestCancel(t *testing.T) {
	begun, gone := make(chan struct{}), make(chan struct{})
	s := newServer(t, execServer(api.ExecWorkspace.Operation, func(s clienttest.Stream) {
		s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "execute", WorkspaceID: "ws-1", Sequence: 1})
		close(begun)
		untilClosed(s)
		close(gone)
	}), Options{})
	session := connect(t, s, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "workspace_exec", Arguments: execArguments()}); err == nil {
		t.Error("the cancelled call succeeded")
	}
	<-gone
	if err := session.Ping(t.Context(), nil); err != nil {
		t.Errorf("after a cancelled call: %v", err)
	}
}

// TestClientGone: when a client goes away, what it started ends.
func TestClientGone(t *testing.T) {
	begun, gone := make(chan struct{}), make(chan struct{})
	s := newServer(t, execServer(api.ExecWorkspace.Operation, func(s clienttest.Stream) {
		close(begun)
		untilClosed(s)
		close(gone)
	}), Options{})
	ours, theirs := mcp.NewInMemoryTransports()
	if _, err := s.server.Connect(t.Context(), ours, nil); err != nil {
		t.Fatal(err)
	}
	conn, err := theirs.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send(t, conn, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	if _, err := conn.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	send(t, conn, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	send(t, conn, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"workspace_exec","arguments":{"workspace_id":"ws-1","command":["sleep","100"]}}}`)
	<-begun
	conn.Close()
	<-gone
}

// TestProgress: a client that asks is told of phases and that the call still
// runs, by numbers that grow.
func TestProgress(t *testing.T) {
	told := make(chan *mcp.ProgressNotificationParams, 100)
	daemon := execServer(api.RunInVM.Operation, func(s clienttest.Stream) {
		s.WriteJSON(api.FramePull, api.Progress{Phase: "download", Environment: "debian:12", Done: 3, Total: 40, Unit: "packages"})
		s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "execute", VMID: "vm-1"})
		for range 3 { // wait for what only time brings
			for p := range told {
				if strings.HasPrefix(p.Message, "still running") {
					break
				}
			}
		}
		s.WriteJSON(api.FrameResult, api.ExecResult{})
	})
	daemon.Events = map[string]func(context.Context, []byte, func(any)) (any, error){
		api.CreateWorkspace.Name: func(_ context.Context, _ []byte, emit func(any)) (any, error) {
			for i := range 1000 {
				emit(api.Progress{Phase: "configure", Environment: "debian:12", Done: int64(i + 1), Total: 1000, Unit: "packages"})
			}
			emit(api.Progress{Phase: "ready", Environment: "debian:12"})
			return api.Workspace{WorkspaceID: "ws-1"}, nil
		},
	}
	s := newServer(t, daemon, Options{})
	s.beat = 10 * time.Millisecond
	var mu sync.Mutex
	var all []*mcp.ProgressNotificationParams
	ready := make(chan struct{})
	session := connect(t, s, &mcp.ClientOptions{ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, req.Params)
		if req.Params.Message == "ready debian:12" {
			close(ready)
		}
		select {
		case told <- req.Params:
		default:
		}
	}})
	run := &mcp.CallToolParams{Name: "vm_run", Arguments: map[string]any{"environment": "debian:12", "command": []string{"true"}}}
	run.SetProgressToken("a")
	create := &mcp.CallToolParams{Name: "workspace_create", Arguments: map[string]any{"environment": "debian:12"}}
	create.SetProgressToken("b")
	for _, params := range []*mcp.CallToolParams{run, create} {
		if res, err := session.CallTool(t.Context(), params); err != nil || res.IsError {
			t.Fatalf("%s: %+v, %v", params.Name, res, err)
		}
	}
	<-ready // the client hands on a result and what came before it side by side
	mu.Lock()
	defer mu.Unlock()
	messages := map[any][]string{}
	last := map[any]float64{}
	for _, p := range all {
		if p.Progress <= last[p.ProgressToken] {
			t.Errorf("progress %v after %v", p.Progress, last[p.ProgressToken])
		}
		last[p.ProgressToken] = p.Progress
		messages[p.ProgressToken] = append(messages[p.ProgressToken], p.Message)
	}
	if got := fmt.Sprint(messages["a"]); !strings.Contains(got, "download debian:12: 3 of 40 packages") || !strings.Contains(got, "execute") {
		t.Errorf("of the run: %s", got)
	}
	if got := messages["b"]; len(got) < 2 || len(got) > 500 || !slices.Contains(got, "configure debian:12: 1 of 1000 packages") || !slices.Contains(got, "ready debian:12") {
		t.Errorf("of the creation: %d, %q", len(got), got)
	}
}
