package client

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/handshake"
	"pyro/internal/hostcheck"
)

// startTime is how long a new background process may take until it answers.
// It first brings records and reality together, which depends on what an
// earlier one left behind.
const startTime = 2 * time.Minute

// start starts the background process unless another client has done so while
// this one waited for its turn.
func (c *Client) start(ctx context.Context) error {
	if err := c.dirs.Make(); err != nil {
		return err
	}
	turn, err := c.lockState(ctx)
	if err != nil {
		return err
	}
	defer turn.Close()
	if conn, err := c.dial(ctx); err == nil {
		_, err := conn.ping()
		conn.Close()
		if err == nil {
			return nil
		}
	}
	return c.spawn(ctx)
}

// lockState takes the lock by which clients take turns: flock(2) on the state
// folder itself. A file system without it only makes several start at once, of
// which all but one end again.
func (c *Client) lockState(ctx context.Context) (*os.File, error) {
	dir, err := os.Open(c.dirs.State)
	if err != nil {
		return nil, api.Errorf(api.KindPermission, "state folder: %w", err).WithHint("set PYRO_STATE_DIR to a folder of your own")
	}
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return dir, nil
		}
		if pause(ctx, 5*time.Millisecond) != nil {
			dir.Close()
			return nil, canceled(ctx)
		}
	}
}

// spawn starts a process and waits for its first word.
func (c *Client) spawn(ctx context.Context) error {
	log, err := os.OpenFile(c.dirs.Log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return api.Errorf(api.KindStorage, "log of the background process: %w", err).WithHint("set PYRO_STATE_DIR to a folder you may write")
	}
	defer log.Close()
	before, _ := log.Seek(0, 2)
	listen, speak, err := os.Pipe()
	if err != nil {
		return api.Errorf(api.KindUnavailable, "pipe: %w", err)
	}
	defer listen.Close()
	cmd := c.command(log, speak)
	err = cmd.Start()
	speak.Close()
	if err != nil {
		return c.startError(err)
	}
	go func() { _ = cmd.Wait() }() // so that a client that lives long leaves no zombie
	return c.await(ctx, listen, before)
}

// command prepares the process: a session of its own, no terminal, nothing of
// the caller but a selection of its variables.
func (c *Client) command(log, speak *os.File) *exec.Cmd {
	cmd := exec.Command(c.executable, "daemon", "run")
	cmd.Args[0] = "pyro"
	cmd.Dir = "/"
	cmd.Env = c.daemonEnv()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{speak} // becomes handshake.FD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
		cmd.SysProcAttr.GidMappingsEnableSetgroups = false
	}
	return cmd
}

func (c *Client) startError(err error) error {
	if os.Geteuid() != 0 {
		if e := (hostcheck.Host{}).ExplainUserNamespace(err); e != nil {
			return e
		}
	}
	return api.Errorf(api.KindDaemonUnavailable, "the background process cannot be started: %w", err)
}

// await waits for the first word of the new process. Its log beyond offset
// before tells why it died, if it did.
func (c *Client) await(ctx context.Context, listen *os.File, before int64) error {
	listen.SetReadDeadline(time.Now().Add(startTime))
	defer context.AfterFunc(ctx, func() { listen.SetReadDeadline(time.Unix(1, 0)) })()
	err := handshake.Listen(listen)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return canceled(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return api.Errorf(api.KindDaemonUnavailable, "the background process did not get ready within %s", startTime).
			WithHint("look into %s", c.dirs.Log())
	case errors.Is(err, handshake.ErrSilent):
		e := api.Errorf(api.KindDaemonUnavailable, "the background process ended at once%s", c.lastWords(before)).
			WithHint("look into %s", c.dirs.Log())
		if check := (hostcheck.Host{}).AppArmor(); !check.OK { // lets the process start, but without its powers
			e.Hint = check.Hint
		}
		return e
	}
	if c.othersReady(ctx, err) {
		return nil
	}
	return err
}

// othersReady handles a process that gave up because another one holds the
// lock of the state folder: one started by hand, or by a client on a file
// system where clients cannot take turns. That one is then the one to use, and
// may need a moment more.
func (c *Client) othersReady(ctx context.Context, refusal error) bool {
	deadline := time.Now().Add(answerTime)
	for {
		if conn, err := c.dial(ctx); err == nil {
			_, err := conn.ping()
			conn.Close()
			if err == nil {
				return true
			}
		}
		if api.KindOf(refusal) != api.KindConflict || time.Now().After(deadline) || pause(ctx, 20*time.Millisecond) != nil {
			return false
		}
	}
}

// lastWords returns the end of what the log gained since offset.
func (c *Client) lastWords(offset int64) string {
	f, err := os.Open(c.dirs.Log())
	if err != nil {
		return ""
	}
	defer f.Close()
	buf := make([]byte, 4096)
	if size, err := f.Seek(0, 2); err == nil {
		offset = max(offset, size-int64(len(buf)))
	}
	n, _ := f.ReadAt(buf, offset)
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(buf[:n]), "?")), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return ": " + last
	}
	return ""
}

// passedOn are the variables that the background process gets, as patterns.
// The rest of the caller's environment, with whatever secrets it holds, stays out.
var passedOn = []string{"PATH", "HOME", "XDG_*", "PYRO_*", "*_proxy", "*_PROXY", "SSL_CERT_*", "LANG", "TMPDIR", "DOCKER_CONFIG"}

// daemonEnv selects variables and pins the folders, so that the process uses
// those of this client wherever they came from.
func (c *Client) daemonEnv() []string {
	var env []string
	for _, kv := range c.env {
		name, _, _ := strings.Cut(kv, "=")
		for _, pattern := range passedOn {
			if ok, _ := path.Match(pattern, name); ok {
				env = append(env, kv)
				break
			}
		}
	}
	return append(env,
		"PYRO_STATE_DIR="+c.dirs.State, "PYRO_CACHE_DIR="+c.dirs.Cache, "PYRO_CONFIG_DIR="+c.dirs.Config,
		handshake.Variable+"="+strconv.Itoa(handshake.FD))
}
