package daemon

import (
	"net/http"
	"strings"

	"pyro/api"
	"pyro/internal/daemon/stream"
	"pyro/internal/sandbox"
)

// exec answers a call of ModeExec in the form that the caller asked for.
func (c *call) exec(run stream.Run) {
	switch upgrade := c.r.Header.Get("Upgrade"); {
	case upgrade == "":
		c.execBounded(run)
	case strings.EqualFold(upgrade, api.UpgradeProtocol):
		c.execStream(run)
	default:
		c.fail(api.Errorf(api.KindUsage, "protocol %q is not known", upgrade).WithHint("use Upgrade: %s", api.UpgradeProtocol))
	}
}

// noteVM returns event, which may be nil, so that it also notes the VM's id for
// the log.
func (c *call) noteVM(event func(api.ExecEvent)) func(api.ExecEvent) {
	return func(e api.ExecEvent) {
		if e.VMID != "" {
			c.vm = e.VMID
		}
		if event != nil {
			event(e)
		}
	}
}

// execBounded keeps the head and the tail of the output for one JSON answer.
func (c *call) execBounded(run stream.Run) {
	var stdout, stderr api.Output
	res, err := run(c.ctx, sandbox.Stdio{Stdout: &stdout, Stderr: &stderr})
	if err == nil {
		res.Stdout, res.StdoutTruncated = stdout.Text()
		res.Stderr, res.StderrTruncated = stderr.Text()
	}
	c.answer(res, err)
}

// execStream turns the connection into a stream of frames.
func (c *call) execStream(run stream.Run) {
	conn, buf, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		c.fail(api.Errorf(api.KindInternal, "connection cannot be upgraded: %w", err))
		return
	}
	defer conn.Close()
	c.kind = api.KindOf(stream.Serve(c.ctx, conn, buf.Reader, run))
}
