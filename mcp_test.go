package pyro_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"pyro/api"
)

// mcpWorld is pyro mcp serve as a client has it: a program that it starts.
type mcpWorld struct {
	*harness
	work string // folder in which the server runs, as that of a project
	env  []string
}

func newMCPWorld(t *testing.T) *mcpWorld {
	t.Helper()
	h := newHarness(t)
	dir, err := h.scriptDir()
	if err != nil {
		t.Fatal(err)
	}
	w := &mcpWorld{harness: h, work: t.TempDir(), env: h.env(dir)}
	t.Cleanup(func() { h.finish(t, dir, w.env) })
	return w
}

// command is pyro mcp serve, not started yet.
func (w *mcpWorld) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(w.harness.dir, "bin", "pyro"), append([]string{"mcp", "serve"}, args...)...)
	cmd.Env, cmd.Dir, cmd.Stderr = w.env, w.work, os.Stderr
	return cmd
}

// connect starts the server and waits until there is an environment for it.
func (w *mcpWorld) connect(t *testing.T, args ...string) *mcpSession {
	t.Helper()
	if err := w.install("debian:12"); err != nil {
		t.Fatal(err)
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.CommandTransport{Command: w.command(args...)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Errorf("pyro mcp serve ended with: %v", err)
		}
	})
	return &mcpSession{session, toolSchemas(t, session)}
}

// toolSchemas are the schemas of what tools answer, as the server lists them.
func toolSchemas(t *testing.T, session *mcp.ClientSession) map[string]*jsonschema.Resolved {
	t.Helper()
	schemas := map[string]*jsonschema.Resolved{}
	for tool, err := range session.Tools(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		doc, err := json.Marshal(tool.OutputSchema)
		if err != nil {
			t.Fatal(err)
		}
		schemas[tool.Name] = schemaOf(t, doc)
	}
	return schemas
}

type mcpSession struct {
	*mcp.ClientSession
	schemas map[string]*jsonschema.Resolved
}

func schemaOf(t *testing.T, doc []byte) *jsonschema.Resolved {
	t.Helper()
	var schema jsonschema.Schema
	if err := json.Unmarshal(doc, &schema); err != nil {
		t.Fatalf("%v: %s", err, doc)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatalf("%v: %s", err, doc)
	}
	return resolved
}

// call calls a tool, which must not fail, and reads its structured content into
// res if that is not nil.
func (s *mcpSession) call(t *testing.T, name string, arguments map[string]any, res any) *mcp.CallToolResult {
	t.Helper()
	answer, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: arguments})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if schema := s.schemas[name]; schema == nil || answer.StructuredContent == nil {
		t.Errorf("%s has no schema, or no structured content", name)
	} else if err := schema.Validate(answer.StructuredContent); err != nil {
		t.Errorf("%s: %v\n%v", name, err, answer.StructuredContent)
	}
	if res != nil && answer.IsError {
		t.Fatalf("%s %v: %v", name, arguments, answer.StructuredContent)
	}
	if res != nil {
		doc, err := json.Marshal(answer.StructuredContent)
		if err == nil {
			err = json.Unmarshal(doc, res)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return answer
}

// mcpCommand is what the tests read of a command's answer.
type mcpCommand struct {
	api.ExecResult
	State      api.CommandState
	ExitCode   *int   `json:"exit_code"`
	StdoutPath string `json:"stdout_path"`
}

func (s *mcpSession) exec(t *testing.T, workspace, script string) mcpCommand {
	t.Helper()
	var res mcpCommand
	s.call(t, "workspace_exec", map[string]any{"workspace_id": workspace, "command": []string{"sh", "-c", script}, "timeout_seconds": 120}, &res)
	return res
}

// log returns an entry of the command log once it satisfies done.
func (s *mcpSession) log(t *testing.T, workspace string, sequence int, done func(api.Command) bool) api.Command {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		var log api.CommandLog
		s.call(t, "workspace_logs", map[string]any{"workspace_id": workspace, "sequence": sequence}, &log)
		if done(log.Commands[0]) {
			return log.Commands[0]
		}
		if time.Now().After(end) {
			t.Fatalf("command %d stays %+v", sequence, log.Commands[0])
		}
	}
}

