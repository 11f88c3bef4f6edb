package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// parentHelp is the help of a command that only holds others.
type parentHelp struct {
	// short stands in the list of commands, long above the command's own list;
	// without it short does.
	short, long string
	// examples are command lines.
	examples []string
}

func (h parentHelp) describe(cmd *cobra.Command) {
	cmd.Short, cmd.Long = h.short, h.long
	if len(h.examples) > 0 {
		cmd.Example = "  " + strings.Join(h.examples, "\n  ")
	}
}

// parents has the help of each such command by its path.
var parents = map[string]parentHelp{
	"daemon": {short: "The background process"},
	"env":    {short: "Environments: what sandboxes are made of"},
	"vm":     {short: "VMs that live for one command"},
	"workspace": {
		short: "Workspaces: sandboxes that stay until they are deleted",
		long: `Workspaces are sandboxes that stay until they are deleted.

A workspace holds a copy of your files in /workspace. Its commands find what
those before them left, and nothing of it reaches the host until it is exported.
The state that it was created with is its baseline: a diff shows what is
different from it, and a reset goes back to it or to a snapshot.

A stopped workspace keeps its disk and is started by its next use.`,
		examples: []string{
			"pyro workspace create debian:12 --seed-path ./my-project",
			"pyro workspace exec ws-0123456789ab -- make test",
			"pyro workspace diff ws-0123456789ab | git apply",
			"pyro workspace delete ws-0123456789ab",
		},
	},
	"workspace snapshot": {
		short: "Snapshots: states of a workspace, kept under names",
		long: `Snapshots are states of a workspace that are kept under names.

A snapshot holds the whole disk of the sandbox, system files too, but no
processes. It survives every reset and goes with its workspace. The name
baseline stands for the state that the workspace was created with.`,
		examples: []string{
			"pyro workspace snapshot create ws-0123456789ab before-refactoring",
			"pyro workspace diff ws-0123456789ab --from before-refactoring",
			"pyro workspace reset ws-0123456789ab --snapshot before-refactoring",
		},
	},
	"workspace sync": {
		short: "Put later content of the host into a workspace",
		examples: []string{
			"pyro workspace sync push ws-0123456789ab ./src --dest src",
		},
	},
}
