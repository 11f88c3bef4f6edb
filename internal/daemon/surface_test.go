package daemon

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"pyro/api"
)

// TestSurface: callers read hints in the names that they know.
func TestSurface(t *testing.T) {
	c := inProcess(t)
	vm := must(c, api.CreateVM, resources(nil)).VMID
	for _, tc := range []struct{ surface, operation, body, want string }{
		{"", "status_workspace", `{"workspace_id":"ws-9"}`, "pyro workspace list"},
		{"python", "status_workspace", `{"workspace_id":"ws-9"}`, "list_workspaces()"},
		{"python", "status_vm", `{"vm_id":"vm-9"}`, "pyro vm list"}, // there is no such method
		{"python", "exec_vm", `{"vm_id":"` + vm + `","command":["true"]}`, `start_vm("` + vm + `")`},
		{"python", "nonsense", `{}`, "client and background process may differ: pyro daemon stop"},
		{"other", "status_vm", `{"vm_id":"vm-9"}`, "pyro vm list"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://pyro/v1/"+tc.operation, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(headerSurface, tc.surface)
		answer, err := c.http().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if e := api.UnmarshalError(body); err != nil || e == nil || e.Hint != tc.want {
			t.Errorf("%s %s: %s, %v; want the hint %q", tc.surface, tc.operation, body, err, tc.want)
		}
	}
}

// TestPythonCalls: hints as the Python package has them.
func TestPythonCalls(t *testing.T) {
	for text, want := range map[string]string{
		"see what is there: pyro workspace file list ws-1 src --recursive":    `see what is there: list_workspace_files("ws-1", "src", recursive=True)`,
		"check the command: pyro workspace exec ID -- ls -l":                  `check the command: exec_workspace(ID, command=["ls","-l"])`,
		"create it anew: pyro workspace export ws-1 . --output DIR":           `create it anew: export_workspace("ws-1", ".", output_path=DIR)`,
		"free some space, for example with: pyro env prune":                   `free some space, for example with: prune_environments()`,
		"give it more with --timeout-seconds 60":                              `give it more with timeout_seconds 60`,
		"see what works on this host with: pyro doctor":                       `see what works on this host with: pyro doctor`,
		"secrets are given at creation: pyro workspace create ENV --secret X": `secrets are given at creation: pyro workspace create ENV --secret X`,
	} {
		if got := phrasings["python"].Text(text); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", text, got, want)
		}
	}
}
