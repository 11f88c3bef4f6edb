package pyro_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"pyro/api"
)

// maxMessage is what no message of the server exceeds: 16 KiB of text twice, as
// structured content and as text, of which each byte may take six (\u0000).
const maxMessage = 16<<10*6*2 + 16<<10

// longest is the length of the longest message that the server sent, as the
// library's log of the transport has it.
type longest struct {
	mu sync.Mutex
	n  int
}

func (l *longest) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes.HasPrefix(p, []byte("read: ")) {
		l.n = max(l.n, len(p))
	}
	return len(p), nil
}

// bearer sends the token with every request.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// TestMCPAbuse is what a model and a careless client do to a server, over both
// transports. Every answer is bounded and clear, and the server lives.
func TestMCPAbuse(t *testing.T) {
	w := newMCPWorld(t)
	if err := w.install("debian:12"); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--answer-within-seconds", "2"}
	t.Run("stdio", func(t *testing.T) {
		cmd := w.command(flags...)
		abuse(t, &mcp.CommandTransport{Command: cmd}, func() int { return cmd.Process.Pid }, nil)
	})
	t.Run("http", func(t *testing.T) {
		target := w.http(t, mcpToken, flags...)
		client := &http.Client{Transport: bearer(mcpToken)}
		abuse(t, &mcp.StreamableClientTransport{Endpoint: target.URL, HTTPClient: client}, func() int { return target.pid }, func(t *testing.T) {
			abuseHTTP(t, client, target.URL)
		})
	})
}

func abuse(t *testing.T, transport mcp.Transport, pid func() int, more func(*testing.T)) {
	sizes := &longest{}
	client := mcp.NewClient(&mcp.Implementation{Name: "abuser", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.LoggingTransport{Transport: transport, Writer: sizes}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	s := &abusedServer{&mcpSession{session, toolSchemas(t, session)}, ""}
	var ws api.Workspace
	s.call(t, "workspace_create", map[string]any{"environment": "debian:12"}, &ws)
	s.workspace = ws.WorkspaceID

	t.Run("output", s.output)
	t.Run("long", s.long)
	t.Run("cancelled", s.cancelled)
	t.Run("at once", s.atOnce)
	t.Run("arguments", s.arguments)
	if more != nil {
		t.Run("messages", more)
	}
	if got := s.exec(t, s.workspace, "echo alive"); got.Stdout != "alive\n" {
		t.Errorf("in the end: %+v", got)
	}
	s.call(t, "workspace_delete", map[string]any{"workspace_id": s.workspace}, &api.DeletedWorkspace{})
	if sizes.n == 0 || sizes.n > maxMessage {
		t.Errorf("the longest message had %d bytes, at most %d are allowed", sizes.n, maxMessage)
	}
	t.Logf("longest message %d bytes; memory of the server at its peak %s", sizes.n, peakMemory(t, pid()))
}

// peakMemory is what the kernel says of a process that lives.
func peakMemory(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatalf("the server does not live: %v", err)
	}
	_, peak, _ := strings.Cut(string(text), "VmHWM:")
	peak, _, _ = strings.Cut(peak, "\n")
	return strings.TrimSpace(peak)
}

// abusedServer is a server with a workspace in it.
type abusedServer struct {
	*mcpSession
	workspace string
}

func (s *abusedServer) output(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		bytes  int64
	}{
		"10 MB":         {"yes 0123456789abcde | head -c 10000000", 10_000_000},
		"one line":      {"head -c 10000000 /dev/zero | tr '\\0' x", 10_000_000},
		"binary":        {"head -c 10000000 /dev/urandom", 10_000_000},
		"zeros":         {"head -c 1000000 /dev/zero", 1_000_000},
		"invalid UTF-8": {`printf '\377\376 ok \303\050 \355\240\200'`, 12},
		"both":          {"head -c 5000000 /dev/urandom >&2; head -c 5000000 /dev/urandom", 5_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.exec(t, s.workspace, test.script)
			if got.StdoutBytes != test.bytes || *got.ExitCode != 0 || !utf8.ValidString(got.Stdout) || len(got.Stdout) > 64<<10 {
				t.Errorf("%d bytes of stdout, %d in the answer, exit code %d", got.StdoutBytes, len(got.Stdout), *got.ExitCode)
			}
			if cut := test.bytes > 64<<10; got.StdoutTruncated != cut || cut && !strings.Contains(got.Stdout, "bytes left out") {
				t.Errorf("truncated is %t: %.100q", got.StdoutTruncated, got.Stdout)
			}
		})
	}
}

