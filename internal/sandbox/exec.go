package sandbox

import (
	"context"
	"log/slog"
	"syscall"
	"time"

	"pyro/api"
	"pyro/internal/runtime"
)

const (
	// limitTime bounds how long the guest may take to say which limit was hit.
	limitTime = 2 * time.Second
	// lastOutputTime bounds how long a command that was killed may take to
	// deliver its last output, to a reader that may be stuck.
	lastOutputTime = 5 * time.Second
	// deathTime is how much later than its commands a dying sandbox ends.
	deathTime = 200 * time.Millisecond
)

// Exec is one command in a machine. All fields are required but Env, Dir and Logger.
type Exec struct {
	Machine runtime.Machine
	// Life ends, with the reason as cause, when the machine shall end.
	Life context.Context
	// Where is what errors call the machine's owner: "VM vm-0123".
	Where       string
	Environment string
	Argv        []string
	Env         []string // added to the machine's environment, KEY=VALUE
	Dir         string
	Timeout     time.Duration
	// Kill ends a command that shall not go on, for the reason given.
	Kill func(p runtime.Process, why *api.Error)
	// Replaceable says that a machine which is dead before the command has
	// started is an error, so that the caller can try another one.
	Replaceable bool
	Logger      *slog.Logger
}

// Run runs the command. The result tells how it ended and what it wrote; the
// error, why there is none: the machine was taken away, or the caller went. A
// limit of time, of resources, and the death of the machine are results.
func (x Exec) Run(ctx context.Context, stdio Stdio) (api.ExecResult, error) {
	r := &run{Exec: x, stdout: counter{w: stdio.Stdout}, stderr: counter{w: stdio.Stderr}, begun: time.Now()}
	err := r.run(ctx, stdio)
	r.result.StdoutBytes, r.result.StderrBytes = r.stdout.n.Load(), r.stderr.n.Load()
	return r.result, err
}

// run is one command while it runs.
type run struct {
	Exec
	stdout, stderr counter
	begun          time.Time
	started        bool
	result         api.ExecResult
}

// ended is what Process.Wait returned.
type ended struct {
	exit runtime.Exit
	err  error
}

// run fills result, or returns why there is none.
func (r *run) run(ctx context.Context, stdio Stdio) error {
	ctx, cancel := Joined(ctx, r.Life)
	defer cancel()
	ctx, cancelTimeout := context.WithTimeoutCause(ctx, r.Timeout, r.timeoutError())
	defer cancelTimeout()

	p, err := r.Machine.Start(ctx, runtime.Command{Argv: r.Argv, Env: r.Env, Dir: r.Dir, Stdin: stdio.Stdin, Stdout: &r.stdout, Stderr: &r.stderr})
	if err != nil {
		return r.notStarted(ctx, err)
	}
	r.started = true
	wait := make(chan ended, 1)
	go func() {
		exit, err := p.Wait()
		wait <- ended{exit, err}
	}()
	for {
		select {
		case e := <-wait:
			return r.finish(ctx, e)
		case sig := <-stdio.Signals:
			if err := p.Signal(sig); err != nil {
				r.Logger.Warn("signal not delivered", "sandbox", r.Machine.ID(), "signal", int(sig), "error", err)
			}
		case <-r.Machine.Done():
			return r.died(ctx, wait)
		case <-ctx.Done():
			why := r.withLimit(r.over(ctx))
			r.Kill(p, api.AsError(why))
			within(wait, lastOutputTime)
			return r.cut(why)
		}
	}
}

// within waits for the command's end, which a stuck reader may keep away.
func within(wait <-chan ended, limit time.Duration) (ended, bool) {
	select {
	case e := <-wait:
		return e, true
	case <-time.After(limit):
		return ended{}, false
	}
}

// withLimit adds to the limit of time another one that the command ran into,
// which is likely why it took so long: a fork bomb, for example.
func (r *run) withLimit(why error) error {
	e := api.AsError(why)
	if e == nil || e.Kind != api.KindTimeout {
		return why
	}
	hit := r.limitHit()
	if hit == nil || hit.Kind == api.KindSandboxDied { // the machine, too, may be out of time
		return why
	}
	return &api.Error{Kind: e.Kind, Message: e.Message + "; " + hit.Message, Hint: hit.Hint}
}

