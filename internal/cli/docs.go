package cli

import (
	"github.com/spf13/cobra"

	"pyro/api"
	"pyro/internal/mcp"
	"pyro/internal/reference"
)

//go:generate go run ./gendocs ../../docs/reference

// docs makes the hidden `pyro docs generate DIR`, which writes the reference.
func (a *app) docs() *cobra.Command {
	parent := a.parent("docs")
	parent.Hidden = true
	generate := &cobra.Command{
		Use:     "generate DIR",
		Short:   "Write the reference documentation",
		Example: "  pyro docs generate docs/reference",
		Args:    cobra.ArbitraryArgs,
	}
	generate.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return api.Errorf(api.KindUsage, "one folder is needed").WithHint("pyro docs generate docs/reference")
		}
		return reference.Write(args[0], map[string]string{"cli.md": Reference(), "schemas.json": mcp.ResultSchemas()})
	}
	parent.AddCommand(generate)
	return parent
}