// long: a command of 300 seconds and a client that gives up after a minute. The
// server's limit and the client's are as far apart as in real life, in shorter.
func (s *abusedServer) long(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "workspace_exec", Arguments: map[string]any{
		"workspace_id": s.workspace, "command": []string{"sh", "-c", "echo begun; sleep 300"}, "timeout_seconds": 300,
	}})
	if err != nil {
		t.Fatal(err)
	}
	doc, _ := json.Marshal(res.StructuredContent)
	var got mcpCommand
	if err := json.Unmarshal(doc, &got); err != nil || got.State != api.CommandRunning || got.Stdout != "begun\n" || !strings.Contains(string(doc), "workspace_logs") {
		t.Errorf("got %s, %v", doc, err)
	}
	running := s.log(t, s.workspace, got.Sequence, func(api.Command) bool { return true })
	if running.State != api.CommandRunning {
		t.Errorf("the log says %+v", running)
	}
}

func (s *abusedServer) cancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	time.AfterFunc(300*time.Millisecond, cancel)
	if res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "workspace_exec", Arguments: map[string]any{
		"workspace_id": s.workspace, "command": []string{"sleep", "777"}, "timeout_seconds": 777,
	}}); err == nil {
		t.Errorf("the cancelled call gave %+v", res.StructuredContent)
	}
	const alive = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep '[s]leep 777'"
	for end := time.Now().Add(patience); *s.exec(t, s.workspace, alive).ExitCode == 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the cancelled command is alive")
		}
	}
}

func (s *abusedServer) atOnce(t *testing.T) {
	var wait sync.WaitGroup
	for i := range 2 {
		wait.Go(func() {
			// Each waits for the other, so that they cannot come one by one.
			script := fmt.Sprintf("touch /tmp/here%d; while [ ! -e /tmp/here%d ]; do sleep 0.05; done; exit %d", i, 1-i, 40+i)
			res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "workspace_exec", Arguments: map[string]any{
				"workspace_id": s.workspace, "command": []string{"sh", "-c", script},
			}})
			if err != nil || res.StructuredContent.(map[string]any)["exit_code"] != float64(40+i) {
				t.Errorf("command %d: %+v, %v", i, res, err)
			}
		})
	}
	wait.Wait()
}

// arguments that no command should have are answered with a kind and a hint.
func (s *abusedServer) arguments(t *testing.T) {
	for _, arguments := range []any{
		nil, "text",
		[]int{1},
		map[string]any{},
		map[string]any{"workspace_id": s.workspace, "command": "make test"},
		map[string]any{"workspace_id": s.workspace, "command": []string{}},
		map[string]any{"workspace_id": strings.Repeat("w", 1<<20), "command": []string{"true"}},
		map[string]any{"workspace_id": s.workspace, "command": []string{"true"}, "timeout_seconds": -1},
	} {
		res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "workspace_exec", Arguments: arguments})
		if err != nil {
			t.Errorf("%.100v: %v", arguments, err)
			continue
		}
		e, _ := res.StructuredContent.(map[string]any)
		if kind, _ := e["kind"].(string); !res.IsError || kind == "" || kind == string(api.KindInternal) {
			t.Errorf("%.100v: %v", arguments, e)
		}
	}
}

// abuseHTTP sends what is no message, and a request of 100 MB.
func abuseHTTP(t *testing.T, client *http.Client, url string) {
	for name, body := range map[string]io.Reader{
		"garbage": strings.NewReader("hello"),
		"half":    strings.NewReader(`{"jsonrpc":"2.0",`),
		"100 MB":  bytes.NewReader(append([]byte(`{"jsonrpc":"2.0","id":1,"method":"`), bytes.Repeat([]byte("x"), 100<<20)...)),
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		res, err := client.Do(req)
		if err != nil {
			if name == "100 MB" { // refused before all of it was sent
				continue
			}
			t.Errorf("%s: %v", name, err)
			continue
		}
		answer, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode < 400 || res.StatusCode >= 500 || len(answer) > 4<<10 {
			t.Errorf("%s: %d, %.200q", name, res.StatusCode, answer)
		}
	}
}
