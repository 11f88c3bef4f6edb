package cli

import (
	"github.com/spf13/cobra"

	"pyro/api"
)

// demoResult is what the demo prints; the order is that of the public contract.
type demoResult struct {
	Cleanup       *api.Cleanup      `json:"cleanup"`
	Command       []string          `json:"command"`
	Environment   string            `json:"environment"`
	ExecutionMode api.ExecutionMode `json:"execution_mode"`
	ExitCode      int               `json:"exit_code"`
	Stdout        string            `json:"stdout"`
}

// demo makes `pyro demo`: one command in a sandbox, as a first try.
func (a *app) demo() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Run git --version in a sandbox and print the result as JSON",
		Long:    "Run git --version in a fresh sandbox of debian:12, remove it, and print the\nresult as JSON. Talk goes to stderr.",
		Example: "  pyro demo",
		Args:    cobra.ArbitraryArgs,
	}
	network := cmd.Flags().Bool("network", false, "give the sandbox outbound network")
	cmd.Flags().Bool("json", false, "accepted for uniformity; the output is always JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := noArgs(cmd, args); err != nil {
			return err
		}
		return a.runDemo(*network)
	}
	return cmd
}

func (a *app) runDemo(network bool) error {
	req := api.RunRequest{Environment: "debian:12", Command: []string{"git", "--version"}}
	req.Network = network
	if err := api.ApplyDefaults(&req); err != nil {
		return err
	}
	var stdout api.Output
	talk := &execTalk{app: a, label: "demo"}
	quiet := *a
	quiet.Stdin = nil // a demo must not wait for a pipe
	res, err := quiet.stream(api.RunInVM.Operation, req, &stdout, a.Stderr, talk)
	if err != nil {
		return err
	}
	talk.result(res)
	text, _ := stdout.Text()
	err = a.printJSON(demoResult{res.Cleanup, res.Command, res.Environment, res.ExecutionMode, res.ExitCode, text})
	if err != nil {
		return err
	}
	return exitCode(res.ExitCode)
}

// noArgs refuses positional arguments in pyro's own words.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return api.Errorf(api.KindUsage, "unexpected argument %q for %s", args[0], cmd.CommandPath()).WithHint("%s --help", cmd.CommandPath())
	}
	return nil
}
