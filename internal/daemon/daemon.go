// Package daemon is the background process: it owns the sandboxes of one user
// and serves the operations of package api on a unix socket.
//
// # The protocol
//
// HTTP/1.1 on STATE/daemon.sock, mode 0600; the kernel says who connects, and
// only the same user is let in. Bodies are at most 16 MiB, fields that the
// operation does not have are refused.
//
//	GET  /v1/ping             {"version":"2.8.0","pid":1,"build":"0c1d..."}
//	POST /v1/OPERATION        one JSON request, and by the operation's mode:
//	  call                    200 and the JSON result
//	  events                  200 and JSON lines: {"event":E}..., {"result":R} or {"error":X}
//	  exec                    200 and the JSON result, its output bounded; or,
//	                          with "Upgrade: pyro-exec/1", 101 and frames (stream.go)
//	any error                 the kind's status and {"error":{"kind","message","hint"}}
//
// A caller that goes away ends what it waited for.
//
// # Its life
//
// A client starts it when there is none (package client). It takes the lock,
// brings records and sandboxes together, listens, and says that it is ready. It
// ends by itself when nothing has run and nobody has called for a while, on
// SIGTERM, and on daemon_stop. Sandboxes are processes of their own: they
// survive its end, and the next one adopts them. It may be killed at any moment.
//
// Ending, it first removes the socket, so that new callers start a new process,
// which waits for the lock; then it serves whoever is connected already.
//
// Only this package knows which runtimes and which environment manager there
// are: see wiring.go.
package daemon

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strconv"
	"time"

	"pyro/api"
	"pyro/internal/paths"
	"pyro/internal/store"
	"pyro/internal/vm"
	"pyro/internal/workspace"
)

// Options are the settings of a background process.
type Options struct {
	// Dirs are its folders; they are made. Required.
	Dirs paths.Dirs
	// Ready is called once: with nil when a background process answers on the
	// socket, this one or one that was faster, or with the error that Run is
	// about to return. Optional.
	Ready func(error)
	// Getenv reads PYRO_IDLE_SECONDS and what the environment manager needs.
	// Default os.Getenv.
	Getenv func(string) string
}

// defaultIdle is how long the process stays when it has nothing to do.
const defaultIdle = time.Minute

// Run is the background process. It returns nil when it has ended in good
// order or another process serves the socket already. When ctx ends it stops:
// calls under way are cut off, VMs stay.
func Run(ctx context.Context, o Options) error { return run(ctx, o, wire) }

// run is Run with the parts that build makes.
func run(ctx context.Context, o Options, build func(Options, *slog.Logger) (*parts, error)) (err error) {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Ready == nil {
		o.Ready = func(error) {}
	}
	defer func() {
		if err != nil {
			o.Ready(err)
		}
	}()
	if err := o.Dirs.Make(); err != nil {
		return err
	}
	lock, err := takeLock(ctx, o.Dirs)
	if lock == nil {
		if err == nil {
			o.Ready(nil) // another process serves
		}
		return err
	}
	defer lock.Close()
	out, err := openLog(o.Dirs.Log(), logLimit)
	if err != nil {
		return err
	}
	defer out.Close()
	hide := &hiding{}
	return serve(ctx, o, slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{ReplaceAttr: hide.replace})), hide, build)
}

// serve is run with the lock held. hide learns what the log must not show.
func serve(ctx context.Context, o Options, log *slog.Logger, hide *hiding, build func(Options, *slog.Logger) (*parts, error)) error {
	begun := time.Now()
	db, err := store.Open(ctx, o.Dirs.Database())
	if err != nil {
		log.Error("start", "error", err)
		return err
	}
	defer db.Close()
	p, err := build(o, log)
	if err != nil {
		log.Error("start", "error", err)
		return err
	}
	defer closeAll(p.closers, log)
	vms := vm.New(vm.Options{Store: db, Environments: p.images, Isolated: p.isolated, HostCompat: p.hostCompat, Runtime: p.runtime, Logger: log})
	if err := vms.Recover(ctx); err != nil {
		log.Error("start", "error", err)
		return err
	}
	spaces := workspace.New(workspace.Options{
		Store: db, Environments: p.images, Isolated: p.isolated, Runtime: p.runtime, Dir: o.Dirs.Workspaces(), Key: o.Dirs.SecretsKey(), Budget: diskBudget(o.Getenv), Logger: log,
	})
	hide.from(spaces)
	if err := spaces.Recover(ctx); err != nil {
		log.Error("start", "error", err)
		return err
	}
	l, err := listen(o.Dirs.State)
	if err != nil {
		log.Error("start", "error", err)
		return err
	}
	s := newServer(o, log, p, vms, spaces)
	log.Info("ready", "pid", os.Getpid(), "version", api.Version, "duration", time.Since(begun))
	o.Ready(nil)
	s.serve(ctx, l, idleTime(o.Getenv))
	log.Info("ended", "pid", os.Getpid())
	return nil
}

func closeAll(closers []io.Closer, log *slog.Logger) {
	for _, c := range closers {
		if err := c.Close(); err != nil {
			log.Warn("closing", "error", err)
		}
	}
}

// idleTime reads PYRO_IDLE_SECONDS, which tests set.
func idleTime(getenv func(string) string) time.Duration {
	if n, err := strconv.Atoi(getenv("PYRO_IDLE_SECONDS")); err == nil && n > 0 {
		return api.Seconds(n)
	}
	return defaultIdle
}

// diskBudget reads PYRO_DISK_BUDGET_MIB, how much the workspaces may take
// together; without it, as much as the disk has but for a reserve.
func diskBudget(getenv func(string) string) int64 {
	n, err := strconv.ParseInt(getenv("PYRO_DISK_BUDGET_MIB"), 10, 64)
	if err != nil || n <= 0 {
		return 0
	}
	return n << 20
}
