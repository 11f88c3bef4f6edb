package gvisor

import (
	"context"
	"net"
	"net/netip"
	"os"

	"gvisor.dev/gvisor/pkg/control/client"
	"gvisor.dev/gvisor/pkg/urpc"
	"gvisor.dev/gvisor/runsc/boot"
	"gvisor.dev/gvisor/runsc/sandbox"
	"gvisor.dev/gvisor/runsc/specutils"

	"pyro/internal/agent/wire"
	"pyro/internal/network/link"
	"pyro/internal/network/policy"
	"pyro/internal/runtime"
	"pyro/internal/runtime/carrier"
	"pyro/internal/runtime/hostprocess"
)

// card is the guest's name for its end of the link.
const card = "eth0"

func (d *Driver) carrierOptions(s runtime.Spec) carrier.Options {
	return carrier.Options{Spec: s, Dir: d.machineDir(s.ID), Executable: specutils.ExePath, Nobody: !d.rootless, Logger: d.log}
}

// NetworkUp implements runtime.Networked.
func (m *machine) NetworkUp() bool { return m.net.Up() }

// RecordUplink implements carrier.Machine.
func (m *machine) RecordUplink(p hostprocess.Process) error {
	rec := m.rec
	rec.Uplink = p
	return writeRecord(m.driver.machineDir(m.ID()), rec)
}

// Replug implements carrier.Machine: the guest gets a new card.
func (m *machine) Replug(ctx context.Context, guest *os.File) error {
	agent, err := m.client(ctx)
	if err != nil {
		return err
	}
	if err := agent.Call(ctx, wire.Network, wire.NetworkParams{DropCard: card}, nil); err != nil {
		return err
	}
	return plugIn(m.sandbox, guest)
}

// connect gives a new guest its end of the link, once the other one serves.
func connect(ctx context.Context, c *carrier.Carrier, guest *os.File, n *runtime.Network, s *sandbox.Sandbox, agent *wire.Client) error {
	if err := c.Ready(ctx); err != nil {
		return err
	}
	if err := plugIn(s, guest); err != nil {
		return err
	}
	return agent.Call(ctx, wire.Network, wire.NetworkParams{ResolvConf: link.ResolvConf, AptSources: n.AptSources}, nil)
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
	return callWithin(plugTime, conn, "Network.CreateLinksAndRoutes", args)
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

// ProbeNetwork implements runtime.NetworkProber: the guest connects to the
// gateway's name server.
func (d *Driver) ProbeNetwork(ctx context.Context) error {
	return d.probe(ctx, &runtime.Network{Policy: policy.Allowlist()}, func(m *machine) error {
		agent, err := m.client(ctx)
		if err != nil {
			return err
		}
		return carrier.Probe(ctx, agent)
	})
}
