package qemu

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"pyro/internal/agent/wire"
	"pyro/internal/network/link"
	"pyro/internal/network/policy"
	"pyro/internal/runtime"
	"pyro/internal/runtime/carrier"
	"pyro/internal/runtime/hostprocess"
	"pyro/internal/runtime/program"
)

// A guest's card hangs on a hub of QEMU's, and so does the link. A card on the
// bus of these machines can neither come nor go, nor can it change over to
// another link; a hub's ports can come and go. What one port sends goes to all
// others.
const (
	hubID = "0"
	// card is the guest's name for its end.
	card = "eth0"
)

// slots are the names of links. One is used, the other is for the next.
var slots = []string{"a", "b"}

// linkFile is the first link's, among the files that QEMU is handed.
const linkFile = "link"

// cardArguments are QEMU's, for a machine with a network. The card has no extras:
// no queue for commands, with which a guest could only ask for what the hub does
// not do. Its packets are as large as the link's.
func cardArguments(f *files) []string {
	if f.number(linkFile) < 0 {
		return nil
	}
	first := slots[0]
	return []string{
		"-netdev", fmt.Sprintf("dgram,id=link-%s,local.type=fd,local.str=%d", first, f.number(linkFile)),
		"-netdev", fmt.Sprintf("hubport,id=port-%s,hubid=%s,netdev=link-%s", first, hubID, first),
		"-netdev", "hubport,id=card,hubid=" + hubID,
		"-device", fmt.Sprintf("virtio-net-device,netdev=card,mac=%s,host_mtu=%d,rx_queue_size=1024,"+
			"ctrl_vq=off,ctrl_rx=off,ctrl_vlan=off,ctrl_mac_addr=off,guest_announce=off,mq=off", link.GuestMAC, link.MTU),
	}
}

// link makes the link of a machine that shall have a network, and has its end
// handed to QEMU.
func (d *Driver) link(s runtime.Spec, f *files) (*carrier.Carrier, error) {
	if s.Network == nil {
		return nil, nil
	}
	o, err := d.carrierOptions(s)
	if err != nil {
		return nil, err
	}
	c, guest, err := carrier.Begin(o)
	if err != nil {
		return nil, err
	}
	f.add(linkFile, guest)
	return c, nil
}

// adoptNetwork takes up the network of a machine that an earlier process made.
func (d *Driver) adoptNetwork(rec record) (*carrier.Carrier, error) {
	if rec.Spec.Network == nil {
		return nil, nil
	}
	o, err := d.carrierOptions(rec.Spec)
	if err != nil {
		return nil, err
	}
	return carrier.Adopt(o, rec.QEMU, rec.Uplink), nil
}

// carrierOptions say that the guest checks checksums, because its card does not
// do it.
func (d *Driver) carrierOptions(s runtime.Spec) (carrier.Options, error) {
	program, err := d.uplinkProgram()
	if err != nil {
		return carrier.Options{}, storageError("sandbox "+s.ID, err)
	}
	return carrier.Options{
		Spec: s, Dir: d.machineDir(s.ID), Executable: program.Path, Nobody: isRoot(), Checksums: true, Logger: d.log,
	}, nil
}

// uplinkProgram opens the program once. What it failed of, as of a full disk, may
// be gone the next time.
func (d *Driver) uplinkProgram() (*program.Program, error) {
	d.opening.Lock()
	defer d.opening.Unlock()
	if d.uplinks != nil {
		return d.uplinks, nil
	}
	p, err := program.Open(program.Options{Path: d.o.Executable, Nobody: isRoot(), Dir: filepath.Join(d.o.Dir, "bin")})
	if err == nil {
		d.uplinks = p
	}
	return p, err
}

// connectNetwork sets up the guest's card, once the other end of its link serves.
func (m *machine) connectNetwork(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, bootTime, fmt.Errorf("the guest did not answer within %s", bootTime))
	defer cancel()
	err := m.net.Ready(ctx)
	if err == nil {
		err = m.setUpCard(ctx)
	}
	switch {
	case err == nil:
		return nil
	case m.rec.Spec.Kernel != "":
		return carrier.Error(m.rec.Spec, err).WithHint("give it a kernel that has what docs/microvm.md lists for a network, or no --network")
	}
	return carrier.Error(m.rec.Spec, err)
}

