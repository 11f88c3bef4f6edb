package mcp

import (
	"context"
	"testing"

	"pyro/api"
	"pyro/client/clienttest"
)

// TestHints: a model reads hints as calls of the tools that it has. What it has
// no tool for, or no argument of one, is said as people type it.
func TestHints(t *testing.T) {
	for profile, hints := range map[string]map[string]string{
		DefaultProfile: {
			"pyro workspace list":                        "workspace_list",
			"pyro workspace logs ws-1":                   `workspace_logs(workspace_id="ws-1")`,
			"free some: pyro workspace delete ID":        "free some: workspace_delete(workspace_id=ID)",
			"pyro workspace exec ID -- ls -l":            `workspace_exec(workspace_id=ID, command=["ls","-l"])`,
			"choose another; pyro env list shows those":  "choose another; vm_list_environments shows those",
			"pyro workspace create a:1 --mem-mib 2048":   `workspace_create(environment="a:1", mem_mib=2048)`,
			"pyro workspace create a:1 --pid-limit 2048": "pyro workspace create a:1 --pid-limit 2048",
			"give it more with --timeout-seconds 60":     "give it more with timeout_seconds 60",
			"run with --runtime vm, or without --kernel": "run with --runtime vm, or without --kernel",
			"pyro workspace shell list ws-1":             "pyro workspace shell list ws-1",
			"pyro env pull debian:12":                    "pyro env pull debian:12",
		},
		"workspace-full": {
			"pyro workspace create a:1 --pid-limit 2048":                                                   `workspace_create(environment="a:1", pid_limit=2048)`,
			"run with --runtime vm, or without --kernel":                                                   "run with runtime vm, or without kernel",
			"pyro workspace service list ws-1":                                                             `service_list(workspace_id="ws-1")`,
			"pyro workspace shell read ws-1 sh-1 --plain; or open another: pyro workspace shell open ws-1": `shell_read(workspace_id="ws-1", shell_id="sh-1", plain=true); or open another: shell_open(workspace_id="ws-1")`,
			"pyro env pull debian:12":                                                                      "pyro env pull debian:12",
		},
	} {
		p, err := findProfile(profile)
		if err != nil {
			t.Fatal(err)
		}
		for text, want := range hints {
			if got := p.phrasing().Text(text); got != want {
				t.Errorf("%s, %s:\ngot  %s\nwant %s", profile, text, got, want)
			}
		}
	}
}

// TestHintsOfResults: a result can hold errors too.
func TestHintsOfResults(t *testing.T) {
	daemon := execServer(api.ExecWorkspace.Operation, func(s clienttest.Stream) {
		s.WriteJSON(api.FrameResult, api.ExecResult{
			WorkspaceID: "ws-1", ExitCode: 124,
			Limit: api.Errorf(api.KindTimeout, "too slow").WithHint("give it more with --timeout-seconds 60"),
		})
	})
	daemon.Call = map[string]func(context.Context, []byte) (any, error){
		api.LogsWorkspace.Name: func(context.Context, []byte) (any, error) {
			return api.CommandLog{Commands: []api.Command{{Sequence: 1, Limit: api.Errorf(api.KindReset, "lost").WithHint("pyro workspace list")}}}, nil
		},
	}
	session := connect(t, newServer(t, daemon, Options{}), nil)
	if got := content[commandAnswer](t, call(t, session, "workspace_exec", execArguments())); got.Limit == nil || got.Limit.Hint != "give it more with timeout_seconds 60" {
		t.Errorf("the limit is %+v", got.Limit)
	}
	got := content[api.CommandLog](t, call(t, session, "workspace_logs", map[string]any{"workspace_id": "ws-1"}))
	if len(got.Commands) != 1 || got.Commands[0].Limit.Hint != "workspace_list" {
		t.Errorf("the log is %+v", got)
	}
}
