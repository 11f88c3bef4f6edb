package pyro_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"pyro/api"
)

// jsonWorld runs commands with --json and holds each answer against the schema
// that docs/reference/schemas.json has for the operation.
type jsonWorld struct {
	*mcpWorld
	schemas map[string]*jsonschema.Resolved
	seen    map[string]bool
}

func newJSONWorld(t *testing.T) *jsonWorld {
	t.Helper()
	text, err := os.ReadFile("docs/reference/schemas.json")
	if err != nil {
		t.Skip("needs the folder docs of the checkout beside the test")
	}
	var doc struct {
		Defs map[string]json.RawMessage `json:"$defs"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	w := &jsonWorld{newMCPWorld(t), map[string]*jsonschema.Resolved{}, map[string]bool{}}
	for name, schema := range doc.Defs {
		w.schemas[name] = schemaOf(t, schema)
	}
	return w
}

// answer runs a command, which must give the answer of that operation, or
// "error", and returns it.
func (w *jsonWorld) answer(t *testing.T, operation string, args ...string) map[string]any {
	t.Helper()
	if rest := len(args); rest > 0 {
		at := rest
		for i, a := range args {
			if a == "--" {
				at = i
				break
			}
		}
		args = append(append(append([]string{}, args[:at]...), "--json"), args[at:]...)
	}
	cmd := exec.Command(w.command().Path, args...)
	var stderr bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stderr = w.env, w.work, &stderr
	out, err := cmd.Output()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	_, err = oneDocument(string(out))
	var doc any // with numbers as the validator has them
	if err == nil {
		err = json.Unmarshal(out, &doc)
	}
	if err != nil {
		t.Fatalf("pyro %q: %v\n%s%s", args, err, out, stderr.Bytes())
	}
	if err := w.schemas[operation].Validate(doc); err != nil {
		t.Errorf("pyro %q: %v\n%s%s", args, err, out, stderr.Bytes())
	}
	w.seen[operation] = true
	answer, _ := doc.(map[string]any)
	return answer
}

// TestJSONAnswers: every command's answer is what its published schema says.
func TestJSONAnswers(t *testing.T) {
	w := newJSONWorld(t)
	if err := w.install("debian:12"); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.work, "project", "main.txt"), "one\n")
	w.vms(t)
	w.workspaces(t)
	w.environments(t)
	w.answer(t, "doctor", "doctor")
	w.answer(t, "daemon_status", "daemon", "status")
	w.answer(t, "error", "workspace", "status", "ws-0")
	w.answer(t, "error", "run", "debian:12", "--mem-mib", "0", "--", "true")
	w.answer(t, "daemon_stop", "daemon", "stop")
	for _, op := range api.Operations() {
		if op.CLI != "" && !w.seen[op.Name] && op.Name != api.ExportWorkspaceTar.Name {
			t.Errorf("no answer of pyro %s was looked at", op.CLI)
		}
	}
}

func (w *jsonWorld) vms(t *testing.T) {
	w.answer(t, "run_in_vm", "run", "debian:12", "--", "sh", "-c", "echo out; exit 3")
	w.answer(t, "run_in_vm", "run", "debian:12", "--timeout-seconds", "1", "--", "sleep", "100")
	vm, _ := w.answer(t, "create_vm", "vm", "create", "debian:12")["vm_id"].(string)
	w.answer(t, "start_vm", "vm", "start", vm)
	w.answer(t, "status_vm", "vm", "status", vm)
	w.answer(t, "list_vms", "vm", "list")
	w.answer(t, "network_info_vm", "vm", "network-info", vm)
	w.answer(t, "exec_vm", "vm", "exec", vm, "--", "true")
	vm, _ = w.answer(t, "create_vm", "vm", "create", "debian:12")["vm_id"].(string)
	w.answer(t, "stop_vm", "vm", "stop", vm)
	w.answer(t, "delete_vm", "vm", "delete", vm)
	w.answer(t, "list_vms", "vm", "list")
	w.answer(t, "reap_expired", "vm", "reap-expired")
}

func (w *jsonWorld) workspaces(t *testing.T) {
	w.answer(t, "list_workspaces", "workspace", "list")
	ws, _ := w.answer(t, "create_workspace", "workspace", "create", "debian:12", "--seed-path", "project")["workspace_id"].(string)
	w.answer(t, "diff_workspace", "workspace", "diff", ws)
	w.answer(t, "logs_workspace", "workspace", "logs", ws)
	w.answer(t, "exec_workspace", "workspace", "exec", ws, "--", "sh", "-c", `echo two > main.txt; printf '\377\0' > binary; exit 4`)
	w.answer(t, "logs_workspace", "workspace", "logs", ws)
	w.answer(t, "diff_workspace", "workspace", "diff", ws)
	w.answer(t, "push_workspace_sync", "workspace", "sync", "push", ws, "project", "--dest", "again")
	w.answer(t, "list_snapshots", "workspace", "snapshot", "list", ws)
	w.answer(t, "create_snapshot", "workspace", "snapshot", "create", ws, "two")
	w.answer(t, "list_snapshots", "workspace", "snapshot", "list", ws)
	w.answer(t, "export_workspace", "workspace", "export", ws, "main.txt", "--output", "exported.txt")
	w.files(t, ws)
	w.shells(t, ws)
	w.services(t, ws)
	w.answer(t, "reset_workspace", "workspace", "reset", ws, "--snapshot", "two")
	w.answer(t, "delete_snapshot", "workspace", "snapshot", "delete", ws, "two")
	w.answer(t, "status_workspace", "workspace", "status", ws)
	w.answer(t, "stop_workspace", "workspace", "stop", ws)
	w.answer(t, "start_workspace", "workspace", "start", ws)
	w.answer(t, "update_workspace", "workspace", "update", ws, "--name", "named", "--label", "a=b")
	w.answer(t, "list_workspaces", "workspace", "list", "--label", "a=b")
	w.answer(t, "delete_workspace", "workspace", "delete", ws)
	ws, _ = w.answer(t, "create_workspace", "workspace", "create", "debian:12", "--network-policy", "allowlist")["workspace_id"].(string)
	w.answer(t, "exec_workspace", "workspace", "exec", ws, "--", "perl", "-MSocket", "-e", `gethostbyname("refused.example")`)
	w.answer(t, "log_network", "workspace", "network", "log", ws)
	w.answer(t, "suggest_network", "workspace", "network", "suggest", ws)
	w.answer(t, "delete_workspace", "workspace", "delete", ws)
}

func (w *jsonWorld) files(t *testing.T, ws string) {
	w.answer(t, "list_workspace_files", "workspace", "file", "list", ws, "--recursive")
	w.answer(t, "list_workspace_files", "workspace", "file", "list", ws, "--max-entries", "1")
	w.answer(t, "read_workspace_file", "workspace", "file", "read", ws, "main.txt")
	w.answer(t, "read_workspace_file", "workspace", "file", "read", ws, "binary")
	w.answer(t, "write_workspace_file", "workspace", "file", "write", ws, "new/file", "--content", "x")
	write(t, filepath.Join(w.work, "change.patch"), "--- a/main.txt\n+++ b/main.txt\n@@ -1 +1 @@\n-two\n+three\n")
	w.answer(t, "apply_workspace_patch", "workspace", "patch", "apply", ws, "--check", "--from-file", "change.patch")
	w.answer(t, "apply_workspace_patch", "workspace", "patch", "apply", ws, "--from-file", "change.patch")
	w.answer(t, "error", "workspace", "patch", "apply", ws, "--from-file", "change.patch")
}

func (w *jsonWorld) shells(t *testing.T, ws string) {
	w.answer(t, "list_shells", "workspace", "shell", "list", ws)
	shell, _ := w.answer(t, "open_shell", "workspace", "shell", "open", ws)["shell_id"].(string)
	w.answer(t, "write_shell", "workspace", "shell", "write", ws, shell, "--input", "echo hello")
	w.answer(t, "read_shell", "workspace", "shell", "read", ws, shell)
	w.answer(t, "resize_shell", "workspace", "shell", "resize", ws, shell, "--cols", "100", "--rows", "40")
	w.answer(t, "signal_shell", "workspace", "shell", "signal", ws, shell, "--signal", "INT")
	w.answer(t, "list_shells", "workspace", "shell", "list", ws)
	w.answer(t, "close_shell", "workspace", "shell", "close", ws, shell)
}

func (w *jsonWorld) services(t *testing.T, ws string) {
	w.answer(t, "list_services", "workspace", "service", "list", ws)
	w.answer(t, "start_service", "workspace", "service", "start", ws, "web", "--ready-file", ".ready", "--", "sh", "-c", "echo up; touch .ready; sleep 1000")
	w.answer(t, "status_service", "workspace", "service", "status", ws, "web")
	w.answer(t, "logs_service", "workspace", "service", "logs", ws, "web")
	w.answer(t, "list_services", "workspace", "service", "list", ws)
	w.answer(t, "stop_service", "workspace", "service", "stop", ws, "web")
}

// environments works on a cache of its own, which it may empty.
func (w *jsonWorld) environments(t *testing.T) {
	w.answer(t, "list_environments", "env", "list")
	w.answer(t, "inspect_environment", "env", "inspect", "debian:12")
	w.answer(t, "pull_environment", "env", "pull", "debian:12")
	cache := t.TempDir()
	shared := w.env
	w.env = append(append([]string{}, shared...), "PYRO_CACHE_DIR="+cache, "PYRO_STATE_DIR="+shortDir(t)+"/s")
	defer func() { w.env = shared }()
	tar := filepath.Join(w.work, "root.tar")
	if out, err := exec.Command("tar", "-cf", tar, "-C", filepath.Join(w.work, "project"), ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	w.answer(t, "import_environment", "env", "import", "mine", tar)
	w.answer(t, "prune_environments", "env", "prune", "--all")
	w.answer(t, "daemon_stop", "daemon", "stop", "--force")
}
