// Package agent is the guest side of pyro: the first process of a sandbox.
//
// As init it prepares the guest, reaps orphans, sets the limit of processes, owns
// the shells and services, which so outlive every process of the host (see
// packages shell and service; what they say of themselves is the truth), and
// serves the protocol of package wire on two kinds of streams: a pair of
// pipes that the host handed over at start (file descriptors 3 and 4), which
// end when that host process ends, and further pairs, for which later host
// processes run the second mode, relay: it hands its stdin and stdout to init
// over an abstract unix socket, and ends.
//
// As the first program of a kernel, which gives it no arguments, it makes a guest of the machine (see
// package boot) and serves one serial port, on which everything goes: the
// protocol above, commands and writable layers (see streams).
//
// Another mode, unpack, is not a server: it puts files that come in on stdin
// into the workspace, all or none, and ends. Package unpack tells how.
//
// It must stay small: every sandbox pays for its memory and its start.
package agent

import (
	"flag"
	"fmt"
	"io"
	"os"

	"pyro/internal/agent/unpack"
)

// Version is that of the build, set with -ldflags -X.
var Version = "dev"

// Where the host puts the agent in the guest.
const (
	BinDir = "/run/pyro/bin"
	Path   = BinDir + "/pyro-agent"
)

// Exit codes of the agent as a command.
const (
	exitUsage  = 2
	exitFailed = 125
)

// The descriptors that the host hands to init: calls come in on controlIn,
// hello and replies go out on controlOut.
const (
	ControlIn  = 3
	ControlOut = 4
)

// Main runs the agent with the given arguments and returns its exit code.
func Main(args []string) int {
	if os.Getpid() == 1 && len(args) == 0 {
		return runMachine()
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: pyro-agent init [--pid-limit N] | relay | unpack --root DIR [--dest PATH]")
		return exitUsage
	}
	switch args[0] {
	case "init":
		flags := flag.NewFlagSet("init", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		pidLimit := flags.Int("pid-limit", 0, "")
		if flags.Parse(args[1:]) != nil {
			return exitUsage
		}
		return runInit(*pidLimit)
	case "relay":
		return relay(os.Stdin, os.Stdout)
	case "unpack":
		return unpack.Main(args[1:], os.Stdin, os.Stdout)
	}
	return exitUsage
}
