package pyro_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pyro/api"
)

// mcpTarget says how a foreign client reaches the server: by starting it, or by
// HTTP.
type mcpTarget struct {
	Command []string          `json:"command,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	Cwd     string            `json:"cwd,omitempty"`
	URL     string            `json:"url,omitempty"`
	Token   string            `json:"token,omitempty"`
	pid     int               // of the server with URL
}

// stdio is the server as a program that the client starts.
func (w *mcpWorld) stdio(args ...string) mcpTarget {
	cmd := w.command(args...)
	target := mcpTarget{Command: cmd.Args, Cwd: cmd.Dir, Env: map[string]string{}}
	for _, pair := range cmd.Env {
		name, value, _ := strings.Cut(pair, "=")
		target.Env[name] = value
	}
	return target
}

// mcpToken is for servers on loopback that live as long as a test.
const mcpToken = "a-token-for-nothing-but-tests"

// http starts the server on a free port. The token may be empty.
func (w *mcpWorld) http(t *testing.T, token string, args ...string) mcpTarget {
	t.Helper()
	target := mcpTarget{Token: token}
	cmd := w.command(append([]string{"--http", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(slices.Clone(cmd.Env), "PYRO_MCP_TOKEN="+token)
	cmd.Stderr = nil
	talk, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	target.pid = cmd.Process.Pid
	lines := bufio.NewScanner(talk)
	for target.URL == "" && lines.Scan() {
		_, target.URL, _ = strings.Cut(lines.Text(), "[mcp-serve] url=")
	}
	go io.Copy(os.Stderr, talk)
	t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Errorf("the server did not live: %v", err)
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
			t.Errorf("pyro mcp serve --http ended with: %v", err)
		}
	})
	if target.URL == "" {
		t.Fatal("pyro mcp serve --http gave no URL")
	}
	return target
}

// foreignResult is what a client got of a call.
type foreignResult struct {
	StructuredContent json.RawMessage
	IsError           bool
	Content           []struct{ Type, Text string }
}

// foreignClient calls a tool with a program that is not ours.
type foreignClient func(t *testing.T, tool string, arguments map[string]any) foreignResult

// TestMCPForeignClients: clients of others, of the very versions that are pinned,
// take a workspace from its creation to its end.
func TestMCPForeignClients(t *testing.T) {
	w := newMCPWorld(t)
	if err := w.install("debian:12"); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.work, "project", "main.txt"), "one\n")
	clients := map[string]func(t *testing.T, target mcpTarget) foreignClient{
		"inspector": w.inspector, "typescript": w.typescript, "python": w.python3,
	}
	for name, connect := range clients {
		t.Run(name+"/stdio", func(t *testing.T) { drive(t, connect(t, w.stdio())) })
		t.Run(name+"/http", func(t *testing.T) { drive(t, connect(t, w.http(t, mcpToken))) })
	}
}

// drive is what an agent does, with a command that fails and a call that does.
func drive(t *testing.T, call foreignClient) {
	var ws api.Workspace
	ask(t, call, &ws, "workspace_create", map[string]any{"environment": "debian:12", "seed_path": "project"})
	with := func(more map[string]any) map[string]any {
		more["workspace_id"] = ws.WorkspaceID
		return more
	}
	var exec mcpCommand
	ask(t, call, &exec, "workspace_exec", with(map[string]any{"command": []string{"sh", "-c", "cat main.txt; echo two > main.txt; exit 3"}}))
	if exec.Stdout != "one\n" || exec.ExitCode == nil || *exec.ExitCode != 3 {
		t.Errorf("exec: %+v", exec)
	}
	ask(t, call, &api.Snapshot{}, "snapshot_create", with(map[string]any{"snapshot_name": "two"}))
	var diff api.Diff
	ask(t, call, &diff, "workspace_diff", with(map[string]any{}))
	if !strings.Contains(diff.Patch, "-one\n+two\n") {
		t.Errorf("diff: %+v", diff)
	}
	var reset api.ResetResult
	ask(t, call, &reset, "workspace_reset", with(map[string]any{}))
	if reset.ResetCount != 1 || reset.RestoredSnapshot != "baseline" {
		t.Errorf("reset: %+v", reset)
	}
	var clean api.Diff
	ask(t, call, &clean, "workspace_diff", with(map[string]any{}))
	if clean.Changed {
		t.Errorf("after the reset: %+v", clean)
	}
	ask(t, call, &api.DeletedWorkspace{}, "workspace_delete", with(map[string]any{}))
	gone := call(t, "workspace_status", with(map[string]any{}))
	if !gone.IsError || len(gone.Content) == 0 || !strings.Contains(gone.Content[0].Text, "not_found") {
		t.Errorf("after the end: %+v", gone)
	}
}

// ask makes a call that must not fail and reads its structured content.
func ask(t *testing.T, call foreignClient, res any, tool string, arguments map[string]any) {
	t.Helper()
	got := call(t, tool, arguments)
	if got.IsError || len(got.Content) == 0 {
		t.Fatalf("%s: %+v", tool, got)
	}
	if err := json.Unmarshal(got.StructuredContent, res); err != nil {
		t.Fatalf("%s: %v\n%s", tool, err, got.StructuredContent)
	}
}

// inspector is the command line of npm's @modelcontextprotocol/inspector: a
// program for each call.
func (w *mcpWorld) inspector(t *testing.T, target mcpTarget) foreignClient {
	programs := programsOfNode(t)
	home := t.TempDir()
	run := func(t *testing.T, args ...string) []byte {
		t.Helper()
		var stderr bytes.Buffer
		args = append([]string{"--cli", "--quiet", "--format", "json"}, args...)
		if target.URL != "" {
			args = append(args, "--transport", "http", "--server-url", target.URL, "--header", "Authorization: Bearer "+target.Token)
		} else {
			args = append(args, "--cwd", target.Cwd)
			for name, value := range target.Env { // it passes on nothing else
				args = append(args, "-e", name+"="+value)
			}
			args = append(append(args, "--"), target.Command...)
		}
		cmd := programs.script("@modelcontextprotocol/inspector/clients/launcher/build/index.js", args...)
		cmd.Env = append(slices.Clone(w.env), "HOME="+home)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if len(out) == 0 {
			t.Fatalf("inspector %q: %v\n%s", args, err, stderr.Bytes())
		}
		return out
	}
	// It knows which schemas other programs have trouble with.
	run(t, "--method", "tools/list", "--strict")
	return func(t *testing.T, tool string, arguments map[string]any) foreignResult {
		t.Helper()
		given, err := json.Marshal(arguments)
		if err != nil {
			t.Fatal(err)
		}
		return decodeForeign(t, run(t, "--method", "tools/call", "--tool-name", tool, "--tool-args-json", string(given)))
	}
}

func decodeForeign(t *testing.T, doc []byte) foreignResult {
	t.Helper()
	var answer struct {
		foreignResult
		Result *foreignResult
	}
	if err := json.Unmarshal(doc, &answer); err != nil {
		t.Fatalf("%v: %s", err, doc)
	}
	if answer.Result != nil {
		return *answer.Result
	}
	return answer.foreignResult
}

// typescript is npm's @modelcontextprotocol/sdk, by a script of ours.
func (w *mcpWorld) typescript(t *testing.T, target mcpTarget) foreignClient {
	programs := programsOfNode(t)
	cmd := exec.Command(programs.node, mcpClientsDir+"/typescript.mjs", programs.dir)
	return converse(t, cmd, w.env, target)
}

// python3 is the package mcp of PyPI, by a script of ours.
func (w *mcpWorld) python3(t *testing.T, target mcpTarget) foreignClient {
	return converse(t, exec.Command(pythonWithMCP(t), mcpClientsDir+"/python.py"), w.env, target)
}

// converse starts a script of mcpClientsDir, which reads calls and writes
// results as lines, in one session.
func converse(t *testing.T, cmd *exec.Cmd, env []string, target mcpTarget) foreignClient {
	t.Helper()
	doc, err := json.Marshal(target)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args = append(cmd.Args, string(doc))
	cmd.Env, cmd.Stderr = append(slices.Clone(env), "PYTHONDONTWRITEBYTECODE=1"), os.Stderr
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
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s ended with: %v", cmd.Args[1], err)
		}
	})
	answers := json.NewDecoder(out)
	var tools []string
	if err := answers.Decode(&tools); err != nil || !slices.Contains(tools, "workspace_create") {
		t.Fatalf("tools %v, %v", tools, err)
	}
	return func(t *testing.T, tool string, arguments map[string]any) foreignResult {
		t.Helper()
		if err := json.NewEncoder(in).Encode(map[string]any{"tool": tool, "arguments": arguments}); err != nil {
			t.Fatal(err)
		}
		var answer json.RawMessage
		if err := answers.Decode(&answer); err != nil {
			t.Fatalf("%s: %v", tool, err)
		}
		return decodeForeign(t, answer)
	}
}
