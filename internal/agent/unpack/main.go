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
	code, doc := exitDone, Do(ctx, o, stdin)
	if doc.Error != nil {
		code = exitFailed
	}
	_ = json.NewEncoder(stdout).Encode(doc) // a host that went away does not want it
	return code
}

// Do is Run for those who send the answer on.
func Do(ctx context.Context, o Options, stream io.Reader) Document {
	answer, err := Run(ctx, o, stream)
	if err != nil {
		return Document{Error: fault(o.Root, err)}
	}
	return Document{Answer: &answer}
}
