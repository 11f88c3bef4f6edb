package gvisor

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/control/client"
	"gvisor.dev/gvisor/pkg/urpc"
	"gvisor.dev/gvisor/runsc/boot"
	"gvisor.dev/gvisor/runsc/sandbox"
	"gvisor.dev/gvisor/runsc/specutils"

	"pyro/api"
	"pyro/internal/agent/wire"
	"pyro/internal/network/link"
	"pyro/internal/network/policy"
	"pyro/internal/network/refusals"
	"pyro/internal/network/uplink"
	"pyro/internal/runtime"
	"pyro/internal/runtime/hostprocess"
)

// card is the guest's name for its end of the link.
const card = "eth0"

// connection is what a machine's network hangs on.
type connection struct {
	ended chan struct{} // closed when keepUplink has ended

	mu      sync.Mutex
	gateway *os.File            // the gateway's end of the link; nil if the process that made it is gone
	uplink  hostprocess.Process // guarded by mu
	stopped bool                // guarded by mu: no uplink is started any more
	stop    chan struct{}
}

func newConnection() *connection {
	return &connection{ended: make(chan struct{}), stop: make(chan struct{})}
}

// halt lets go of the connection, and returns when nothing starts an uplink.
func (c *connection) halt() {
	c.mu.Lock()
	if !c.stopped {
		c.stopped = true
		close(c.stop)
	}
	c.mu.Unlock()
	<-c.ended
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gateway != nil {
		c.gateway.Close()
		c.gateway = nil
	}
}

// NetworkUp implements runtime.Networked.
func (m *machine) NetworkUp() bool {
	if m.net == nil {
		return false
	}
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	return m.net.uplink.PID != 0 && m.net.uplink.Lives()
}

