package wire

import "context"

// do makes a call whose result is of type R.
func do[R any](ctx context.Context, c *Client, method Method, params any) (R, error) {
	var result R
	err := c.Call(ctx, method, params, &result)
	return result, err
}

// OpenShell starts a shell.
func (c *Client) OpenShell(ctx context.Context, p ShellOpenParams) (ShellInfo, error) {
	return do[ShellInfo](ctx, c, ShellOpen, p)
}

// ListShells lists the shells in the order in which they were opened.
func (c *Client) ListShells(ctx context.Context) ([]ShellInfo, error) {
	r, err := do[ShellListResult](ctx, c, ShellList, nil)
	return r.Shells, err
}

// ReadShell returns output, after the wait that p asks for.
func (c *Client) ReadShell(ctx context.Context, p ShellReadParams) (ShellReadResult, error) {
	return do[ShellReadResult](ctx, c, ShellRead, p)
}

// WriteShell gives input of any length to a shell, piece by piece. It stops when
// the terminal takes no more, which is no error: see ShellWriteResult.
func (c *Client) WriteShell(ctx context.Context, p ShellWriteParams) (ShellWriteResult, error) {
	var total ShellWriteResult
	for first := true; ; first = false {
		piece := ShellWriteParams{ID: p.ID, Data: p.Data[:min(len(p.Data), MaxData)]}
		p.Data = p.Data[len(piece.Data):]
		r, err := do[ShellWriteResult](ctx, c, ShellWrite, piece)
		total.Written += min(max(r.Written, 0), len(piece.Data))
		total.Full = r.Full
		if first {
			total.State, total.CursorEnd = r.State, r.CursorEnd
		}
		if err != nil || r.Full || len(p.Data) == 0 {
			return total, err
		}
	}
}

// ResizeShell changes the size of a shell's terminal.
func (c *Client) ResizeShell(ctx context.Context, p ShellResizeParams) (ShellInfo, error) {
	return do[ShellInfo](ctx, c, ShellResize, p)
}

// SignalShell sends a signal to a shell.
func (c *Client) SignalShell(ctx context.Context, p ShellSignalParams) (ShellInfo, error) {
	return do[ShellInfo](ctx, c, ShellSignal, p)
}

// CloseShell ends a shell and forgets it. It may take some seconds.
func (c *Client) CloseShell(ctx context.Context, id string) (ShellInfo, error) {
	return do[ShellInfo](ctx, c, ShellClose, ShellParams{ID: id})
}

// StartService starts a service and returns when it is ready or has failed.
func (c *Client) StartService(ctx context.Context, p ServiceStartParams) (ServiceInfo, error) {
	return do[ServiceInfo](ctx, c, ServiceStart, p)
}

// ListServices lists the services by name.
func (c *Client) ListServices(ctx context.Context) ([]ServiceInfo, error) {
	r, err := do[ServiceListResult](ctx, c, ServiceList, nil)
	return r.Services, err
}

// ServiceStatus describes one service.
func (c *Client) ServiceStatus(ctx context.Context, name string) (ServiceInfo, error) {
	return do[ServiceInfo](ctx, c, ServiceStatus, ServiceParams{Name: name})
}

// StopService ends a service and returns when nothing of it runs any more.
func (c *Client) StopService(ctx context.Context, p ServiceStopParams) (ServiceInfo, error) {
	return do[ServiceInfo](ctx, c, ServiceStop, p)
}

// ServiceLogs returns output of a service, after the wait that p asks for.
func (c *Client) ServiceLogs(ctx context.Context, p ServiceLogsParams) (ServiceLogsResult, error) {
	return do[ServiceLogsResult](ctx, c, ServiceLogs, p)
}
