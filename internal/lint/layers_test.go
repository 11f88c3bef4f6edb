package lint

import (
	"testing"
)

// layer says what the packages of a part of pyro may import. .golangci.yml has
// the most important ones again, for the editor; here is the whole list.
type layer struct {
	packages []string
	// only lists all packages of ours that may be imported; nil for any.
	only []string
	// never lists packages, of ours or others, that may not be.
	never []string
	// stdOnly forbids all modules but ours.
	stdOnly bool
	why     string
}

// drivers are the packages that know one way to isolate, and what they share.
var drivers = []string{
	"pyro/internal/runtime/gvisor/...", "pyro/internal/runtime/qemu/...", "pyro/internal/runtime/host/...", "pyro/internal/runtime/machines",
}

// domain is everything behind the background process's socket.
var domain = []string{
	"pyro/internal/daemon/...", "pyro/internal/vm/...", "pyro/internal/workspace/...", "pyro/internal/sandbox/...", "pyro/internal/store/...",
	"pyro/internal/commandlog/...", "pyro/internal/environment/...", "pyro/internal/runtime/...", "pyro/internal/network/...", "pyro/internal/service/...",
}

var layers = []layer{
	{
		packages: []string{"pyro/api"},
		only:     []string{}, stdOnly: true,
		why: "every surface derives from the table of operations, so it can depend on none of them, nor on a library of theirs",
	},
	{
		packages: []string{"pyro/client/..."},
		only:     []string{"pyro/api", "pyro/internal/buildid", "pyro/internal/frame", "pyro/internal/handshake", "pyro/internal/hostcheck", "pyro/internal/paths"},
		why:      "the client is what a program of someone else would be: it knows the table and the socket, nothing behind it",
	},
	{
		packages: []string{"pyro/internal/cli/...", "pyro/internal/mcp/..."},
		never:    domain,
		why:      "the command line and MCP have no private door: what they cannot do through package client, the API lacks",
	},
	{
		packages: drivers,
		never: []string{
			"pyro/internal/daemon/...", "pyro/internal/vm/...", "pyro/internal/workspace/...", "pyro/internal/sandbox/...", "pyro/internal/store/...",
			"pyro/internal/environment/...", "pyro/client/...", "pyro/internal/cli/...",
		},
		why: "a driver makes machines; what they are for, and where their images come from, is the caller's",
	},
	{
		packages: []string{"pyro/internal/vm/...", "pyro/internal/workspace/...", "pyro/internal/sandbox/...", "pyro/internal/environment/...", "pyro/internal/store/..."},
		never:    append([]string{"pyro/internal/daemon/...", "pyro/client/...", "pyro/internal/cli/..."}, drivers...),
		why:      "the domain talks to the contract in internal/runtime; only internal/daemon knows which drivers there are",
	},
	{
		packages: []string{"pyro/internal/tree/...", "pyro/internal/holes/...", "pyro/internal/seed/...", "pyro/internal/export/...", "pyro/internal/patch/...", "pyro/internal/erofs/...", "pyro/internal/debian/...", "pyro/internal/oci/..."},
		never:    append([]string{"pyro/client/...", "pyro/internal/cli/...", "gvisor.dev/gvisor/..."}, domain...),
		why:      "readers and writers of formats are used by the domain and know nothing of it",
	},
	{
		packages: []string{"pyro/internal/network/policy", "pyro/internal/network/dns", "pyro/internal/network/greeting", "pyro/internal/network/refusals"},
		only:     []string{"pyro/api", "pyro/internal/failpoint"},
		never:    []string{"gvisor.dev/gvisor/..."},
		why:      "what a sandbox may reach is decided, and its questions are answered, without knowing what a sandbox is",
	},
	{
		packages: []string{"pyro/cmd/pyro-agent", "pyro/internal/agent/..."},
		never:    append([]string{"pyro/client/...", "pyro/internal/cli/...", "gvisor.dev/gvisor/..."}, domain...),
		why:      "the agent is a small program of its own that runs inside the guest",
	},
}

func TestLayers(t *testing.T) {
	for _, p := range packages(t) {
		for _, l := range layers {
			if !within(p.path, l.packages) {
				continue
			}
			for name, file := range p.files {
				if isTest(name) {
					continue
				}
				for _, imported := range imports(file) {
					if l.forbids(imported) {
						t.Errorf("%s imports %s: %s", name, imported, l.why)
					}
				}
			}
		}
	}
}

func (l layer) forbids(path string) bool {
	ours := within(path, []string{module + "/..."})
	switch {
	case within(path, l.never):
		return true
	case ours && within(path, l.packages):
		return false
	case ours:
		return l.only != nil && !within(path, l.only)
	}
	return l.stdOnly && !isStd(path)
}

// TestExclusive checks the packages that only a few may import.
func TestExclusive(t *testing.T) {
	for _, rule := range []struct {
		what, who []string
		why       string
	}{
		{
			what: []string{"gvisor.dev/gvisor/..."},
			who:  []string{"pyro/internal/runtime/gvisor/...", "pyro/internal/network/gateway"},
			why:  "gVisor promises no stable Go API, so one package wraps its sandbox, and one its network stack, which serves every runtime",
		},
		{
			what: drivers,
			who:  append([]string{"pyro/internal/daemon/...", "pyro/cmd/pyro"}, drivers...),
			why:  "only the daemon knows every concrete driver (cmd/pyro hands over to gVisor's own sub-commands)",
		},
		{
			what: []string{"modernc.org/sqlite/..."},
			who:  []string{"pyro/internal/store/..."},
			why:  "the schema and its statements are in one place",
		},
		{
			what: []string{"github.com/spf13/cobra/...", "github.com/spf13/pflag/..."},
			who:  []string{"pyro/internal/cli/..."},
			why:  "the command line is one surface of several",
		},
	} {
		for _, p := range packages(t) {
			if within(p.path, rule.who) {
				continue
			}
			for name, file := range p.files {
				if isTest(name) {
					continue
				}
				for _, imported := range imports(file) {
					if within(imported, rule.what) {
						t.Errorf("%s imports %s: %s", name, imported, rule.why)
					}
				}
			}
		}
	}
}

// TestForbiddenImports holds for tests too.
func TestForbiddenImports(t *testing.T) {
	forbidden := map[string]string{
		"gvisor.dev/gvisor/runsc/cli/maincli/...":    "it embeds a foreign binary of 47 MB",
		"gvisor.dev/gvisor/runsc/gvisorbinaries/...": "it embeds a foreign binary of 47 MB",
		"github.com/stretchr/testify/...":            "tests use the standard library and go-cmp",
		"github.com/pkg/errors/...":                  "the standard library wraps errors",
		"io/ioutil":                                  "os and io have its functions",
		"golang.org/x/exp/...":                       "it promises nothing; slices and maps are in the standard library",
		"github.com/golang/mock/...":                 "a fake is a small true implementation",
		"go.uber.org/mock/...":                       "a fake is a small true implementation",
	}
	for _, p := range packages(t) {
		for name, file := range p.files {
			for _, imported := range imports(file) {
				for pattern, why := range forbidden {
					if within(imported, []string{pattern}) {
						t.Errorf("%s imports %s: %s", name, imported, why)
					}
				}
			}
		}
	}
}
