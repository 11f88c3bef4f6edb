package cli

import (
	"context"
	"errors"
	"fmt"

	"pyro/api"
	"pyro/client"
)

// exportTar writes a file or folder of a workspace to stdout as a tar, for
// `pyro workspace export ID PATH --output -`.
func (a *app) exportTar(req *api.ExportRequest, asJSON bool) error {
	if err := a.wantsTar(req, asJSON); err != nil {
		return err
	}
	c, err := a.newClient()
	if err != nil {
		return err
	}
	var res api.ExecResult
	err = a.interruptible(func(ctx context.Context) error {
		tar := api.ExportTarRequest{WorkspaceID: req.WorkspaceID, Path: req.Path}
		res, err = client.Exec(ctx, c, api.ExportWorkspaceTar, tar, client.Stdio{Stdout: a.Stdout, Stderr: a.Stderr})
		return err
	})
	if out, ok := errors.AsType[*client.OutputError](err); ok {
		return outputError(out.Err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Stderr, "[workspace-export] workspace_id=%s path=%s bytes=%d duration_ms=%d\n", res.WorkspaceID, shellQuote(req.Path), res.StdoutBytes, res.DurationMS)
	if res.Limit != nil {
		a.say(res.Limit)
	}
	return exitCode(res.ExitCode)
}

// wantsTar refuses a stdout that has another use.
func (a *app) wantsTar(req *api.ExportRequest, asJSON bool) error {
	command := fmt.Sprintf("pyro workspace export %s", shellQuote(req.WorkspaceID, req.Path))
	switch {
	case asJSON:
		return api.Errorf(api.KindUsage, "--output - writes a tar to stdout, where --json writes its document").WithHint("%s --output -", command)
	case isTerminal(a.Stdout):
		return api.Errorf(api.KindUsage, "--output - writes a tar to stdout, which is a terminal").WithHint("%s --output - > FILE.tar", command)
	}
	return nil
}
