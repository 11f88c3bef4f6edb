package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"pyro/api"
	"pyro/internal/agent/proof"
	"pyro/internal/agent/wire"
	"pyro/internal/runtime"
)

// vsockAddress is where a machine is reached over vsock.
type vsockAddress struct {
	CID uint32 `json:"cid"`
	Key []byte `json:"key"` // see package proof
}

// vsockDevice is what a machine that is being made has; the zero value is none.
type vsockDevice struct {
	cid       uint32
	arguments []string // QEMU's
}

func (v vsockDevice) exists() bool { return v.cid != 0 }

// vsockDevice makes the machine's device, if it can have one.
func (d *Driver) vsockDevice(s runtime.Spec, f *files) vsockDevice {
	if d.sockets.check() != nil {
		return vsockDevice{} // doctor tells
	}
	cid, arguments, err := d.sockets.device(s, f)
	if err != nil {
		d.log.Warn("no vsock for a machine", "sandbox", s.ID, "error", err)
		return vsockDevice{}
	}
	return vsockDevice{cid, arguments}
}

// blamesVsock says whether a machine could not be made because of its vsock device:
// this QEMU may have none, or the host's kernel may refuse it.
func blamesVsock(err error) bool {
	return api.KindOf(err) == api.KindSandboxDied && strings.Contains(err.Error(), "vsock")
}

// vsockTime is how long an agent that has answered over the serial port may take
// to answer over vsock.
const vsockTime = callTime

// tryVsock moves to vsock, or stays with the serial port. An error means that the
// machine cannot be reached any more.
func (m *machine) tryVsock(ctx context.Context, cid uint32) error {
	limited, cancel := context.WithTimeout(ctx, vsockTime)
	defer cancel()
	err := m.moveToVsock(limited, cid)
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	if ctx.Err() != nil {
		return api.Errorf(api.KindCanceled, "sandbox %s: %w", m.ID(), context.Cause(ctx))
	}
	m.driver.log.Warn("a guest does not answer over vsock", "sandbox", m.ID(), "error", err)
	if gone := m.ping(ctx); gone != nil {
		return m.OrEnded(fmt.Errorf("the guest does not answer over vsock: %w; nor over its serial port: %w", err, gone))
	}
	return nil
}

// ping has the agent answer, which it never does over a serial port that it has
// let go of.
func (m *machine) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, bootTime, fmt.Errorf("no answer within %s", bootTime))
	defer cancel()
	agent, err := m.client(ctx)
	if err != nil {
		return err
	}
	return agent.Call(ctx, wire.Ping, nil, nil)
}

// moveToVsock has the agent listen, and leaves the serial port once it has shown
// that it is this machine's.
func (m *machine) moveToVsock(ctx context.Context, cid uint32) error {
	agent, err := m.client(ctx)
	if err != nil {
		return err
	}
	at := &vsockAddress{CID: cid, Key: proof.NewKey()}
	if err := agent.Call(ctx, wire.Listen, wire.ListenParams{Key: at.Key}, nil); err != nil {
		return err
	}
	conn, err := m.dialVsock(ctx, at)
	if err != nil {
		return err
	}
	if err := sendOpen(conn, wire.Open{Service: wire.ServiceControl}); err != nil {
		return err
	}
	if agent, err = wire.NewClient(ctx, conn); err != nil {
		return err
	}
	if err := m.change(func(rec *record) { rec.Vsock = at }); err != nil {
		agent.Close()
		return storageError("sandbox "+m.ID(), err)
	}
	m.mu.Lock()
	serial, streams := m.agent, m.streams
	m.vsock, m.agent, m.streams = at, agent, nil
	m.mu.Unlock()
	if serial != nil {
		serial.Close()
	}
	if streams != nil {
		streams.Close()
	}
	return nil
}

// Mode implements runtime.Machine.
func (m *machine) Mode() api.ExecutionMode {
	if m.address() != nil {
		return api.GuestVsock
	}
	return api.GuestSerial
}

// address is nil for a machine that is reached over its serial port.
func (m *machine) address() *vsockAddress {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.vsock
}

// dialVsock connects to the machine's agent, and to none that says it is.
func (m *machine) dialVsock(ctx context.Context, at *vsockAddress) (net.Conn, error) {
	conn, err := m.driver.sockets.dial(ctx, at.CID)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	err = conn.SetDeadline(time.Now().Add(callTime))
	if err == nil {
		err = proof.Host(conn, at.Key)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return m.conns.add(conn)
}

// connections are those to a machine over vsock, which end with Machine.Close
// as the streams over its serial port do. The zero value is ready for use.
type connections struct {
	mu     sync.Mutex // guards what follows
	open   []*connection
	closed bool
}

// connection is one of them.
type connection struct {
	net.Conn
	of *connections
}

func (c *connections) add(conn net.Conn) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	one := &connection{conn, c}
	c.open = append(c.open, one)
	return one, nil
}

// Close ends them all, and those that come later.
func (c *connections) Close() {
	c.mu.Lock()
	open := c.open
	c.open, c.closed = nil, true
	c.mu.Unlock()
	for _, one := range open {
		one.Conn.Close()
	}
}

func (c *connection) Close() error {
	c.of.mu.Lock()
	c.of.open = slices.DeleteFunc(c.of.open, func(o *connection) bool { return o == c })
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite tells the guest that nothing more comes.
func (c *connection) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}
