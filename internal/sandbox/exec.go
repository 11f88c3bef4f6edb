package vm

import (
	"context"
	"syscall"
	"time"

	"pyro/api"
	"pyro/internal/runtime"
)

const (
	// limitTime bounds how long the guest may take to say which limit was hit.
	limitTime = 2 * time.Second
	// lastOutputTime bounds how long a command whose sandbox is gone may take
	// to deliver its last output, to a reader that may be stuck.
	lastOutputTime = 5 * time.Second
	// deathTime is how much later than its commands a dying sandbox ends.
	deathTime = 200 * time.Millisecond
)

// Run runs one command in a fresh VM and removes the VM.
func (m *Manager) Run(ctx context.Context, req api.RunRequest, stdio Stdio) (api.ExecResult, error) {
	// What is refused anyway is refused before the first event.
	if err := check(req.SandboxOptions); err != nil {
		return api.ExecResult{}, err
	}
	if err := checkCommand(req.Command); err != nil {
		return api.ExecResult{}, err
	}
	if _, err := m.drivers.wanted(req.Runtime); err != nil {
		return api.ExecResult{}, err
	}
	in, err := m.prepare(ctx, req, stdio)
	if err != nil {
		return api.ExecResult{}, err
	}
	return m.execute(ctx, in, req.Command, req.TimeoutSeconds, stdio)
}

// prepare makes and starts the ephemeral VM of a Run. It is claimed for the
// command before anything else can see it started.
func (m *Manager) prepare(ctx context.Context, req api.RunRequest, stdio Stdio) (*instance, error) {
	ctx, done := untilSignal(ctx, stdio.Signals)
	defer done()
	stdio.event(api.ExecEvent{Phase: "create", Environment: req.Environment})
	in, err := m.create(ctx, api.CreateVMRequest{Environment: req.Environment, SandboxOptions: req.SandboxOptions}, true, stdio.pull)
	if err != nil {
		return nil, canceledOr(ctx, err)
	}
	stdio.event(api.ExecEvent{Phase: "start", VMID: in.id})
	in.mu.Lock()
	in.busy = true
	in.mu.Unlock()
	if err := m.start(ctx, in); err != nil {
		why := api.AsError(canceledOr(ctx, err))
		_ = m.remove(ctx, in, why) // on failure it is tried again later
		return nil, why
	}
	return in, nil
}

// canceledOr returns why ctx ended if it has, else err.
func canceledOr(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if cause := context.Cause(ctx); cause != ctx.Err() {
		return cause
	}
	return api.Errorf(api.KindCanceled, "the caller went away")
}

// Exec runs one command in a started VM and removes the VM, whatever happens.
func (m *Manager) Exec(ctx context.Context, req api.ExecVMRequest, stdio Stdio) (api.ExecResult, error) {
	if err := checkCommand(req.Command); err != nil {
		return api.ExecResult{}, err
	}
	in, err := m.lookup(req.VMID)
	if err != nil {
		return api.ExecResult{}, err
	}
	if err := in.claim(); err != nil {
		return api.ExecResult{}, err
	}
	return m.execute(ctx, in, req.Command, req.TimeoutSeconds, stdio)
}

// claim reserves a started VM for one command.
func (in *instance) claim() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.doom != nil:
		return notFound(in.id)
	case in.busy:
		return api.Errorf(api.KindConflict, "VM %s runs a command already", in.id).
			WithHint("a VM takes one command; create another with: pyro vm create %s", in.row.Environment)
	case in.life == nil && in.died != nil:
		return &api.Error{Kind: in.died.Kind, Message: "VM " + in.id + " has ended: " + in.died.Message, Hint: "pyro vm start " + in.id}
	case in.life == nil || in.life.machine == nil:
		return api.Errorf(api.KindConflict, "VM %s is not started", in.id).WithHint("pyro vm start %s", in.id)
	}
	in.busy = true
	return nil
}

// execute runs the command in the claimed VM and removes the VM.
func (m *Manager) execute(ctx context.Context, in *instance, argv []string, timeoutSeconds int, stdio Stdio) (api.ExecResult, error) {
	stdio.event(api.ExecEvent{Phase: "execute", VMID: in.id, ExecutionMode: in.driver.Features().Mode})
	r := &run{m: m, in: in, stdout: counter{w: stdio.Stdout}, stderr: counter{w: stdio.Stderr}, begun: time.Now(), timeout: timeoutSeconds}
	err := r.run(ctx, argv, stdio)
	removeErr := m.remove(ctx, in, api.Errorf(api.KindCanceled, "VM %s is gone after its command", in.id))
	if err != nil {
		return api.ExecResult{}, err
	}
	res := r.result
	res.VMID, res.Environment, res.ExecutionMode, res.Command = in.id, in.row.Environment, in.driver.Features().Mode, argv
	res.StdoutBytes, res.StderrBytes = r.stdout.n.Load(), r.stderr.n.Load()
	res.Cleanup = &api.Cleanup{Deleted: removeErr == nil, Reason: reasonPostExec, VMID: in.id}
	if removeErr != nil {
		res.Cleanup.Reason = removeErr.Error()
	}
	return res, nil
}

