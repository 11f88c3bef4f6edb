// Package hostconfig writes the configurations by which the programs that run
// models start pyro's MCP server.
//
// Such a program, a host in the words of the protocol, has a file of its own
// with the servers that it starts. What is in it is the same everywhere, a
// command with its arguments and variables; how it is said is not. [Hosts] lists
// the hosts, and [Host.Config] says it as one of them wants it:
//
//	host, _ := hostconfig.Find("codex")
//	text := host.Config(hostconfig.Server{Command: "pyro", Args: []string{"mcp", "serve"}})
//
// Hosts hand over only a few variables of their own environment, so those that
// move pyro's folders have to be in the configuration.
package hostconfig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pyro/api"
)

// Server is what a host has to start.
type Server struct {
	// Command is the program, Args are its arguments. Required.
	Command string
	Args    []string
	// Env are variables that the program needs besides the host's own.
	Env map[string]string
}

// Host is a program that starts MCP servers.
type Host struct {
	// Name is what users type, Title what the host calls itself.
	Name, Title string
	// File is where the configuration belongs. It may hold other things
	// too, among which this has to be put.
	File string
	// Language is that of the file: json or toml.
	Language string

	config func(Server) string
}

// Config is the file's content for a server and nothing else.
func (h Host) Config(s Server) string { return h.config(s) }

// Hosts lists the hosts in the order of the documentation.
func Hosts() []Host {
	return []Host{
		{"claude-code", "Claude Code", ".mcp.json in the project", "json", func(s Server) string {
			return mcpServers(typed{"stdio", s.Command, args(s), s.Env})
		}},
		{"claude-desktop", "Claude Desktop", "claude_desktop_config.json (Settings, Developer, Edit Config)", "json", func(s Server) string {
			return mcpServers(plain{s.Command, args(s), s.Env})
		}},
		{"cursor", "Cursor", ".cursor/mcp.json in the project, or ~/.cursor/mcp.json", "json", func(s Server) string {
			return mcpServers(typed{"stdio", s.Command, args(s), s.Env})
		}},
		{"codex", "Codex", "~/.codex/config.toml", "toml", codex},
		{"opencode", "OpenCode", "opencode.json in the project, or ~/.config/opencode/opencode.json", "json", opencode},
	}
}

// Find returns the host of that name. The error is of kind usage.
func Find(name string) (Host, error) {
	var names []string
	for _, h := range Hosts() {
		if h.Name == name {
			return h, nil
		}
		names = append(names, h.Name)
	}
	return Host{}, api.Errorf(api.KindUsage, "host %q is not known", name).WithHint("use one of: %s", strings.Join(names, ", "))
}

// plain is a server as most hosts want it, typed one as those do that know
// several transports.
type (
	plain struct {
		Command string            `json:"command"`
		Args    []string          `json:"args"`
		Env     map[string]string `json:"env,omitempty"`
	}
	typed struct {
		Type    string            `json:"type"`
		Command string            `json:"command"`
		Args    []string          `json:"args"`
		Env     map[string]string `json:"env,omitempty"`
	}
)

func args(s Server) []string { return append([]string{}, s.Args...) }

// serverName is the name under which hosts know the server.
const serverName = "pyro"

func mcpServers(server any) string {
	return document(map[string]any{"mcpServers": map[string]any{serverName: server}})
}

func opencode(s Server) string {
	type local struct {
		Type        string            `json:"type"`
		Command     []string          `json:"command"`
		Enabled     bool              `json:"enabled"`
		Environment map[string]string `json:"environment,omitempty"`
	}
	return document(struct {
		Schema string           `json:"$schema"`
		MCP    map[string]local `json:"mcp"`
	}{"https://opencode.ai/config.json", map[string]local{
		serverName: {"local", append([]string{s.Command}, s.Args...), true, s.Env},
	}})
}

func document(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		panic("hostconfig: " + err.Error()) // strings, lists and maps of them
	}
	return b.String()
}

// codex is TOML. A basic string of TOML takes JSON's escapes.
func codex(s Server) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[mcp_servers.%s]\ncommand = %s\nargs = [", serverName, quote(s.Command))
	for i, arg := range s.Args {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quote(arg))
	}
	b.WriteString("]\n")
	if len(s.Env) > 0 {
		fmt.Fprintf(&b, "\n[mcp_servers.%s.env]\n", serverName)
		for _, name := range slices.Sorted(maps.Keys(s.Env)) {
			fmt.Fprintf(&b, "%s = %s\n", quote(name), quote(s.Env[name]))
		}
	}
	return b.String()
}

func quote(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(document(strings.ToValidUTF8(text, "�"))), "\x7f", `\u007f`)
}