// TestMCPWorkspace takes a workspace from its creation to its end.
func TestMCPWorkspace(t *testing.T) {
	w := newMCPWorld(t)
	write(t, filepath.Join(w.work, "project", "main.txt"), "one\n")
	s := w.connect(t)
	var ws api.Workspace
	s.call(t, "workspace_create", map[string]any{"environment": "debian:12", "seed_path": "project"}, &ws)
	id := map[string]any{"workspace_id": ws.WorkspaceID}
	with := func(more ...any) map[string]any {
		arguments := map[string]any{"workspace_id": ws.WorkspaceID}
		for i := 0; i < len(more); i += 2 {
			arguments[more[i].(string)] = more[i+1]
		}
		return arguments
	}

	if got := s.exec(t, ws.WorkspaceID, "cat main.txt; echo problem >&2; exit 3"); *got.ExitCode != 3 || got.Stdout != "one\n" || got.Stderr != "problem\n" || got.State != api.CommandExited || got.Sequence != 1 {
		t.Errorf("exec: %+v", got)
	}
	s.exec(t, ws.WorkspaceID, "echo two > main.txt")
	s.call(t, "snapshot_create", with("snapshot_name", "two"), &api.Snapshot{})
	s.exec(t, ws.WorkspaceID, "rm main.txt; rm -rf /usr/bin/git; echo x > other.txt")

	var diff api.Diff
	answer := s.call(t, "workspace_diff", id, &diff)
	if diff.Summary.Deleted != 1 || diff.Summary.Added != 1 || !strings.Contains(diff.Patch, "-one\n") {
		t.Errorf("diff: %+v", diff)
	}
	if text := answer.Content[0].(*mcp.TextContent).Text; !strings.Contains(text, "\npatch:\n") || !strings.HasSuffix(text, "\n+x") {
		t.Errorf("the text of the diff is %q", text)
	}

	var reset api.ResetResult
	s.call(t, "workspace_reset", with("snapshot", "two"), &reset)
	if reset.RestoredSnapshot != "two" || reset.ResetCount != 1 || reset.CommandCount != 0 {
		t.Errorf("reset: %+v", reset)
	}
	if got := s.exec(t, ws.WorkspaceID, "cat main.txt; git --version"); *got.ExitCode != 0 || !strings.HasPrefix(got.Stdout, "two\ngit version") {
		t.Errorf("after the reset: %+v", got)
	}
	write(t, filepath.Join(w.work, "later", "a.txt"), "later\n")
	s.call(t, "workspace_sync_push", with("source_path", "later", "dest", "in"), &api.PushResult{})
	s.call(t, "workspace_export", with("path", "in/a.txt", "output_path", "out.txt"), &api.ExportResult{})
	if got, err := os.ReadFile(filepath.Join(w.work, "out.txt")); err != nil || string(got) != "later\n" {
		t.Errorf("exported: %q, %v", got, err)
	}

	s.call(t, "workspace_delete", id, &api.DeletedWorkspace{})
	gone := s.call(t, "workspace_status", id, nil)
	if e, ok := gone.StructuredContent.(map[string]any); !gone.IsError || !ok || e["kind"] != string(api.KindNotFound) {
		t.Errorf("after the end: %+v", gone.StructuredContent)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestMCPCommands: long, loud, cancelled and many commands, and what is left of
// them when the server ends.
func TestMCPCommands(t *testing.T) {
	w := newMCPWorld(t)
	s := w.connect(t, "--answer-within-seconds", "2")
	var ws api.Workspace
	s.call(t, "workspace_create", map[string]any{"environment": "debian:12"}, &ws)
	defer s.call(t, "workspace_delete", map[string]any{"workspace_id": ws.WorkspaceID}, &api.DeletedWorkspace{})

	t.Run("long", func(t *testing.T) {
		got := s.exec(t, ws.WorkspaceID, "echo first; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo second; exit 5")
		if got.State != api.CommandRunning || got.ExitCode != nil || got.Stdout != "first\n" {
			t.Fatalf("got %+v", got)
		}
		if running := s.log(t, ws.WorkspaceID, got.Sequence, func(api.Command) bool { return true }); running.State != api.CommandRunning || running.Stdout != "first\n" {
			t.Errorf("the log says %+v", running)
		}
		s.exec(t, ws.WorkspaceID, "touch /tmp/go")
		done := s.log(t, ws.WorkspaceID, got.Sequence, func(c api.Command) bool { return c.State != api.CommandRunning })
		if done.ExitCode == nil || *done.ExitCode != 5 || done.Stdout != "first\nsecond\n" {
			t.Errorf("in the end: %+v", done)
		}
	})
	t.Run("loud", func(t *testing.T) {
		got := s.exec(t, ws.WorkspaceID, "head -c 10000000 /dev/urandom")
		if len(got.Stdout) > 64<<10 || !got.StdoutTruncated || got.StdoutBytes != 10_000_000 || *got.ExitCode != 0 {
			t.Errorf("%d bytes of stdout, %t, of %d", len(got.Stdout), got.StdoutTruncated, got.StdoutBytes)
		}
		if info, err := os.Stat(got.StdoutPath); err != nil || info.Size() != 10_000_000 {
			t.Errorf("stdout_path %q: %v", got.StdoutPath, err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var params mcp.CallToolParams
		params.Name, params.Arguments = "workspace_exec", map[string]any{"workspace_id": ws.WorkspaceID, "command": []string{"sh", "-c", "touch /tmp/begun; sleep 1000"}, "timeout_seconds": 1000}
		var wait sync.WaitGroup
		wait.Go(func() {
			if res, err := s.CallTool(ctx, &params); err == nil {
				t.Errorf("the cancelled call gave %+v", res.StructuredContent)
			}
		})
		// This one waits in the sandbox, so that the other is cancelled there.
		s.exec(t, ws.WorkspaceID, "while [ ! -e /tmp/begun ]; do sleep 0.05; done")
		cancel()
		wait.Wait()
		const alive = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep '[s]leep 1000'" // which does not find itself
		for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			if got := s.exec(t, ws.WorkspaceID, alive); *got.ExitCode == 1 {
				break
			} else if time.Now().After(end) {
				t.Fatalf("the cancelled command is alive: %+v", got)
			}
		}
	})
	t.Run("at once", func(t *testing.T) {
		var wait sync.WaitGroup
		for i := range 4 {
			wait.Go(func() {
				res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "workspace_exec", Arguments: map[string]any{
					"workspace_id": ws.WorkspaceID, "command": []string{"sh", "-c", fmt.Sprintf("sleep 0.2; exit %d", i)},
				}})
				if err != nil || res.StructuredContent.(map[string]any)["exit_code"] != float64(i) {
					t.Errorf("command %d: %+v, %v", i, res, err)
				}
			})
		}
		wait.Wait()
	})
	t.Run("fresh", func(t *testing.T) {
		var got mcpCommand
		s.call(t, "vm_run", map[string]any{"environment": "debian:12", "command": []string{"git", "--version"}}, &got)
		if *got.ExitCode != 0 || !strings.HasPrefix(got.Stdout, "git version") || got.Cleanup == nil || !got.Cleanup.Deleted {
			t.Errorf("got %+v", got)
		}
	})
}

// TestMCPGarbage: what a client should not send is answered, and the server
// lives on.
func TestMCPGarbage(t *testing.T) {
	cmd := newMCPWorld(t).command()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for _, line := range []string{
			`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`,
			`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
			"hello", `{"half":`, `{"jsonrpc":"2.0","id":2,"method":"` + strings.Repeat("x", 100<<20) + `"}`,
			`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"no_such_tool"}}`,
		} {
			io.WriteString(in, line+"\n")
		}
		io.WriteString(in, `{"jsonrpc":"2.0","id":4,"method":"ping"}`+"\n")
	}()
	answers := map[string]int{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var a struct {
			ID    any
			Error *struct{ Code int }
		}
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Errorf("%.200q: %v", lines.Text(), err)
			continue
		}
		code := 0
		if a.Error != nil {
			code = a.Error.Code
		}
		answers[fmt.Sprintf("%v %d", a.ID, code)]++
		if len(answers) == 5 {
			in.Close()
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("pyro mcp serve ended with: %v", err)
	}
	for want, n := range map[string]int{"1 0": 1, "<nil> -32700": 2, "<nil> -32600": 1, "3 -32602": 1, "4 0": 1} {
		if answers[want] != n {
			t.Errorf("%d answers %q, want %d: %v", answers[want], want, n, answers)
		}
	}
}
