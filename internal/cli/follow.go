package cli

import (
	"context"

	"pyro/api"
)

// followLog writes the log of a service as it grows, until the service has
// ended and all of it was written.
func (a *app) followLog(req api.LogsServiceRequest) error {
	c, err := a.newClient()
	if err != nil {
		return err
	}
	w := a.logWriter(api.LogsService.Operation)
	return a.interruptible(func(ctx context.Context) error {
		for {
			log, err := again(ctx, c, api.LogsService, req)
			if err != nil {
				return err
			}
			if log.DroppedBytes > 0 {
				w.line("workspace_id=%s service=%s%s", log.WorkspaceID, log.ServiceName, dropped(&log))
			}
			w.chunks(&log)
			if w.err != nil {
				return outputError(w.err)
			}
			ended := log.State != api.ServiceStarting && log.State != api.ServiceRunning
			if ended && req.Cursor != nil && log.NextCursor == *req.Cursor {
				w.line("workspace_id=%s service=%s state=%s next_cursor=%d", log.WorkspaceID, log.ServiceName, log.State, log.NextCursor)
				return nil
			}
			req.TailLines, req.Cursor, req.WaitMS = nil, new(log.NextCursor), longPoll
			if ended { // one more read, which has nothing to wait for
				req.WaitMS = 0
			}
		}
	})
}
