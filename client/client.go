// Package client calls pyro's operations.
//
// A [Client] talks HTTP over the unix socket of the background process and
// starts that process when it is needed. The operations are the rows of
// package api; a call names the row and gives its request:
//
//	c, err := client.New(client.Options{})
//	vm, err := client.Do(ctx, c, api.StatusVM, api.VMRequest{VMID: id})
//	env, err := client.Watch(ctx, c, api.PullEnvironment, req, func(p api.Progress) { ... })
//	res, err := client.Exec(ctx, c, api.RunInVM, req, client.Stdio{Stdout: os.Stdout})
//
// # Promises
//
//   - Errors are *api.Error. What the background process said is passed on as
//     it is; a process that cannot be started or that ends in the middle of a
//     call is of kind daemon_unavailable.
//   - A request is sent at most once. What is tried again is finding and
//     starting the process, before the request.
//   - Ending ctx ends the call at once and, for Exec, the command.
//   - A Client is safe for concurrent use and holds nothing open between calls.
//
// # The background process
//
// One process serves one state folder. Any number of clients may start it at
// the same time: they take turns by a lock on the folder and one of them
// starts it. A process of another build is asked to stop; if it is busy the
// call fails with kind conflict rather than mixing two builds.
//
// As a plain user the process lives in a user namespace and a mount namespace
// of its own, in which it is root.
package client

import (
	"os"
	"strings"

	"pyro/api"
	"pyro/internal/buildid"
	"pyro/internal/paths"
)

// Options configure a Client. The zero value is what the pyro command uses.
type Options struct {
	// Dirs are the folders of state, cache and configuration. Default: found
	// from Env.
	Dirs paths.Dirs
	// Executable is the pyro program that becomes the background process.
	// Default: the running program. Programs that are not pyro must set it.
	Executable string
	// NoStart says never to start the background process.
	NoStart bool
	// Env are the variables (KEY=VALUE) from which folders are found and of
	// which the background process gets a selection. Default: os.Environ().
	Env []string
}

// Client calls operations of one background process.
type Client struct {
	dirs       paths.Dirs
	executable string
	build      string // of executable
	noStart    bool
	env        []string
}

// New returns a Client. It neither connects nor starts anything.
func New(opts Options) (*Client, error) {
	c := &Client{dirs: opts.Dirs, executable: opts.Executable, noStart: opts.NoStart, env: opts.Env}
	if c.env == nil {
		c.env = os.Environ()
	}
	if c.dirs == (paths.Dirs{}) {
		dirs, err := paths.FromEnv(c.getenv)
		if err != nil {
			return nil, err
		}
		c.dirs = dirs
	}
	if c.executable == "" {
		c.executable = buildid.Self
	}
	build, err := buildid.Of(c.executable)
	if err != nil {
		return nil, api.AsError(err).WithHint("the pyro program is not where it is expected; install it again")
	}
	c.build = build
	return c, nil
}

// Dirs returns the folders that the client uses.
func (c *Client) Dirs() paths.Dirs { return c.dirs }

func (c *Client) getenv(key string) string {
	for _, kv := range c.env {
		if name, value, _ := strings.Cut(kv, "="); name == key {
			return value
		}
	}
	return ""
}
