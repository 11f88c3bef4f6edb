package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// headerVersion is on every request and answer.
const headerVersion = "Pyro-Version"

// answerTime is how long a live background process may take to answer a ping.
const answerTime = 15 * time.Second

// errNotRunning says that nothing listens on the socket.
var errNotRunning = errors.New("no background process is running")

// conn is a connection for one call. http.Client is not used because it cannot
// hand over an upgraded connection together with what it has read ahead.
type conn struct {
	net.Conn
	read *bufio.Reader
	ctx  context.Context
	stop func() bool // stops watching ctx
	log  string      // log file of the background process, for hints
}

// dial connects to the socket. The path goes through an open folder because
// the address of a socket has 108 bytes and paths may be longer.
func (c *Client) dial(ctx context.Context) (*conn, error) {
	dir, err := os.OpenFile(c.dirs.State, syscall.O_DIRECTORY|unix.O_PATH, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errNotRunning
	}
	if err != nil {
		return nil, api.Errorf(api.KindPermission, "state folder: %w", err).WithHint("set PYRO_STATE_DIR to a folder of your own")
	}
	defer dir.Close()
	path := "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/daemon.sock"
	nc, err := dialUnix(ctx, path)
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return nil, errNotRunning
	case ctx.Err() != nil:
		return nil, canceled(ctx)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return nil, api.Errorf(api.KindPermission, "socket %s belongs to another user", c.dirs.Socket()).
			WithHint("set PYRO_STATE_DIR to a folder of your own")
	case err != nil:
		return nil, api.Errorf(api.KindDaemonUnavailable, "socket %s: %w", c.dirs.Socket(), errors.Unwrap(err)).
			WithHint("set PYRO_STATE_DIR to a folder of your own")
	}
	conn := &conn{Conn: nc, read: bufio.NewReaderSize(nc, 32<<10), ctx: ctx, log: c.dirs.Log()}
	conn.stop = context.AfterFunc(ctx, func() { nc.Close() })
	return conn, nil
}

// dialUnix connects, waiting while the listener's queue is full.
func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	for {
		nc, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if !errors.Is(err, syscall.EAGAIN) || pause(ctx, 5*time.Millisecond) != nil {
			return nc, err
		}
	}
}

func (conn *conn) Close() error {
	conn.stop()
	return conn.Conn.Close()
}

// pong is the answer to a ping.
type pong struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
	Build   string `json:"build"`
}

// ping asks who is there. A process that ends just now counts as not running.
func (conn *conn) ping() (pong, error) {
	var p pong
	conn.SetDeadline(time.Now().Add(answerTime))
	defer conn.SetDeadline(time.Time{})
	answer, err := conn.send(http.MethodGet, "ping", nil, "")
	if err == nil {
		err = json.NewDecoder(io.LimitReader(answer.Body, 1<<16)).Decode(&p)
		_, _ = io.Copy(io.Discard, answer.Body) // so that the connection can be used again; if not, the next request says so
	}
	switch {
	case err == nil:
		return p, nil
	case conn.ctx.Err() != nil:
		return p, canceled(conn.ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return p, api.Errorf(api.KindDaemonUnavailable, "the background process did not answer within %s", answerTime).
			WithHint("look into %s; end the process and try again", conn.log)
	}
	return p, errNotRunning
}

// post sends a request and returns the answer if it is a success.
func (conn *conn) post(op *api.Operation, req any, upgrade string) (*http.Response, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "request of %s: %w", op.Name, err)
	}
	answer, err := conn.send(http.MethodPost, op.Name, body, upgrade)
	if err != nil {
		return nil, conn.broken(err)
	}
	want := http.StatusOK
	if upgrade != "" {
		want = http.StatusSwitchingProtocols
	}
	if answer.StatusCode != want {
		return nil, errorOf(answer)
	}
	return answer, nil
}

func (conn *conn) send(method, name string, body []byte, upgrade string) (*http.Response, error) {
	req, err := http.NewRequest(method, "http://pyro/v1/"+name, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set(headerVersion, api.Version)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if upgrade != "" {
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", upgrade)
	}
	if err := req.Write(conn.Conn); err != nil {
		// The other side may have answered before it closed the connection.
		if answer, readErr := http.ReadResponse(conn.read, req); readErr == nil {
			return answer, nil
		}
		return nil, err
	}
	return http.ReadResponse(conn.read, req)
}

// broken is the error of a connection that ended or made no sense in the
// middle of a call.
func (conn *conn) broken(err error) error {
	if conn.ctx.Err() != nil {
		return canceled(conn.ctx)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return api.Errorf(api.KindDaemonUnavailable, "the background process ended in the middle of the call").
			WithHint("look into %s, then try again", conn.log)
	}
	return api.Errorf(api.KindDaemonUnavailable, "answer of the background process: %w", err).
		WithHint("pyro daemon stop, then try again")
}

// canceled is the error of a caller that stopped waiting.
func canceled(ctx context.Context) error {
	return api.Errorf(api.KindCanceled, "stopped waiting for the background process: %w", context.Cause(ctx))
}

// pause waits for d or until ctx ends, whose error it returns.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
