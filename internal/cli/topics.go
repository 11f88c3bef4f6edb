package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pyro/api"
)

// addTopics adds the help topics, commands that only have a text.
func addTopics(root *cobra.Command) {
	root.AddCommand(
		&cobra.Command{Use: "exit-codes", Short: "What pyro's exit codes mean", Long: exitCodesText()},
		&cobra.Command{Use: "errors", Short: "The kinds of errors", Long: errorsText()},
	)
}

func exitCodesText() string {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, row := range api.ExitCodes {
		fmt.Fprintf(&b, "  %-7s %s\n", row.Code, row.Meaning)
	}
	return b.String()
}

func errorsText() string {
	var b strings.Builder
	b.WriteString("Every error has a kind, which --json shows as {\"error\": {\"kind\": ...}}:\n")
	for _, k := range api.Kinds {
		fmt.Fprintf(&b, "  %-19s exit %-4d %s\n", k.Kind, k.ExitCode, k.Meaning)
	}
	return b.String()
}
