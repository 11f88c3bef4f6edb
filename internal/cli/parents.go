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
	"workspace file": {
		short: "Files: list, read and write single files of a workspace",
		long: `Files: list, read and write single files of a workspace.

Paths are absolute below /workspace or relative to it. Links are followed as long
as they stay below /workspace. For whole folders there are workspace sync push
and workspace export.`,
		examples: []string{
			"pyro workspace file list ws-0123456789ab src --recursive",
			"pyro workspace file read ws-0123456789ab src/main.go",
			"pyro workspace file write ws-0123456789ab src/main.go < main.go",
		},
	},
	"workspace patch": {
		short: "Patches: change files of a workspace by a unified diff",
		examples: []string{
			"git diff | pyro workspace patch apply ws-0123456789ab",
		},
	},
	"workspace service": {
		short: "Services: processes of a workspace that go on running between calls",
		long: `Services are processes of a workspace that go on running between calls.

A service has a name, a log, and if you like a probe that says when it is ready:
a file that must exist, an address that must take a connection, a URL that must
answer, a command that must succeed. A start returns once the service is ready,
or fails and leaves nothing of it running. Probes run in the sandbox, so
127.0.0.1 is the sandbox's own. Reset, stop and delete of the workspace end its
services.`,
		examples: []string{
			"pyro workspace service start ws-0123456789ab web --ready-http http://127.0.0.1:8080/ -- python3 -m http.server 8080",
			"pyro workspace service logs ws-0123456789ab web --follow",
			"pyro workspace service stop ws-0123456789ab web",
		},
	},
	"workspace shell": {
		short: "Shells: terminals of a workspace that stay open between calls",
		long: `Shells are terminals of a workspace that stay open between calls.

A shell is a program, bash if there is one, on a terminal of its own. What it
writes is kept and read by cursor, so that nothing is lost between two reads;
what is written to it is as if typed. People attach their own terminal, any
number of them at once, and detach again while the shell goes on. Reset, stop
and delete of the workspace close its shells.`,
		examples: []string{
			"pyro workspace shell open ws-0123456789ab --attach",
			"pyro workspace shell attach ws-0123456789ab sh-012345",
			"pyro workspace shell write ws-0123456789ab sh-012345 --input 'make test'",
			"pyro workspace shell read ws-0123456789ab sh-012345 --plain --wait-for-idle-ms 300",
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
