// Command gendocs writes the reference documentation into the folder it is
// given. It is `pyro docs generate` without the rest of pyro, which takes long
// to build.
package main

import (
	"os"

	"pyro/internal/cli"
)

func main() {
	args := append([]string{"docs", "generate"}, os.Args[1:]...)
	os.Exit(cli.Main(args, cli.Program{Stdout: os.Stdout, Stderr: os.Stderr}))
}
