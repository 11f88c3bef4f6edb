package daemon

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/paths"
)

// lockTime is how long a new process waits for one that ends.
const lockTime = time.Minute

// takeLock takes the lock that makes this process the only one on the state
// folder. It returns nil without an error if another process has the lock and
// answers on the socket. One that has the lock and does not answer is ending
// (or starting): it is waited for.
func takeLock(ctx context.Context, dirs paths.Dirs) (*os.File, error) {
	f, err := os.OpenFile(dirs.Lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, api.Errorf(api.KindStorage, "lock of the background process: %w", err).
			WithHint("set PYRO_STATE_DIR to a folder you may write")
	}
	for end := time.Now().Add(lockTime); ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			_ = f.Truncate(0) // this and the number are for people; nothing reads them
			fmt.Fprintln(f, os.Getpid())
			return f, nil
		case err != unix.EWOULDBLOCK && err != unix.EINTR:
			f.Close()
			return nil, api.Errorf(api.KindStorage, "lock %s: %w", dirs.Lock(), err).
				WithHint("set PYRO_STATE_DIR to a folder on a local disk")
		case answers(ctx, dirs):
			f.Close()
			return nil, nil
		case time.Now().After(end):
			f.Close()
			return nil, api.Errorf(api.KindDaemonUnavailable, "another background process holds %s and does not answer", dirs.Lock()).
				WithHint("look into %s, then end the process whose id is in the lock file", dirs.Log())
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, api.Errorf(api.KindCanceled, "waiting for another background process to end: %w", context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// answers reports whether a background process answers a ping.
func answers(ctx context.Context, dirs paths.Dirs) bool {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			address, dir, err := socketAddress(dirs.State, socketName)
			if err != nil {
				return nil, err
			}
			defer dir.Close()
			return (&net.Dialer{}).DialContext(ctx, "unix", address)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://pyro/v1/ping", nil)
	if err != nil {
		return false
	}
	answer, err := client.Do(req)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}
