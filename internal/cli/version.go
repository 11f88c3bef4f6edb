package cli

import (
	"fmt"
	"io"
	goruntime "runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"pyro/api"
)

// PrintVersion answers `pyro --version` if args ask for it. It is apart so that
// main can answer before anything else is set up.
func PrintVersion(args []string, w io.Writer) bool {
	if len(args) != 1 || args[0] != "--version" {
		return false
	}
	fmt.Fprintln(w, "pyro "+api.Version)
	return true
}

type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// version makes `pyro version`.
func (a *app) version() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  pyro version --json",
		Args:    cobra.ArbitraryArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, "print the result as one JSON document")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := noArgs(cmd, args); err != nil {
			return err
		}
		v := versionInfo{Version: api.Version, Go: goruntime.Version(), Platform: goruntime.GOOS + "/" + goruntime.GOARCH}
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, s := range info.Settings {
				if s.Key == "vcs.revision" {
					v.Revision = s.Value
				}
			}
		}
		if *asJSON {
			return a.printJSON(v)
		}
		_, err := fmt.Fprintln(a.Stdout, "pyro "+v.Version)
		return outputError(err)
	}
	return cmd
}