func (r *run) timeoutError() *api.Error {
	seconds := int(r.Timeout / time.Second)
	return api.Errorf(api.KindTimeout, "the command in %s was ended after %d s, its time limit", r.Where, seconds).
		WithHint("give it more with --timeout-seconds %d", 2*seconds)
}

// set fills the result.
func (r *run) set(code int, limit *api.Error) {
	r.result.ExitCode, r.result.Limit = code, limit
	r.result.DurationMS = time.Since(r.begun).Milliseconds()
}

// notStarted judges an error of Machine.Start.
func (r *run) notStarted(ctx context.Context, err error) error {
	if why := r.over(ctx); why != nil {
		return r.cut(why)
	}
	select {
	case <-r.Machine.Done():
		if r.Replaceable {
			return DeathOf(r.Machine)
		}
		r.set(api.ExitFailure, DeathOf(r.Machine))
		return nil
	default:
	}
	if api.KindOf(err) != api.KindExec {
		if hit := r.limitHit(); hit != nil { // a fork that the limit of processes refused, for example
			r.set(api.ExitFailure, hit)
			return nil
		}
		return err
	}
	code := runtime.ExecExitCode(err)
	limit := api.AsError(err)
	if code == api.ExitNotFound {
		limit = api.Errorf(api.KindExec, "command %q was not found in environment %s", r.Argv[0], r.Environment).
			WithHint("check the name, or choose an environment that has it: pyro env list")
	}
	r.set(code, limit)
	return nil
}

// finish judges the end of a command.
func (r *run) finish(ctx context.Context, e ended) error {
	if why := r.over(ctx); why != nil && (e.err != nil || e.exit.Code != 0) {
		return r.cut(why) // ended by the removal of its machine
	}
	if e.err != nil {
		return r.failed(ctx, e.err)
	}
	r.set(e.exit.Code, nil)
	if e.exit.Signal == int(syscall.SIGKILL) {
		r.awaitDeath()
	}
	hit := r.limitHit()
	if hit != nil && (e.exit.Code != 0 || hit.Kind == api.KindPIDLimit) {
		r.result.Limit = hit
	}
	return nil
}

// failed judges an error of Wait, which most often is the first sign of a death.
func (r *run) failed(ctx context.Context, err error) error {
	select {
	case <-r.Machine.Done():
		r.set(api.ExitFailure, DeathOf(r.Machine))
		return nil
	case <-ctx.Done():
		return r.cut(r.over(ctx))
	case <-time.After(limitTime):
		return err
	}
}

// awaitDeath gives a machine that is dying the time to be seen doing so: its
// commands are killed a moment before it is done.
func (r *run) awaitDeath() {
	select {
	case <-r.Machine.Done():
	case <-time.After(deathTime):
	}
}

// limitHit asks the machine, or takes what it died of.
func (r *run) limitHit() *api.Error {
	ctx, cancel := context.WithTimeout(context.Background(), limitTime)
	defer cancel()
	if hit := r.Machine.LimitHit(ctx); hit != nil {
		return hit
	}
	select {
	case <-r.Machine.Done():
		return DeathOf(r.Machine)
	default:
		return nil
	}
}

// died judges a command whose machine has ended.
func (r *run) died(ctx context.Context, wait <-chan ended) error {
	e, ok := within(wait, lastOutputTime)
	if why := r.over(ctx); why != nil {
		return r.cut(why)
	}
	code := api.ExitFailure
	if ok && e.err == nil {
		code = e.exit.Code
	}
	r.set(code, DeathOf(r.Machine))
	return nil
}

// over returns why the command shall not go on, or nil. The machine's own reason
// comes first: it reaches ctx a moment later.
func (r *run) over(ctx context.Context) error {
	if why := context.Cause(r.Life); why != nil {
		return why
	}
	return CanceledOr(ctx, nil)
}

// cut judges a command that was ended from outside: a limit of time is a
// result, anything else an error; but for the death of the machine under it, of
// which whoever watches the machine may know first.
func (r *run) cut(why error) error {
	switch e := api.AsError(why); {
	case e.Kind == api.KindTimeout:
		r.set(api.ExitTimeout, e)
		return nil
	case r.started && r.isDeath(e):
		r.set(api.ExitFailure, e)
		return nil
	}
	return why
}

// isDeath says whether the machine has ended by itself, of e.
func (r *run) isDeath(e *api.Error) bool {
	select {
	case <-r.Machine.Done():
		return e.Error() == DeathOf(r.Machine).Error()
	default:
		return false
	}
}
