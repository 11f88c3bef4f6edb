package pyro_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"pyro/api"
)

// TestMCPSecrets: a model gives secrets to commands, and no result has one.
func TestMCPSecrets(t *testing.T) {
	w := newMCPWorld(t)
	s := w.connect(t, "--profile", "workspace-full")
	const token, password = "ghp_0123456789abcdef", "hunter22-from-a-file"
	file := filepath.Join(w.work, "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var answers []*mcp.CallToolResult
	call := func(name string, arguments map[string]any, res any) *mcp.CallToolResult {
		t.Helper()
		answer := s.call(t, name, arguments, res)
		answers = append(answers, answer)
		return answer
	}
	var ws api.Workspace
	call("workspace_create", map[string]any{"environment": "debian:12", "secrets": []map[string]any{
		{"name": "API_TOKEN", "value": token}, {"name": "PASSWORD", "file_path": file},
	}}, &ws)
	defer s.call(t, "workspace_delete", map[string]any{"workspace_id": ws.WorkspaceID}, &api.DeletedWorkspace{})
	if len(ws.Secrets) != 2 || ws.Secrets[0] != (api.SecretInfo{Name: "API_TOKEN", SourceKind: api.SecretLiteral}) {
		t.Errorf("secrets %+v", ws.Secrets)
	}
	var got mcpCommand
	call("workspace_exec", map[string]any{
		"workspace_id": ws.WorkspaceID, "secret_env": map[string]string{"API_TOKEN": "", "PASSWORD": "PW"},
		"command": []string{"sh", "-c", `echo "$API_TOKEN ${#API_TOKEN} ${#PW}"; echo "$PW" >&2`},
	}, &got)
	if got.Stdout != "[REDACTED] 20 20\n" || got.Stderr != "[REDACTED]\n" {
		t.Errorf("got %+v", got)
	}
	var shell api.Shell
	call("shell_open", map[string]any{"workspace_id": ws.WorkspaceID, "secret_env": map[string]string{"API_TOKEN": ""}}, &shell)
	call("shell_write", map[string]any{"workspace_id": ws.WorkspaceID, "shell_id": shell.ShellID, "input": "echo $API_TOKEN ${#API_TOKEN}"}, &api.ShellWritten{})
	for out := ""; !strings.Contains(out, "[REDACTED] 20"); {
		var read api.ShellOutput
		call("shell_read", map[string]any{"workspace_id": ws.WorkspaceID, "shell_id": shell.ShellID, "wait_for_idle_ms": 200}, &read)
		out = read.Output
		if read.State != api.ShellRunning {
			t.Fatalf("the shell ended: %q", out)
		}
	}
	call("service_start", map[string]any{
		"workspace_id": ws.WorkspaceID, "service_name": "web", "secret_env": map[string]string{"PASSWORD": ""},
		"command": []string{"sh", "-c", "echo $PASSWORD; touch /tmp/ready; sleep 1000"}, "readiness": map[string]any{"type": "file", "path": "/tmp/ready"},
	}, &api.Service{})
	var log api.ServiceLog
	call("service_logs", map[string]any{"workspace_id": ws.WorkspaceID, "service_name": "web"}, &log)
	if log.Stdout != "[REDACTED]\n" {
		t.Errorf("the log is %q", log.Stdout)
	}
	call("workspace_logs", map[string]any{"workspace_id": ws.WorkspaceID}, &api.CommandLog{})
	call("workspace_status", map[string]any{"workspace_id": ws.WorkspaceID}, &api.Workspace{})

	// What fails.
	refused := func(secrets ...map[string]any) {
		t.Helper()
		if !call("workspace_create", map[string]any{"environment": "debian:12", "secrets": secrets}, nil).IsError {
			t.Errorf("%v was taken", secrets)
		}
	}
	refused(map[string]any{"name": token})
	refused(map[string]any{"name": "A", "value": token, "file_path": file})
	refused(map[string]any{"name": "A", "value": token}, map[string]any{"name": "A", "value": token})
	refused(map[string]any{"name": "A", "value": token, "other": token})
	refused(map[string]any{"name": "A", "value": []string{token}})
	refused(map[string]any{"name": []string{token}, "value": password})
	call("workspace_exec", map[string]any{"workspace_id": ws.WorkspaceID, "command": []string{"true"}, "secret_env": map[string]string{token: ""}}, nil)
	call("workspace_exec", map[string]any{"workspace_id": ws.WorkspaceID, "command": []string{"/bin/" + token}}, nil)
	call("workspace_exec", map[string]any{"workspace_id": ws.WorkspaceID, "command": []string{"true"}, "secret_env": []string{token}}, nil)
	for _, answer := range answers {
		if b, err := json.Marshal(answer); err != nil || strings.Contains(string(b), token) || strings.Contains(string(b), password) {
			t.Errorf("an answer shows a secret: %s, %v", b, err)
		}
	}
}
