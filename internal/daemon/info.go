package daemon

import (
	"context"
	"errors"
	"os"
	"time"

	"pyro/api"
	"pyro/internal/runtime/hostprocess"
)

func (s *server) status(context.Context) (api.DaemonInfo, error) {
	calls, _, _ := s.life.counts()
	d := s.options.Dirs
	return api.DaemonInfo{
		Running: true, PID: os.Getpid(), Version: api.Version, StartedAt: s.started.UTC(),
		Socket: d.Socket(), LogFile: d.Log(), StateDir: d.State, CacheDir: d.Cache,
		Rootless: hostprocess.InUserNamespace(), Sandboxes: s.running(), Calls: calls,
	}, nil
}

// stop ends the process if nothing runs, or after removing what runs.
func (s *server) stop(ctx context.Context, req api.DaemonStopRequest) (api.DaemonInfo, error) {
	info, err := s.settled(ctx)
	if err != nil {
		return info, err
	}
	// Workspaces are saved and adopted by the next process; they are in nobody's way.
	if vms := s.vms.Running(); !req.Force && vms+info.Calls > 0 {
		return info, api.Errorf(api.KindConflict, "the background process is in use: %d VMs run, %d calls are under way", vms, info.Calls).
			WithHint("pyro daemon stop --force, which removes the VMs, and saves and stops the workspaces")
	}
	if req.Force {
		err = errors.Join(s.vms.RemoveRunning(ctx), s.spaces.StopAll(ctx))
		s.life.cut(api.Errorf(api.KindCanceled, "the background process was told to stop"))
	}
	if err != nil {
		return info, err
	}
	s.life.stop()
	info.Running, info.Sandboxes, info.Calls = false, s.running(), 0
	return info, nil
}

// settleTime is how long the process may need to notice that a call is over
// whose caller has its answer already.
const settleTime = 500 * time.Millisecond

// settled is status, a moment later if something is under way.
func (s *server) settled(ctx context.Context) (api.DaemonInfo, error) {
	for end := time.Now().Add(settleTime); ; time.Sleep(5 * time.Millisecond) {
		info, err := s.status(ctx)
		if err != nil || s.vms.Running()+info.Calls == 0 || time.Now().After(end) {
			return info, err
		}
	}
}
