package hostconfig_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/hostconfig"
)

var update = flag.Bool("update", false, "write docs/integrations.md anew")

// hard is a server whose every word needs care.
var hard = hostconfig.Server{
	Command: `/opt/my "tools"\pyro`,
	Args:    []string{"mcp", "serve", "--project-path", "/home/me/naïve\nproject <1>\x7f"},
	Env:     map[string]string{"PYRO_STATE_DIR": "/var/tmp/a b", "PYRO_CACHE_DIR": `c:\x`},
}

// started is what a host would start, from where its configuration has it.
func started(t *testing.T, name string, config map[string]any) hostconfig.Server {
	t.Helper()
	section := map[string]string{"codex": "mcp_servers", "opencode": "mcp"}[name]
	if section == "" {
		section = "mcpServers"
	}
	server := config[section].(map[string]any)["pyro"].(map[string]any)
	var s hostconfig.Server
	var words []any
	if name == "opencode" {
		words = server["command"].([]any)
	} else {
		words = append([]any{server["command"]}, server["args"].([]any)...)
	}
	s.Command = words[0].(string)
	for _, w := range words[1:] {
		s.Args = append(s.Args, w.(string))
	}
	env, _ := server["env"].(map[string]any)
	if name == "opencode" {
		env, _ = server["environment"].(map[string]any)
	}
	for k, v := range env {
		if s.Env == nil {
			s.Env = map[string]string{}
		}
		s.Env[k] = v.(string)
	}
	return s
}

// TestConfig reads every configuration back, in its language.
func TestConfig(t *testing.T) {
	for _, h := range hostconfig.Hosts() {
		t.Run(h.Name, func(t *testing.T) {
			for _, want := range []hostconfig.Server{{Command: "pyro", Args: []string{"mcp", "serve"}}, hard} {
				text := h.Config(want)
				var config map[string]any
				if err := json.Unmarshal(asJSON(t, h.Language, text), &config); err != nil {
					t.Fatalf("%v:\n%s", err, text)
				}
				if diff := cmp.Diff(want, started(t, h.Name, config)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// asJSON turns TOML into JSON with Python, whose standard library reads it.
func asJSON(t *testing.T, language, text string) []byte {
	t.Helper()
	if language == "json" {
		return []byte(text)
	}
	cmd := exec.Command("python3", "-c", "import json, sys, tomllib; print(json.dumps(tomllib.loads(sys.stdin.read())))")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		if exec.Command("python3", "-c", "import tomllib").Run() != nil {
			t.Skip("needs python3, 3.11 or newer, which reads TOML")
		}
		t.Fatalf("%v:\n%s", err, text)
	}
	return out
}

func TestFind(t *testing.T) {
	if h, err := hostconfig.Find("codex"); err != nil || h.Title != "Codex" {
		t.Errorf("%+v, %v", h, err)
	}
	if _, err := hostconfig.Find("ed"); api.KindOf(err) != api.KindUsage || !strings.Contains(api.AsError(err).Hint, "claude-code, ") {
		t.Errorf("%v", err)
	}
}

// configBlock is a configuration in the documentation, below a comment that
// says whose it is.
var configBlock = regexp.MustCompile("(?s)(<!-- pyro host print-config ([a-z-]+) -->\n\n)```[a-z]+\n(.*?)```\n")

// TestIntegrations: the documentation shows what the command prints, of every
// host.
func TestIntegrations(t *testing.T) {
	const name = "../../docs/integrations.md"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	want := configBlock.ReplaceAllStringFunc(string(text), func(block string) string {
		m := configBlock.FindStringSubmatch(block)
		h, err := hostconfig.Find(m[2])
		if err != nil {
			t.Error(err)
			return block
		}
		shown[h.Name] = true
		return m[1] + "```" + h.Language + "\n" + h.Config(hostconfig.Server{Command: "pyro", Args: []string{"mcp", "serve"}}) + "```\n"
	})
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		text = []byte(want)
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("%s is stale: go test ./internal/hostconfig -run TestIntegrations -update\n%s", name, diff)
	}
	for _, h := range hostconfig.Hosts() {
		if !shown[h.Name] {
			t.Errorf("%s does not show %s", name, h.Name)
		}
		if !strings.Contains(string(text), h.File) {
			t.Errorf("%s does not say where the configuration of %s belongs: %s", name, h.Name, h.File)
		}
	}
}
