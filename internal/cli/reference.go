package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Reference returns the page of the command line: the help of every command.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Command line\n\n" +
		"Answers go to stdout, talk (progress, bracketed lines, errors) to stderr. `--json` prints exactly one JSON document on stdout. " +
		"Flags may stand before and after the arguments; what follows the environment's first command word, or `--`, belongs to the command. " +
		"See also [operations](operations.md), [exit codes](exit-codes.md) and [errors](errors.md).\n\n" +
		"While a command runs, SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on to it. A third SIGINT within two seconds ends pyro itself and with it the command. " +
		"Stdin is passed on unless it is a terminal.\n")
	a := &app{Program: Program{Stdout: io.Discard, Stderr: io.Discard}}
	describe(&b, a.root())
	return b.String()
}

func describe(b *strings.Builder, cmd *cobra.Command) {
	if cmd.Hidden {
		return
	}
	cmd.InitDefaultHelpFlag()
	b.WriteString("\n## " + cmd.CommandPath() + "\n\n```\n")
	var help strings.Builder
	cmd.SetOut(&help)
	cmd.Help()
	b.WriteString(strings.TrimSpace(help.String()) + "\n```\n")
	for _, child := range cmd.Commands() {
		describe(b, child)
	}
}
