// Package cli is the pyro command line.
//
// Its commands are derived from the rows of package api: the path, the flags
// with defaults and help, the positional arguments. Only what people read is
// written by hand (render*.go). The command line has no private door: it does
// what package client does.
//
// # Rules of the output
//
//   - stdout is the answer, stderr the talk: progress, bracketed [run] lines,
//     errors. A guest's stdout goes to stdout, its stderr to stderr.
//   - --json gives exactly one JSON document on stdout, the result of the row
//     or {"error": {kind, message, hint}}, and nothing else there. It may gain
//     fields and never loses one. For a command it holds the bounded output.
//   - An error is "pyro: MESSAGE", then "hint: WHAT TO DO". What went well but
//     not quite as asked is "warning: OBJECT: FACT", at most twenty times.
//   - Bytes that a guest made up, its output and its files, are written to stdout
//     as they are; in lines of pyro's own, names with control characters are quoted.
//   - Exit codes are those of `pyro help exit-codes`. A usage error exits 2 and
//     names the flag or argument.
//   - Colour is not used. Only progress looks different on a terminal.
//   - When nobody reads stdout any more (| head), pyro ends quietly as if by
//     SIGPIPE, exit code 141.
//
// # Signals
//
// While a command runs, SIGINT, SIGTERM, SIGHUP and SIGQUIT are the command's:
// they are passed on and pyro waits for what it makes of them. A third SIGINT
// within two seconds ends pyro itself, and with it the command. At any other
// time a signal ends pyro, exit code 128+n.
//
// While a terminal is attached to a shell its keys are the shell's, Ctrl-C too;
// a signal from elsewhere ends pyro, and the shell goes on.
package cli

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"pyro/api"
	"pyro/client"
)

// Program is what the command line gets from its process.
type Program struct {
	// Stdin is passed to commands unless it is a terminal or /dev/null.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Env are the variables (KEY=VALUE); nil means os.Environ().
	Env []string
	// Signals replaces the process's own signals if not nil.
	Signals <-chan os.Signal
	// RunDaemon is the background process. It calls ready with nil once it
	// answers and returns when it has ended. Package cli does not import it so
	// that both can be tested alone.
	RunDaemon func(ctx context.Context, ready func(error)) error
}

// Main runs one command line, without the program's name, and returns the exit
// code.
func Main(args []string, p Program) int {
	if PrintVersion(args, p.Stdout) {
		return api.ExitOK
	}
	a := &app{Program: p}
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	return a.exit(cmd, args, err)
}

// app is one run of the command line.
type app struct {
	Program
	idOnly bool // of a workspace that is created, its id is all there is to print
}

// newClient returns a client for the folders that the environment names.
func (a *app) newClient() (*client.Client, error) {
	return client.New(client.Options{Env: a.Env})
}

// root builds the command tree.
func (a *app) root() *cobra.Command {
	root := a.parent("pyro")
	root.Short = "Disposable Linux sandboxes for coding agents"
	root.Long = "pyro runs commands in disposable Linux sandboxes."
	root.Example = "  " + api.RunInVM.Example + "\n  " + api.CreateWorkspace.Example
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetFlagErrorFunc(flagError)
	root.Version = api.Version
	root.SetVersionTemplate("pyro {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = false
	for _, op := range api.Operations() {
		if op.CLI != "" {
			a.add(root, op)
		}
	}
	root.AddCommand(a.demo(), a.version(), a.docs(), a.mcp(), a.host())
	under(root, "daemon").AddCommand(a.daemonRun())
	under(root, "workspace", "shell").AddCommand(a.shellAttach())
	addTopics(root)
	return root
}
