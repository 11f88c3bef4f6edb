package client

import (
	"context"
	"errors"
	"net/http"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// need says what a call asks of the background process.
type need struct {
	start    bool // start one if none runs
	anyBuild bool // one of another build will do
}

// connectTries bounds how often a process may end between finding and calling it.
const connectTries = 5

// connect finds the background process, starting or replacing it as n says.
// Its ping costs one round trip on the connection that the call then uses, and
// buys that a request never meets a process that is about to end.
func (c *Client) connect(ctx context.Context, n need) (*conn, error) {
	for range connectTries {
		conn, err := c.try(ctx, n)
		if !errors.Is(err, errNotRunning) {
			return conn, err
		}
		if !n.start {
			return nil, err
		}
		if c.noStart {
			return nil, api.Errorf(api.KindDaemonUnavailable, "%w", errNotRunning).WithHint("run any pyro command to start it")
		}
		if err := c.start(ctx); err != nil {
			return nil, err
		}
	}
	return nil, api.Errorf(api.KindDaemonUnavailable, "the background process ends as soon as it has started").
		WithHint("look into %s", c.dirs.Log())
}

// try connects to a process that runs already. It returns errNotRunning if
// there is none, or if one of another build was there and has ended.
func (c *Client) try(ctx context.Context, n need) (*conn, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	who, err := conn.ping()
	if err != nil {
		conn.Close()
		return nil, err
	}
	if n.anyBuild || who.Build == c.build && who.Version == api.Version {
		return conn, nil
	}
	defer conn.Close()
	if who.Build == c.build {
		return nil, api.Errorf(api.KindConflict, "the program %s is pyro %s, its caller speaks %s", c.executable, who.Version, api.Version).
			WithHint("install both of the same version")
	}
	if c.noStart {
		return nil, api.Errorf(api.KindConflict, "the background process (pid %d, pyro %s) is another build", who.PID, who.Version).
			WithHint("pyro daemon stop")
	}
	if err := c.retire(ctx, conn, who); err != nil {
		return nil, err
	}
	return nil, errNotRunning
}

// retire asks a process of another build to end and waits until it has.
func (c *Client) retire(ctx context.Context, conn *conn, who pong) error {
	answer, err := conn.send(http.MethodPost, api.DaemonStop.Name, []byte("{}"), "")
	if err != nil {
		return nil // it ended while we asked
	}
	if answer.StatusCode != http.StatusOK {
		err := errorOf(answer)
		return api.Errorf(api.KindConflict, "the background process (pid %d, pyro %s) is another build and cannot stop now: %w", who.PID, who.Version, err).
			WithHint("pyro daemon stop --force")
	}
	conn.Close() // an ending process waits for those who are connected
	return c.awaitEnd(ctx, who.PID)
}

// awaitEnd waits until the process that said it would stop has let go of the
// lock that it holds for its life, or another one serves.
func (c *Client) awaitEnd(ctx context.Context, pid int) error {
	deadline := time.Now().Add(answerTime)
	for time.Now().Before(deadline) {
		conn, err := c.dial(ctx)
		switch {
		case errors.Is(err, errNotRunning):
			if c.unlocked() {
				return nil
			}
		case err != nil:
			return err
		default:
			now, err := conn.ping()
			conn.Close()
			if err == nil && now.PID != pid {
				return nil
			}
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return canceled(ctx)
		}
	}
	return api.Errorf(api.KindDaemonUnavailable, "the background process (pid %d) said it would stop and has not", pid).
		WithHint("kill %d", pid)
}

// unlocked reports whether no background process lives on the state folder.
// It holds the lock for a moment, which a process that starts sits out.
func (c *Client) unlocked() bool {
	f, err := os.Open(c.dirs.Lock())
	if err != nil {
		return true
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != unix.EWOULDBLOCK
}