// startUplink starts the process at the gateway's end of a sandbox's link.
func (d *Driver) startUplink(rec record, gateway *os.File) (*uplink.Starting, hostprocess.Process, error) {
	s := rec.Spec
	fd, err := rec.Sandbox.Open()
	if err != nil {
		return nil, hostprocess.Process{}, api.Errorf(api.KindSandboxDied, "sandbox %s has ended", s.ID)
	}
	process := os.NewFile(uintptr(fd), "pidfd")
	defer process.Close()
	c := uplink.Command{
		Executable: specutils.ExePath, Machine: d.machineDir(s.ID), Nobody: !d.rootless,
		Link: gateway, Sandbox: process, Policy: s.Network.Policy, Hostname: cmp.Or(s.Hostname, s.ID),
	}
	if s.Network.Refusals != "" {
		log, err := refusals.OpenFiles(s.Network.Refusals)
		if err != nil {
			return nil, hostprocess.Process{}, err
		}
		defer log.Close()
		c.Log = &log
	}
	starting, err := c.Start()
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

// firstUplink is a new machine's link, whose uplink starts while the guest does.
type firstUplink struct {
	gateway, guest *os.File
	process        hostprocess.Process
	starting       *uplink.Starting
}

func (d *Driver) firstUplink(rec record) (*firstUplink, error) {
	gateway, guest, err := link.Pair()
	if err != nil {
		return nil, api.Errorf(api.KindUnavailable, "sandbox %s: %w", rec.Spec.ID, err)
	}
	starting, process, err := d.startUplink(rec, gateway)
	if err != nil {
		gateway.Close()
		guest.Close()
		return nil, err
	}
	return &firstUplink{gateway: gateway, guest: guest, process: process, starting: starting}, nil
}

// discard is for a machine that is not made after all.
func (f *firstUplink) discard() {
	f.gateway.Close()
	f.guest.Close()
	_ = f.process.Kill(killTimeout)
}

// connect gives the guest its end, once the other one serves.
func (f *firstUplink) connect(ctx context.Context, n *runtime.Network, s *sandbox.Sandbox, agent *wire.Client) (*connection, error) {
	if err := f.starting.Wait(ctx); err != nil {
		return nil, err
	}
	if err := plugIn(s, f.guest); err != nil {
		return nil, err
	}
	f.guest.Close()
	if err := agent.Call(ctx, wire.Network, wire.NetworkParams{ResolvConf: link.ResolvConf, AptSources: n.AptSources}, nil); err != nil {
		return nil, err
	}
	c := newConnection()
	c.gateway, c.uplink = f.gateway, f.process
	return c, nil
}

// plugIn makes the guest's network card. It must come after the sandbox's start,
// whose own, empty, table of routes would replace ours.
func plugIn(s *sandbox.Sandbox, guest *os.File) error {
	conn, err := client.ConnectTo(s.GetControlSocketPath())
	if err != nil {
		return err
	}
	defer conn.Close()
	args := &boot.CreateLinksAndRoutesArgs{
		FilePayload: urpc.FilePayload{Files: []*os.File{guest}},
		FDBasedLinks: []boot.FDBasedLink{{
			Name: card, MTU: link.MTU, NumChannels: 1, PreConfigured: true, IsPacket: []bool{false},
			LinkAddress:       link.GuestMAC,
			Addresses:         []boot.IPWithPrefix{address(link.Guest4), address(link.Guest6)},
			Routes:            []boot.Route{{Destination: network(link.Guest4)}, {Destination: network(link.Guest6)}},
			Neighbors:         []boot.Neighbor{neighbor(link.Gateway4), neighbor(link.Gateway6)},
			RXChecksumOffload: true, TXChecksumOffload: true,
		}},
		Defaultv4Gateway: gatewayOf(link.Gateway4, net.CIDRMask(0, 32)),
		Defaultv6Gateway: gatewayOf(link.Gateway6, net.CIDRMask(0, 128)),
	}
	return conn.Call("Network.CreateLinksAndRoutes", args, nil)
}

func ip(p netip.Prefix) net.IP { return p.Addr().AsSlice() }

func address(p netip.Prefix) boot.IPWithPrefix {
	return boot.IPWithPrefix{Address: ip(p), PrefixLen: p.Bits()}
}

func network(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: ip(p.Masked()), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func neighbor(p netip.Prefix) boot.Neighbor {
	return boot.Neighbor{IP: ip(p), HardwareAddr: link.GatewayMAC}
}

func gatewayOf(p netip.Prefix, all net.IPMask) boot.DefaultRoute {
	zero := net.IPNet{IP: make(net.IP, len(all)), Mask: all}
	return boot.DefaultRoute{Name: card, Route: boot.Route{Destination: zero, Gateway: ip(p)}}
}

// How long a dead uplink is not replaced: the first time at once, then ever
// longer, unless the one before has lived for long.
const (
	uplinkFirstPause   = 100 * time.Millisecond
	uplinkLongestPause = 10 * time.Second
	uplinkLivedFor     = time.Minute
)

// keepUplink replaces the machine's uplink whenever it dies, until the machine
// has ended or was let go.
func (m *machine) keepUplink() {
	defer close(m.net.ended)
	pause := time.Duration(0)
	for {
		begun := time.Now()
		if !m.waitForUplink() {
			return
		}
		if time.Since(begun) > uplinkLivedFor {
			pause = 0
		}
		select {
		case <-time.After(pause):
		case <-m.net.stop:
			return
		case <-m.done:
			return
		}
		pause = min(max(2*pause, uplinkFirstPause), uplinkLongestPause)
		m.driver.log.Warn("the network's process has ended, starting another", "machine", m.ID())
		if err := m.replaceUplink(); err != nil {
			m.driver.log.Error("the network cannot be restored, trying again", "machine", m.ID(), "error", err)
		}
	}
}

// waitForUplink returns true when the uplink has ended, false if nobody shall care.
func (m *machine) waitForUplink() bool {
	m.net.mu.Lock()
	process := m.net.uplink
	m.net.mu.Unlock()
	fd, err := process.Open()
	if err != nil {
		process.Collect()
		return true
	}
	ended := make(chan struct{})
	file := pidfdFile(fd)
	go func() {
		defer close(ended)
		waitForPidfd(file)
	}()
	defer file.Close()
	defer func() { _ = file.SetReadDeadline(time.Unix(1, 0)); <-ended }()
	select {
	case <-ended:
		process.Collect()
		return true
	case <-m.done:
		_ = process.Kill(killTimeout) // it ends by itself; this is to collect it
		return false
	case <-m.net.stop:
		return false
	}
}

// replaceUplink starts another uplink: on the same link if this process made it,
// so that the guest's card stays, else on a new one with a new card.
func (m *machine) replaceUplink() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m.net.mu.Lock()
	gateway := m.net.gateway
	m.net.mu.Unlock()
	if gateway != nil {
		starting, err := m.startNext(gateway)
		if err != nil {
			return err
		}
		return starting.Wait(ctx)
	}
	// An uplink that no record names is left of a process that was killed.
	for _, p := range findProcesses(m.driver.machineDir(m.ID())) {
		if p != m.rec.Sandbox && p != m.rec.Gofer {
			_ = p.Kill(killTimeout)
		}
	}
	gateway, guest, err := link.Pair()
	if err != nil {
		return err
	}
	defer guest.Close()
	starting, err := m.startNext(gateway)
	if err != nil {
		gateway.Close()
		return err
	}
	if err := m.replug(ctx, starting, guest); err != nil {
		gateway.Close()
		m.net.mu.Lock()
		defer m.net.mu.Unlock()
		_ = m.net.uplink.Kill(killTimeout) // it serves a link that nobody has
		return err
	}
	m.net.mu.Lock()
	m.net.gateway = gateway
	m.net.mu.Unlock()
	return nil
}

func (m *machine) replug(ctx context.Context, starting *uplink.Starting, guest *os.File) error {
	agent, err := m.client(ctx)
	if err != nil {
		return err
	}
	if err := agent.Call(ctx, wire.Network, wire.NetworkParams{DropCard: card}, nil); err != nil {
		return err
	}
	if err := plugIn(m.sandbox, guest); err != nil {
		return err
	}
	return starting.Wait(ctx)
}

// startNext starts an uplink and records it.
func (m *machine) startNext(gateway *os.File) (*uplink.Starting, error) {
	starting, process, err := m.driver.startUplink(m.rec, gateway)
	if err != nil {
		return nil, err
	}
	m.net.mu.Lock()
	m.net.uplink = process
	m.net.mu.Unlock()
	rec := m.rec
	rec.Uplink = process
	return starting, writeRecord(m.driver.machineDir(m.ID()), rec)
}

// pidfdFile makes waiting for a process take no thread.
func pidfdFile(fd int) *os.File {
	_ = unix.SetNonblock(fd, true)
	return os.NewFile(uintptr(fd), "pidfd")
}

// waitForPidfd returns true when the process has ended, false when the file's
// read deadline has come.
func waitForPidfd(file *os.File) bool {
	raw, err := file.SyscallConn()
	if err != nil {
		return false
	}
	ended := false
	_ = raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		ended = err == nil && n == 1
		return ended
	})
	return ended
}

// ProbeNetwork implements runtime.NetworkProber: the guest connects to the
// gateway's name server.
func (d *Driver) ProbeNetwork(ctx context.Context) error {
	return d.probe(ctx, &runtime.Network{Policy: policy.Allowlist()}, func(m *machine) error {
		agent, err := m.client(ctx)
		if err != nil {
			return err
		}
		at := netip.AddrPortFrom(link.Gateway4.Addr(), 53).String()
		if err := agent.Call(ctx, wire.Network, wire.NetworkParams{Connect: at}, nil); err != nil {
			return api.Errorf(api.KindUnavailable, "a sandbox does not reach its gateway: %w", err).WithHint("look for the reason in: pyro daemon logs")
		}
		return nil
	})
}

// networkError explains why a machine got no network.
func networkError(s runtime.Spec, err error) *api.Error {
	return api.Errorf(api.KindUnavailable, "sandbox %s: its network cannot be set up: %w", s.ID, fmt.Errorf("%w", err)).
		WithHint("see what works on this host with: pyro doctor")
}