// run is one command while it runs.
type run struct {
	m              *Manager
	in             *instance
	life           *life
	machine        runtime.Machine
	stdout, stderr counter
	begun          time.Time
	timeout        int // seconds
	result         api.ExecResult
}

// ended is what Process.Wait returned.
type ended struct {
	exit runtime.Exit
	err  error
}

// run fills result, or returns why there is none.
func (r *run) run(ctx context.Context, argv []string, stdio Stdio) error {
	r.in.mu.Lock()
	l := r.in.life
	doom := r.in.doom
	r.in.mu.Unlock()
	if l == nil { // removed between its start and now
		return r.cut(cmpError(doom, notFound(r.in.id)))
	}
	r.life, r.machine = l, l.machine
	ctx, cancel := joined(ctx, l.ctx)
	defer cancel()
	ctx, cancelTimeout := context.WithTimeoutCause(ctx, api.Seconds(r.timeout), r.timeoutError())
	defer cancelTimeout()

	p, err := r.machine.Start(ctx, runtime.Command{Argv: argv, Stdin: stdio.Stdin, Stdout: &r.stdout, Stderr: &r.stderr})
	if err != nil {
		return r.notStarted(ctx, argv, err)
	}
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
				r.m.log.Warn("signal not delivered", "vm", r.in.id, "signal", int(sig), "error", err)
			}
		case <-r.machine.Done():
			return r.died(ctx, wait)
		case <-ctx.Done():
			why := r.withLimit(r.over(ctx))
			_ = r.m.remove(ctx, r.in, api.AsError(why)) // the only sure way to end a command; execute removes again and tells
			within(wait, lastOutputTime)
			return r.cut(why)
		}
	}
}

func cmpError(a, b *api.Error) error {
	if a != nil {
		return a
	}
	return b
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
	if hit == nil {
		return why
	}
	return &api.Error{Kind: e.Kind, Message: e.Message + "; " + hit.Message, Hint: hit.Hint}
}

func (r *run) timeoutError() *api.Error {
	return api.Errorf(api.KindTimeout, "the command in VM %s was ended after %d s, its time limit", r.in.id, r.timeout).
		WithHint("give it more with --timeout-seconds %d", 2*r.timeout)
}

// set fills the result.
func (r *run) set(code int, limit *api.Error) {
	r.result.ExitCode, r.result.Limit = code, limit
	r.result.DurationMS = time.Since(r.begun).Milliseconds()
}

// notStarted judges an error of Machine.Start.
func (r *run) notStarted(ctx context.Context, argv []string, err error) error {
	if why := r.over(ctx); why != nil {
		return r.cut(why)
	}
	select {
	case <-r.machine.Done():
		r.set(api.ExitFailure, deathOf(r.machine))
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
		limit = api.Errorf(api.KindExec, "command %q was not found in environment %s", argv[0], r.in.row.Environment).
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
	case <-r.machine.Done():
		r.set(api.ExitFailure, deathOf(r.machine))
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
	case <-r.machine.Done():
	case <-time.After(deathTime):
	}
}

// limitHit asks the machine, or takes what it died of.
func (r *run) limitHit() *api.Error {
	ctx, cancel := context.WithTimeout(context.Background(), limitTime)
	defer cancel()
	if hit := r.machine.LimitHit(ctx); hit != nil {
		return hit
	}
	select {
	case <-r.machine.Done():
		return deathOf(r.machine)
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
	r.set(code, deathOf(r.machine))
	return nil
}

// over returns why the command shall not go on, or nil. The VM's own reason
// comes first: it reaches ctx a moment later.
func (r *run) over(ctx context.Context) error {
	if why := context.Cause(r.life.ctx); why != nil {
		return why
	}
	return canceledOr(ctx, nil)
}

// cut judges a command that was ended from outside: a limit of time is a
// result, anything else an error.
func (r *run) cut(why error) error {
	if e := api.AsError(why); e.Kind == api.KindTimeout {
		r.set(api.ExitTimeout, e)
		return nil
	}
	return why
}
