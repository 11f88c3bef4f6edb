package workspace

import (
	"testing"

	"pyro/api"
	"pyro/internal/sandbox"
)

// TestMode: answers name the mode of the machine that there is, and without one
// that of the driver.
func TestMode(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.driver.made = api.GuestVsock
		id := w.create()
		req := api.ExecWorkspaceRequest{WorkspaceID: id, Command: []string{"write", "a", "1"}, TimeoutSeconds: 30}
		if res, err := w.Exec(t.Context(), req, sandbox.Stdio{}); err != nil || res.ExecutionMode != api.GuestVsock {
			t.Errorf("a command: %s, %v", res.ExecutionMode, err)
		}
		if s := w.status(id); s.ExecutionMode != api.GuestVsock {
			t.Errorf("while it runs: %s", s.ExecutionMode)
		}
		if s, err := w.Stop(t.Context(), id); err != nil || s.ExecutionMode != api.GuestGVisor {
			t.Errorf("when it is stopped: %s, %v", s.ExecutionMode, err)
		}
	})
}
