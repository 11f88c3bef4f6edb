// Command pyro is everything of pyro in one program: the command line, the
// background process and, started again under other names, the processes of a
// sandbox.
package main

import (
	"context"
	"os"

	"pyro/internal/cli"
	"pyro/internal/daemon"
	"pyro/internal/paths"
	"pyro/internal/runtime/gvisor"
)

func main() {
	if reexec() {
		return
	}
	gvisor.HoldMainThread()
	os.Exit(cli.Main(os.Args[1:], cli.Program{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		RunDaemon: runDaemon,
	}))
}

func runDaemon(ctx context.Context, ready func(error)) error {
	dirs, err := paths.FromEnv(os.Getenv)
	if err != nil {
		return err
	}
	return daemon.Run(ctx, daemon.Options{Dirs: dirs, Ready: ready})
}