func (m *machine) setUpCard(ctx context.Context) error {
	agent, err := m.client(ctx)
	if err != nil {
		return err
	}
	return agent.Call(ctx, wire.Network, wire.NetworkParams{
		Card: &wire.Card{
			Name: card, Addresses: []netip.Prefix{link.Guest4, link.Guest6},
			Gateways: []wire.Gateway{{Addr: link.Gateway4.Addr(), MAC: link.GatewayMAC}, {Addr: link.Gateway6.Addr(), MAC: link.GatewayMAC}},
		},
		ResolvConf: link.ResolvConf, AptSources: m.rec.Spec.Network.AptSources,
	}, nil)
}

// NetworkUp implements runtime.Networked.
func (m *machine) NetworkUp() bool { return m.net.Up() }

// RecordUplink implements carrier.Machine.
func (m *machine) RecordUplink(p hostprocess.Process) error {
	return m.change(func(rec *record) { rec.Uplink = p })
}

// Replug implements carrier.Machine. The guest's card stays as it is.
func (m *machine) Replug(ctx context.Context, guest *os.File) error {
	return m.monitor.plugIn(ctx, guest)
}

// plugIn puts a link into the free slot, and then takes the other one out: a hub
// that has a card alone lets its packets wait for good. When a driver was killed
// in the middle both may be there, and one of them may have no port.
func (m *monitor) plugIn(ctx context.Context, guest *os.File) error {
	var errs []error
	for i, slot := range slots {
		err := m.addLink(ctx, slot, guest)
		if err == nil {
			m.removeLink(ctx, slots[1-i])
			return nil
		}
		errs = append(errs, err)
	}
	_ = m.addPort(ctx, slots[0])
	m.removeLink(ctx, slots[1])
	if err := m.addLink(ctx, slots[1], guest); err != nil {
		return errors.Join(append(errs, err)...)
	}
	m.removeLink(ctx, slots[0])
	return nil
}

// addLink hands QEMU the guest's end of a link. It fails if there is one of that
// name.
func (m *monitor) addLink(ctx context.Context, slot string, guest *os.File) error {
	name := "link-" + slot
	if err := m.send(ctx, "getfd", map[string]any{"fdname": name}, nil, guest); err != nil {
		return err
	}
	local := map[string]any{"type": "fd", "str": name}
	if err := m.call(ctx, "netdev_add", map[string]any{"type": "dgram", "id": name, "local": local}, nil); err != nil {
		_ = m.call(ctx, "closefd", map[string]any{"fdname": name}, nil) // netdev_add may have taken it
		return err
	}
	return m.addPort(ctx, slot)
}

func (m *monitor) addPort(ctx context.Context, slot string) error {
	return m.call(ctx, "netdev_add", map[string]any{"type": "hubport", "id": "port-" + slot, "hubid": 0, "netdev": "link-" + slot}, nil)
}

// removeLink frees a slot that may be free. The port goes first: without its link
// it would let packets pile up.
func (m *monitor) removeLink(ctx context.Context, slot string) {
	for _, id := range []string{"port-" + slot, "link-" + slot} {
		_ = m.call(ctx, "netdev_del", map[string]any{"id": id}, nil)
	}
}

// ProbeNetwork implements runtime.NetworkProber: the guest connects to the
// gateway's name server.
func (d *Driver) ProbeNetwork(ctx context.Context) error {
	program, err := d.program()
	if err == nil {
		err = d.try(ctx, program, d.accelerator(ctx), &runtime.Network{Policy: policy.Allowlist()}, reachesGateway)
	}
	return unavailable(err)
}

func reachesGateway(ctx context.Context, m *machine) error {
	agent, err := m.client(ctx)
	if err != nil {
		return err
	}
	return carrier.Probe(ctx, agent)
}
