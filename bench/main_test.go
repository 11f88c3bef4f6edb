// Package bench measures pyro on this machine, in two ways.
//
// Ordinary benchmarks, for comparing two versions of pyro with benchstat:
//
//	go test -bench . ./bench
//
// Comparisons with what one would take instead of pyro, for people who want to
// know what it costs. They are not a test and run only when asked for:
//
//	make bench                 gVisor's own runsc, bubblewrap, plain processes
//	make bench-workspaces      the same, git and tar, with what lives in workspaces
//	make bench-shells          gVisor's own runsc, at a terminal
//	make bench-network         the same and slirp4netns, with traffic
//	make bench-environments    mmdebstrap; takes minutes
//	make bench-microvms        gVisor, with microVMs in the place of pyro
//
// # Terms
//
// A contender is one way to do a thing. A contest has several contenders do
// the same thing in rounds: each does it once in every round, so that what
// disturbs the machine hits all of them, and the first round is not counted. A
// row of the table compares two contenders of a contest, pyro's and another:
// the medians of their rounds, the quartiles around them, and the ratio.
// Nothing is ever compared with a figure from another machine or day.
//
// # Variables
//
//	PYRO_BIN             the program that is measured, ../bin/pyro by default
//	PYRO_BENCH_RUNSC     gVisor's runsc, ../bin/tools/runsc by default
//	PYRO_TEST_CACHE_DIR  cache of environments, ../bin/bench/cache by default
//	PYRO_TEST_IMAGE      an image to measure with; by default that of debian:12.
//	                     With it the rows that need `pyro run` are left out.
//	                     Workspaces are measured with environments of their own
//
// Raw runsc makes sandboxes only as root, so all of this needs root.
package bench

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"pyro/internal/runtime/gvisor"
)

var (
	compareFlag = flag.Bool("compare", false, "run the comparisons instead of tests and benchmarks")
	spacesFlag  = flag.Bool("workspaces", false, "run the comparisons of workspaces instead")
	shellsFlag  = flag.Bool("shells", false, "run the comparisons of shells instead")
	netFlag     = flag.Bool("network", false, "run the comparisons of networks instead")
	buildFlag   = flag.Bool("environments", false, "run the comparison of environment builds instead")
	microFlag   = flag.Bool("microvms", false, "run the comparison of microVMs with gVisor instead")
	docFlag     = flag.String("doc", "", "document whose tables are replaced; \"\" only prints them")
	roundsFlag  = flag.Int("rounds", 0, "rounds of each contest; 0 is each one's own number")
	onlyFlag    = flag.String("only", "", "regular expression of the contests to run")
)

func TestMain(m *testing.M) {
	gvisor.HoldMainThread()
	flag.Parse()
	flush := ownStdio()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	theLab.ctx = ctx
	done := make(chan int, 1)
	go func() {
		switch {
		case *compareFlag:
			done <- report(runComparisons(ctx))
		case *spacesFlag:
			done <- report(runWorkspaces(ctx))
		case *shellsFlag:
			done <- report(runShells(ctx))
		case *netFlag:
			done <- report(runNetwork(ctx))
		case *buildFlag:
			done <- report(runBuilds(ctx))
		case *microFlag:
			done <- report(runMicroVMs(ctx))
		default:
			done <- m.Run()
		}
	}()
	code := 0
	select {
	case code = <-done:
	case <-ctx.Done():
		stop() // a second signal ends the program at once
		code = 130
		select {
		case <-done:
		case <-time.After(10 * time.Second): // benchmarks do not end when told to
		}
	}
	if err := theLab.close(); err != nil {
		code = max(code, report(err))
	}
	flush()
	os.Exit(code)
}

func report(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	return 1
}

// ownStdio puts pipes in the place of os.Stdin, os.Stdout and os.Stderr,
// because the driver hands those to sandboxes and gives them away to nobody,
// which a terminal would not like. What is written still arrives; flush waits
// for it.
func ownStdio() (flush func()) {
	var copies sync.WaitGroup
	var ours []*os.File
	for _, f := range []**os.File{&os.Stdout, &os.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			continue
		}
		real := *f
		*f = w
		ours = append(ours, w)
		copies.Go(func() { _, _ = io.Copy(real, r) })
	}
	if r, w, err := os.Pipe(); err == nil {
		w.Close()
		os.Stdin = r
	}
	return func() {
		for _, w := range ours {
			w.Close()
		}
		copies.Wait()
	}
}
