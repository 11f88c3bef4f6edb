package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pyro/api"
	"pyro/internal/hostconfig"
)

// handedOver are the variables that move pyro's folders or change how it works,
// which the server needs as much as this process does.
var handedOver = []string{
	"PYRO_STATE_DIR", "PYRO_CACHE_DIR", "PYRO_CONFIG_DIR", "PYRO_DEBIAN_MIRROR", "PYRO_DEBIAN_SECURITY_MIRROR",
	"XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
}

// host makes `pyro host`, about the programs that start the MCP server.
func (a *app) host() *cobra.Command {
	parent := a.parent("host")
	parent.Short = "The programs that run models and start the MCP server"
	parent.AddCommand(a.hostPrintConfig())
	return parent
}

// hostConfig is the answer with --json.
type hostConfig struct {
	Host     string `json:"host"`
	File     string `json:"file"`     // where it belongs, for people
	Language string `json:"language"` // json or toml
	Config   string `json:"config"`
}

func (a *app) hostPrintConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "print-config NAME [flags] [-- SERVER-FLAG...]",
		DisableFlagsInUseLine: true,
		Short:                 "Print the configuration with which a program starts the MCP server",
		Long: `Print the configuration with which a program starts the MCP server.

It goes to stdout; where it belongs is said on stderr. Nothing is written. The
configuration names this program by its path, with the variables of this
process that move pyro's folders. What follows -- are flags of pyro mcp serve.

Names:
` + hostList(),
		Example: "  pyro host print-config claude-code\n  pyro host print-config codex -- --profile workspace-full",
		Args:    cobra.ArbitraryArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, "print the result as one JSON document")
	cmd.RunE = func(_ *cobra.Command, given []string) error {
		if len(given) == 0 {
			return api.Errorf(api.KindUsage, "NAME is missing").WithHint("pyro host print-config --help")
		}
		host, err := hostconfig.Find(given[0])
		if err != nil {
			return err
		}
		server, err := a.mcpServer(given[1:])
		if err != nil {
			return err
		}
		config := host.Config(server)
		if *asJSON {
			return a.printJSON(hostConfig{host.Name, host.File, host.Language, config})
		}
		fmt.Fprintf(a.Stderr, "[print-config] %s: put this into %s\n", host.Title, host.File)
		_, err = fmt.Fprint(a.Stdout, config)
		return outputError(err)
	}
	return cmd
}

func hostList() string {
	var b strings.Builder
	for _, h := range hostconfig.Hosts() {
		b.WriteString("  " + pad(h.Name, 16) + h.Title + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

// mcpServer is the server with these flags, which it must take.
func (a *app) mcpServer(flags []string) (hostconfig.Server, error) {
	serve, _, err := a.root().Find([]string{"mcp", "serve"})
	if err != nil {
		return hostconfig.Server{}, api.Errorf(api.KindInternal, "pyro mcp serve: %w", err)
	}
	if err := serve.ParseFlags(flags); err != nil {
		return hostconfig.Server{}, flagError(serve, err)
	}
	if rest := serve.Flags().Args(); len(rest) > 0 {
		return hostconfig.Server{}, api.Errorf(api.KindUsage, "%q is no flag of pyro mcp serve", rest[0]).WithHint("pyro mcp serve --help")
	}
	if serve.Flags().Changed("http") {
		return hostconfig.Server{}, api.Errorf(api.KindUsage, "a host talks to a server that it starts by stdin and stdout, not by --http").
			WithHint("leave out --http; for HTTP see docs/integrations.md")
	}
	program, err := os.Executable()
	if err != nil {
		return hostconfig.Server{}, api.Errorf(api.KindInternal, "the path of this program is not known: %w", err)
	}
	server := hostconfig.Server{Command: program, Args: append([]string{"mcp", "serve"}, flags...), Env: map[string]string{}}
	for _, name := range handedOver {
		if value := a.getenv(name); value != "" {
			server.Env[name] = value
		}
	}
	return server, nil
}
