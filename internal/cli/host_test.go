package cli_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"pyro/client/clienttest"
)

// TestHostPrintConfig: the answer is the configuration of this very program,
// with flags that the server takes and the variables it needs.
func TestHostPrintConfig(t *testing.T) {
	dirs := clienttest.Dirs(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	got := pyro(t, dirs, nil, "host", "print-config", "claude-code", "--", "--profile", "vm-run")
	var config struct {
		Servers map[string]struct {
			Command string
			Args    []string
			Env     map[string]string
		} `json:"mcpServers"`
	}
	if err := json.Unmarshal([]byte(got.stdout), &config); err != nil || got.code != 0 {
		t.Fatalf("%+v: %v", got, err)
	}
	server := config.Servers["pyro"]
	if server.Command != program || strings.Join(server.Args, " ") != "mcp serve --profile vm-run" || server.Env["PYRO_STATE_DIR"] != dirs.State {
		t.Errorf("got %+v", server)
	}
	if !strings.Contains(got.stderr, ".mcp.json") {
		t.Errorf("stderr: %q", got.stderr)
	}
	got = pyro(t, dirs, nil, "host", "print-config", "--json", "codex")
	var answer map[string]string
	if err := json.Unmarshal([]byte(got.stdout), &answer); err != nil || answer["language"] != "toml" || !strings.HasPrefix(answer["config"], "[mcp_servers.pyro]\n") || got.stderr != "" {
		t.Errorf("%+v: %v", got, err)
	}
}

func TestHostUsage(t *testing.T) {
	dirs := clienttest.Dirs(t)
	for args, want := range map[string]string{
		"host print-config":                                    "NAME is missing",
		"host print-config vim":                                "use one of: claude-code, claude-desktop, cursor, codex, opencode",
		"host print-config codex workspace-full":               "no flag of pyro mcp serve",
		"host print-config codex -- --no-such-flag":            "unknown flag --no-such-flag",
		"host print-config codex -- --http 127.0.0.1:0":        "leave out --http",
		"host print-config codex -- --answer-within-seconds x": "invalid",
	} {
		if got := pyro(t, dirs, nil, strings.Fields(args)...); got.code != 2 || !strings.Contains(got.stderr, want) || got.stdout != "" {
			t.Errorf("%s: got %+v, want %q", args, got, want)
		}
	}
}
