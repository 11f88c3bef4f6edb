package daemon

import (
	"context"

	"pyro/api"
	"pyro/internal/sandbox"
)

// route is one operation with its handler.
type route struct {
	op    *api.Operation
	serve func(c *call, body []byte)
}

// routes are the operations by name.
type routes map[string]route

func (r routes) add(op *api.Operation, serve func(*call, []byte)) {
	if _, twice := r[op.Name]; twice {
		panic("daemon: operation " + op.Name + " is registered twice")
	}
	r[op.Name] = route{op, serve}
}

// handle registers the handler of an operation of ModeCall.
func handle[Req, Res any](r routes, op api.Call[Req, Res], f func(context.Context, Req) (Res, error)) {
	r.add(op.Operation, func(c *call, body []byte) {
		var req Req
		if err := c.decode(body, &req); err != nil {
			c.fail(err)
			return
		}
		res, err := guard(c, func() (Res, error) { return f(c.ctx, req) })
		c.answer(res, err)
	})
}

// handleEvents registers the handler of an operation of ModeEvents. It is given
// a function that sends an event, for one goroutine at a time.
func handleEvents[Req, Ev, Res any](r routes, op api.EventCall[Req, Ev, Res], f func(context.Context, Req, func(Ev)) (Res, error)) {
	r.add(op.Operation, func(c *call, body []byte) {
		var req Req
		if err := c.decode(body, &req); err != nil {
			c.fail(err)
			return
		}
		res, err := guard(c, func() (Res, error) {
			return f(c.ctx, req, func(e Ev) { c.line("event", e) })
		})
		c.endLines(res, err)
	})
}

// handleExec registers the handler of an operation of ModeExec.
func handleExec[Req any](r routes, op api.Call[Req, api.ExecResult], f func(context.Context, Req, sandbox.Stdio) (api.ExecResult, error)) {
	r.add(op.Operation, func(c *call, body []byte) {
		var req Req
		if err := c.decode(body, &req); err != nil {
			c.fail(err)
			return
		}
		c.exec(func(ctx context.Context, stdio sandbox.Stdio) (api.ExecResult, error) {
			stdio.Event = c.noteVM(stdio.Event)
			return guard(c, func() (api.ExecResult, error) { return f(ctx, req, stdio) })
		})
	})
}

// routes is the table of this process. A test compares it with api.Operations.
func (s *server) routes() routes {
	r := routes{}
	handleExec(r, api.RunInVM, s.vms.Run)
	handle(r, api.CreateVM, s.vms.Create)
	handle(r, api.StartVM, byID(s.vms.Start))
	handleExec(r, api.ExecVM, s.vms.Exec)
	handle(r, api.StopVM, byID(s.vms.Stop))
	handle(r, api.DeleteVM, byID(s.vms.Delete))
	handle(r, api.StatusVM, byID(s.vms.Status))
	handle(r, api.ListVMs, noRequest(s.vms.List))
	handle(r, api.NetworkInfoVM, byID(s.vms.NetworkInfo))
	handle(r, api.ReapExpired, noRequest(s.vms.ReapExpired))

	handleEvents(r, api.CreateWorkspace, s.spaces.Create)
	handle(r, api.ListWorkspaces, s.spaces.List)
	handle(r, api.UpdateWorkspace, s.spaces.Update)
	handle(r, api.StatusWorkspace, ofWorkspace(s.spaces.Status))
	handleExec(r, api.ExecWorkspace, s.spaces.Exec)
	handle(r, api.LogsWorkspace, s.spaces.Logs)
	handle(r, api.PushWorkspaceSync, s.spaces.Push)
	handle(r, api.DiffWorkspace, s.spaces.Diff)
	handle(r, api.ListWorkspaceFiles, s.spaces.ListFiles)
	handle(r, api.ReadWorkspaceFile, s.spaces.ReadFile)
	handle(r, api.WriteWorkspaceFile, s.spaces.WriteFile)
	handle(r, api.ApplyWorkspacePatch, s.spaces.ApplyPatch)
	handle(r, api.LogNetwork, s.spaces.LogNetwork)
	handle(r, api.SuggestNetwork, s.spaces.SuggestNetwork)
	handle(r, api.CreateSnapshot, s.spaces.CreateSnapshot)
	handle(r, api.ListSnapshots, ofWorkspace(s.spaces.ListSnapshots))
	handle(r, api.DeleteSnapshot, s.spaces.DeleteSnapshot)
	handle(r, api.ResetWorkspace, s.spaces.Reset)
	handle(r, api.ExportWorkspace, s.spaces.Export)
	handleExec(r, api.ExportWorkspaceTar, s.spaces.ExportTar)
	handle(r, api.StopWorkspace, ofWorkspace(s.spaces.Stop))
	handle(r, api.StartWorkspace, ofWorkspace(s.spaces.Start))
	handle(r, api.DeleteWorkspace, ofWorkspace(s.spaces.Delete))

	handle(r, api.OpenShell, s.spaces.OpenShell)
	handle(r, api.ListShells, ofWorkspace(s.spaces.ListShells))
	handle(r, api.ReadShell, s.spaces.ReadShell)
	handle(r, api.WriteShell, s.spaces.WriteShell)
	handle(r, api.ResizeShell, s.spaces.ResizeShell)
	handle(r, api.SignalShell, s.spaces.SignalShell)
	handle(r, api.CloseShell, s.spaces.CloseShell)
	handle(r, api.StartService, s.spaces.StartService)
	handle(r, api.ListServices, ofWorkspace(s.spaces.ListServices))
	handle(r, api.StatusService, s.spaces.StatusService)
	handle(r, api.LogsService, s.spaces.LogsService)
	handle(r, api.StopService, s.spaces.StopService)

	handle(r, api.ListEnvironments, noRequest(s.parts.environments.List))
	handleEvents(r, api.PullEnvironment, func(ctx context.Context, req api.PullRequest, progress func(api.Progress)) (api.Environment, error) {
		return s.parts.environments.Pull(ctx, req.Environment, progress)
	})
	handle(r, api.InspectEnvironment, func(ctx context.Context, req api.InspectRequest) (api.Environment, error) {
		return s.parts.environments.Inspect(ctx, req.Environment, req.Verify)
	})
	handle(r, api.PruneEnvironments, func(ctx context.Context, req api.PruneRequest) (api.PruneResult, error) {
		return s.parts.environments.Prune(ctx, req.All)
	})
	handleEvents(r, api.ImportEnvironment, func(ctx context.Context, req api.ImportRequest, progress func(api.Progress)) (api.Environment, error) {
		return s.parts.environments.Import(ctx, req.Name, req.Source, progress)
	})

	handle(r, api.Doctor, s.doctor)
	handle(r, api.DaemonStatus, noRequest(s.status))
	handle(r, api.DaemonStop, s.stop)
	return r
}

func byID[Res any](f func(context.Context, string) (Res, error)) func(context.Context, api.VMRequest) (Res, error) {
	return func(ctx context.Context, req api.VMRequest) (Res, error) { return f(ctx, req.VMID) }
}

func ofWorkspace[Res any](f func(context.Context, string) (Res, error)) func(context.Context, api.WorkspaceRequest) (Res, error) {
	return func(ctx context.Context, req api.WorkspaceRequest) (Res, error) { return f(ctx, req.WorkspaceID) }
}

func noRequest[Res any](f func(context.Context) (Res, error)) func(context.Context, api.Empty) (Res, error) {
	return func(ctx context.Context, _ api.Empty) (Res, error) { return f(ctx) }
}
