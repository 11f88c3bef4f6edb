package unpack

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"os/signal"
	"syscall"
)

// Exit codes of Main.
const (
	exitDone   = 0
	exitFailed = 1 // nothing was changed, or it was taken back; the document says why
	exitUsage  = 2
)

// Main is "pyro-agent unpack --root DIR [--dest PATH]". It writes one line of
// JSON to stdout, a [Document], and returns the exit code.
func Main(args []string, stdin io.Reader, stdout io.Writer) int {
	var o Options
	flags := flag.NewFlagSet("unpack", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.Root, "root", "", "")
	flags.StringVar(&o.Dest, "dest", "", "")
	if flags.Parse(args) != nil || o.Root == "" || flags.NArg() > 0 {
		return exitUsage
	}
	// A host that went away closes stdout, and that must not end a commit.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	answer, err := Run(ctx, o, stdin)
	code, doc := exitDone, Document{Answer: &answer}
	if err != nil {
		code, doc = exitFailed, Document{Error: fault(o.Root, err)}
	}
	_ = json.NewEncoder(stdout).Encode(doc) // a host that went away does not want it
	return code
}
