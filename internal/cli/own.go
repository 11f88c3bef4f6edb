package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"pyro/api"
)

// own adds to the command of a row what only the command line has. The function
// that it returns, if any, runs once the request is filled in: it may change it,
// refuse it, or do all of the work itself, which it says with done.
func (a *app) own(cmd *cobra.Command, req any) func(asJSON bool) (done bool, err error) {
	switch req := req.(type) {
	case *api.CreateWorkspaceRequest:
		cmd.Flags().BoolVar(&a.idOnly, "id-only", false, "print the id and nothing else")
		return a.ownCreate(cmd, req)
	case *api.OpenShellRequest:
		return a.ownOpen(cmd, req)
	case *api.WriteShellRequest:
		return ownWrite(cmd, req)
	case *api.StartServiceRequest:
		return ownStart(req)
	case *api.LogsServiceRequest:
		return a.ownLogs(cmd, req)
	case *api.WriteFileRequest:
		return a.ownWriteFile(cmd, req)
	case *api.ApplyPatchRequest:
		return a.ownApplyPatch(cmd, req)
	}
	return nil
}

func (a *app) ownOpen(cmd *cobra.Command, req *api.OpenShellRequest) func(bool) (bool, error) {
	attach := cmd.Flags().Bool("attach", false, "attach this terminal at once, in its own size")
	keys := detachFlag(cmd)
	return func(asJSON bool) (bool, error) {
		switch {
		case !*attach && cmd.Flags().Changed("detach-keys"):
			return true, api.Errorf(api.KindUsage, "--detach-keys is for --attach").WithHint("%s --help", cmd.CommandPath())
		case !*attach:
			return false, nil
		case asJSON:
			return true, api.Errorf(api.KindUsage, "--attach is for people, --json for programs").WithHint("choose one")
		}
		return true, a.openAttached(req, *keys)
	}
}

func ownWrite(cmd *cobra.Command, req *api.WriteShellRequest) func(bool) (bool, error) {
	noNewline := cmd.Flags().Bool("no-newline", false, "do not press return behind it")
	return func(bool) (bool, error) {
		req.AppendNewline = new(!*noNewline)
		return false, nil
	}
}

func ownStart(req *api.StartServiceRequest) func(bool) (bool, error) {
	return func(bool) (bool, error) {
		probes := slices.DeleteFunc([]string{req.ReadyFile, req.ReadyTCP, req.ReadyHTTP, req.ReadyCommand}, func(s string) bool { return s == "" })
		if len(probes) > 1 {
			return true, api.Errorf(api.KindUsage, "only one of --ready-file, --ready-tcp, --ready-http and --ready-command is possible").
				WithHint("--ready-command can check several things")
		}
		return false, nil
	}
}

func (a *app) ownLogs(cmd *cobra.Command, req *api.LogsServiceRequest) func(bool) (bool, error) {
	follow := cmd.Flags().BoolP("follow", "f", false, "go on with what it writes until it ends")
	return func(asJSON bool) (bool, error) {
		switch {
		case !*follow:
			return false, nil
		case asJSON:
			return true, api.Errorf(api.KindUsage, "--follow never ends the one document of --json").WithHint("choose one")
		}
		return true, a.followLog(*req)
	}
}

// under returns the command at a path.
func under(root *cobra.Command, path ...string) *cobra.Command {
	for _, word := range path {
		i := slices.IndexFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == word })
		root = root.Commands()[i]
	}
	return root
}
