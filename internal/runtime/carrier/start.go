package carrier

import (
	"cmp"
	"context"
	"net/netip"
	"os"
	"time"

	"pyro/api"
	"pyro/internal/agent/wire"
	"pyro/internal/network/link"
	"pyro/internal/network/refusals"
	"pyro/internal/network/uplink"
	"pyro/internal/runtime"
	"pyro/internal/runtime/hostprocess"
)

// killTimeout bounds the wait for the kernel to end a killed uplink.
const killTimeout = 20 * time.Second

// Begin makes the link of a new machine, and returns the guest's end of it, which
// the caller closes once the guest has it.
func Begin(o Options) (c *Carrier, guest *os.File, err error) {
	gateway, guest, err := link.Pair()
	if err != nil {
		return nil, nil, api.Errorf(api.KindUnavailable, "sandbox %s: %w", o.Spec.ID, err)
	}
	c = newCarrier(o)
	c.gateway = gateway
	return c, guest, nil
}

// Start starts the uplink of a new machine, which ends with the sandbox's
// process, and returns the process, for the machine's record. It starts while
// the guest does.
func (c *Carrier) Start(sandbox hostprocess.Process) (hostprocess.Process, error) {
	c.sandbox = sandbox
	starting, process, err := c.spawn(c.gateway)
	if err != nil {
		return process, err
	}
	c.starting, c.uplink = starting, process
	return process, nil
}

// Ready returns when the uplink that Start has started serves. It may be called
// once.
func (c *Carrier) Ready(ctx context.Context) error { return c.starting.Wait(ctx) }

// Discard is for a machine that is not made after all, before Keep.
func (c *Carrier) Discard() {
	c.letGo()
	c.gateway.Close()
	_ = c.uplink.Kill(killTimeout)
}

// spawn starts an uplink on the gateway's end of a link.
func (c *Carrier) spawn(gateway *os.File) (*uplink.Starting, hostprocess.Process, error) {
	s := c.o.Spec
	fd, err := c.sandbox.Open()
	if err != nil {
		return nil, hostprocess.Process{}, api.Errorf(api.KindSandboxDied, "sandbox %s has ended", s.ID)
	}
	process := os.NewFile(uintptr(fd), "pidfd")
	defer process.Close()
	command := uplink.Command{
		Executable: c.o.Executable, Machine: c.o.Dir, Nobody: c.o.Nobody, Checksums: c.o.Checksums,
		Link: gateway, Sandbox: process, Policy: s.Network.Policy, Hostname: cmp.Or(s.Hostname, s.ID),
	}
	if s.Network.Refusals != "" {
		log, err := refusals.OpenFiles(s.Network.Refusals)
		if err != nil {
			return nil, hostprocess.Process{}, err
		}
		defer log.Close()
		command.Log = &log
	}
	starting, err := command.Start()
	if err != nil {
		return nil, hostprocess.Process{}, api.Errorf(api.KindUnavailable, "sandbox %s: network: %w", s.ID, err)
	}
	started, err := hostprocess.Identify(starting.PID)
	if err != nil {
		started.Collect()
		return nil, hostprocess.Process{}, api.Errorf(api.KindUnavailable, "sandbox %s: network: the uplink ended at once: %w", s.ID, err)
	}
	return starting, started, nil
}

// Error explains why a machine got no network.
func Error(s runtime.Spec, err error) *api.Error {
	return api.Errorf(api.KindUnavailable, "sandbox %s: its network cannot be set up: %w", s.ID, err).
		WithHint("see what works on this host with: pyro doctor")
}

// Probe has a guest connect to its gateway's name server.
func Probe(ctx context.Context, agent *wire.Client) error {
	at := netip.AddrPortFrom(link.Gateway4.Addr(), 53).String()
	if err := agent.Call(ctx, wire.Network, wire.NetworkParams{Connect: at}, nil); err != nil {
		return api.Errorf(api.KindUnavailable, "a sandbox does not reach its gateway: %w", err).WithHint("look for the reason in: pyro daemon logs")
	}
	return nil
}
