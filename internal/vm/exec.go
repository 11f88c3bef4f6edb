package vm

import (
	"context"

	"pyro/api"
	"pyro/internal/runtime"
	"pyro/internal/sandbox"
)

// Run runs one command in a fresh VM and removes the VM.
func (m *Manager) Run(ctx context.Context, req api.RunRequest, stdio sandbox.Stdio) (api.ExecResult, error) {
	// What is refused anyway is refused before the first event.
	if err := sandbox.Check(req.VCPUCount, req.MemMiB); err != nil {
		return api.ExecResult{}, err
	}
	if _, err := sandbox.ReadPolicy(req.Network, req.NetworkPolicy); err != nil {
		return api.ExecResult{}, err
	}
	if err := sandbox.CheckCommand(req.Command); err != nil {
		return api.ExecResult{}, err
	}
	if _, err := m.drivers.Wanted(ctx, req.Runtime, req.Network || req.NetworkPolicy != ""); err != nil {
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
func (m *Manager) prepare(ctx context.Context, req api.RunRequest, stdio sandbox.Stdio) (*instance, error) {
	ctx, done := sandbox.UntilSignal(ctx, stdio.Signals)
	defer done()
	stdio.Tell(api.ExecEvent{Phase: "create", Environment: req.Environment})
	in, err := m.create(ctx, api.CreateVMRequest{Environment: req.Environment, SandboxOptions: req.SandboxOptions}, true, stdio.TellPull)
	if err != nil {
		return nil, sandbox.CanceledOr(ctx, err)
	}
	stdio.Tell(api.ExecEvent{Phase: "start", VMID: in.id, Notice: sandbox.Notice(ctx, in.driver)})
	in.mu.Lock()
	in.busy = true
	in.mu.Unlock()
	if err := m.start(ctx, in); err != nil {
		why := api.AsError(sandbox.CanceledOr(ctx, err))
		_ = m.remove(ctx, in, why) // on failure it is tried again later
		return nil, why
	}
	return in, nil
}

// Exec runs one command in a started VM and removes the VM, whatever happens.
func (m *Manager) Exec(ctx context.Context, req api.ExecVMRequest, stdio sandbox.Stdio) (api.ExecResult, error) {
	if err := sandbox.CheckCommand(req.Command); err != nil {
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
func (m *Manager) execute(ctx context.Context, in *instance, argv []string, timeoutSeconds int, stdio sandbox.Stdio) (api.ExecResult, error) {
	mode := sandbox.Mode(in.driver, in.machine())
	stdio.Tell(api.ExecEvent{Phase: "execute", VMID: in.id, ExecutionMode: mode})
	res, err := m.command(ctx, in, argv, timeoutSeconds, stdio)
	removeErr := m.remove(ctx, in, api.Errorf(api.KindCanceled, "VM %s is gone after its command", in.id))
	if err != nil {
		return api.ExecResult{}, err
	}
	res.VMID, res.Environment, res.ExecutionMode, res.Command = in.id, in.row.Environment, mode, argv
	res.Cleanup = &api.Cleanup{Deleted: removeErr == nil, Reason: reasonPostExec, VMID: in.id}
	if removeErr != nil {
		res.Cleanup.Reason = removeErr.Error()
	}
	return res, nil
}

func (m *Manager) command(ctx context.Context, in *instance, argv []string, timeoutSeconds int, stdio sandbox.Stdio) (api.ExecResult, error) {
	in.mu.Lock()
	life, doom := in.life, in.doom
	in.mu.Unlock()
	if life == nil { // removed between its start and now
		if doom == nil {
			doom = notFound(in.id)
		}
		if doom.Kind == api.KindTimeout {
			return api.ExecResult{ExitCode: api.ExitTimeout, Limit: doom}, nil
		}
		return api.ExecResult{}, doom
	}
	x := sandbox.Exec{
		Machine: life.machine, Life: life.ctx, Where: "VM " + in.id, Environment: in.row.Environment,
		Argv: argv, Timeout: api.Seconds(timeoutSeconds), Logger: m.log,
		// Only removing the machine is sure to end all that the command started;
		// execute removes again and tells.
		Kill: func(_ runtime.Process, why *api.Error) { _ = m.remove(ctx, in, why) },
	}
	return x.Run(ctx, stdio)
}
