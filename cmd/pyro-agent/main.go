// Command pyro-agent is the first process of every sandbox. It is built
// statically and embedded in pyro; users never call it.
package main

import (
	"os"

	"pyro/internal/agent"
)

func main() { os.Exit(agent.Main(os.Args[1:])) }
