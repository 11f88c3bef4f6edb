package cli

import (
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pyro/api"
	"pyro/internal/handshake"
)

// daemonRun makes the hidden `pyro daemon run`, the background process itself.
// SIGTERM and SIGINT end it in good order.
func (a *app) daemonRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:    "run",
		Short:  "Be the background process",
		Hidden: true,
		Args:   cobra.ArbitraryArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := noArgs(cmd, args); err != nil {
			return err
		}
		return a.beDaemon()
	}
	return cmd
}

func (a *app) beDaemon() error {
	ready := handshake.Speaker(a.getenv)
	os.Unsetenv(handshake.Variable)
	if a.RunDaemon == nil {
		return api.Errorf(api.KindUnsupported, "this program has no background process")
	}
	err := a.interruptible(func(ctx context.Context) error { return a.RunDaemon(ctx, ready) })
	if err != nil {
		ready(err) // counts only if nothing was said before
	}
	return err
}

func (a *app) getenv(name string) string {
	if a.Env == nil {
		return os.Getenv(name)
	}
	for _, kv := range a.Env {
		if k, v, _ := strings.Cut(kv, "="); k == name {
			return v
		}
	}
	return ""
}
