package qemu

import (
	"cmp"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"

	"pyro/api"
	"pyro/internal/agent/wire"
	"pyro/internal/frame"
	"pyro/internal/runtime"
	"pyro/internal/runtime/carrier"
	"pyro/internal/runtime/hostprocess"
	"pyro/internal/runtime/machines"
)

// session is the streams to a guest.
type session = *yamux.Session

// machine is a live microVM. It implements runtime.Machine.
type machine struct {
	*machines.Life
	driver  *Driver
	rec     record // what changes in it is guarded by recording
	process *hostprocess.Watch
	monitor *monitor
	net     *carrier.Carrier // nil without a network

	conns      connections  // over vsock
	commands   atomic.Int64 // started and ended, both count
	connecting sync.Mutex   // held while streams are made; before mu
	recording  sync.Mutex   // held while the record is changed

	mu       sync.Mutex    // guards what follows
	vsock    *vsockAddress // nil: over the serial port
	streams  session       // of the serial port; nil until the first call
	agent    *wire.Client  // likewise
	console  string        // the guest's last words
	reset    bool          // the guest has ended, not QEMU
	seenHits int64         // pid limit hits that were reported
	seenOOM  int64         // processes killed for memory that were reported
}

var (
	_ runtime.Machine       = (*machine)(nil)
	_ runtime.LayerExporter = (*machine)(nil)
	_ runtime.DiskSaver     = (*machine)(nil)
	_ runtime.Networked     = (*machine)(nil)
)

// newMachine connects to QEMU's monitor and watches the process, and what carries
// the network, if there is one.
func (d *Driver) newMachine(rec record, network *carrier.Carrier) (*machine, error) {
	process, err := rec.QEMU.Watch()
	if err != nil {
		return nil, err
	}
	m := &machine{Life: machines.NewLife(rec.Spec.ID), driver: d, rec: rec, vsock: rec.Vsock, process: process, net: network}
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	if err := m.connectMonitor(ctx); err != nil {
		process.Close()
		return nil, err
	}
	d.live.Put(rec.Spec.ID, m)
	go m.watch()
	go m.keepTime()
	if network != nil {
		network.Keep(m.Done(), m)
	}
	return m, nil
}

func (m *machine) connectMonitor(ctx context.Context) error {
	conn, err := m.dial(ctx, qmpSocket)
	if err != nil {
		return err
	}
	ended := make(chan struct{}, 1)
	m.monitor, err = newMonitor(ctx, conn, func(event string) {
		if event == "SHUTDOWN" || event == "GUEST_PANICKED" {
			select {
			case ended <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		return err
	}
	// A guest may have ended while nobody listened.
	if running, err := m.monitor.running(ctx); err != nil || !running {
		go m.endGuest()
		return nil
	}
	go func() {
		select {
		case <-ended:
			m.endGuest()
		case <-m.monitor.done:
		}
	}()
	return nil
}

// endGuest ends QEMU after its guest has: it waits only for its console to be read.
func (m *machine) endGuest() {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	text := m.monitor.console(ctx)
	m.mu.Lock()
	m.console, m.reset = text, true
	m.mu.Unlock()
	_ = m.rec.QEMU.Kill(killTimeout)
}

func (m *machine) lastConsole() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.console
}

// Close implements runtime.Machine.
func (m *machine) Close() error {
	m.LetGo(func() {
		m.driver.live.Drop(m.ID(), m)
		if m.net != nil {
			m.net.Close()
		}
		m.hangUp()
		m.monitor.Close()
		m.process.Stop() // ends watch
	})
	return nil
}

// hangUp ends the streams to the guest.
func (m *machine) hangUp() {
	m.mu.Lock()
	agent, streams := m.agent, m.streams
	m.agent, m.streams = nil, nil
	m.mu.Unlock()
	m.conns.Close()
	if streams != nil {
		streams.Close()
	}
	if agent != nil {
		agent.Close()
	}
}

// watch waits for the end of the QEMU process.
func (m *machine) watch() {
	defer m.process.Close()
	if !m.process.Ended() {
		return // Close
	}
	m.rec.QEMU.Collect()
	m.End(m.death())
	m.hangUp()
}

// death says why the machine has ended.
func (m *machine) death() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := api.Errorf(api.KindSandboxDied, "sandbox %s has ended", m.ID())
	if m.reset {
		e = api.Errorf(api.KindSandboxDied, "sandbox %s has ended, its console says: %s", m.ID(), cmp.Or(lastWords(m.console), "nothing"))
	}
	return e.WithHint("start a new one")
}

// client returns the connection to the agent, making a new one if the machine
// was adopted or the old one broke.
func (m *machine) client(ctx context.Context) (*wire.Client, error) {
	m.mu.Lock()
	agent := m.agent
	m.mu.Unlock()
	if agent != nil {
		select {
		case <-agent.Done():
		default:
			return agent, nil
		}
	}
	conn, err := m.open(ctx, wire.Open{Service: wire.ServiceControl})
	if err != nil {
		return nil, err
	}
	if agent, err = wire.NewClient(ctx, conn); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.Closed():
		conn.Close()
		return nil, net.ErrClosed
	default:
	}
	m.agent = agent
	return agent, nil
}

// open opens a stream for a service.
func (m *machine) open(ctx context.Context, what wire.Open) (net.Conn, error) {
	conn, err := m.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := sendOpen(conn, what); err != nil {
		return nil, err
	}
	return conn, nil
}

func (m *machine) connect(ctx context.Context) (net.Conn, error) {
	if at := m.address(); at != nil {
		return m.dialVsock(ctx, at)
	}
	streams, err := m.session(ctx)
	if err != nil {
		return nil, err
	}
	s, err := streams.OpenStream()
	if err != nil {
		return nil, err
	}
	return stream{s}, nil
}

// sendOpen says what a stream is for. An error closes it.
func sendOpen(conn net.Conn, what wire.Open) error {
	err := frame.NewWriter(conn).WriteJSON(wire.FrameOpen, what)
	if err != nil {
		conn.Close()
	}
	return err
}

// stream is one of a session's, as callers of Dial want it: Close ends reading
// too, even if the guest does not answer.
type stream struct{ *yamux.Stream }

// CloseWrite tells the guest that nothing more comes.
func (s stream) CloseWrite() error { return s.Stream.Close() }

func (s stream) Close() error {
	err := s.Stream.Close()
	_ = s.SetReadDeadline(time.Unix(1, 0))
	return err
}

// Dial implements runtime.Machine.
func (m *machine) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := m.open(ctx, wire.Open{Service: wire.ServiceControl})
	if err != nil {
		return nil, m.OrEnded(err)
	}
	return conn, nil
}

// Usage implements runtime.Machine.
func (m *machine) Usage(ctx context.Context) (runtime.Usage, error) {
	s, err := m.stats(ctx)
	if err != nil {
		return runtime.Usage{}, m.OrEnded(err)
	}
	return runtime.Usage{MemoryBytes: s.MemoryBytes, DiskBytes: s.DiskBytes, PIDs: s.PIDs, Measured: time.Now()}, nil
}

func (m *machine) stats(ctx context.Context) (wire.StatsResult, error) {
	var s wire.StatsResult
	agent, err := m.client(ctx)
	if err == nil {
		err = agent.Call(ctx, wire.Stats, nil, &s)
	}
	return s, err
}

// Activity implements runtime.DiskSaver: what has changed the disks, and the
// commands. The guest's kernel writes what was changed within seconds.
func (m *machine) Activity() (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	n, err := m.monitor.writes(ctx)
	if err != nil {
		return 0, m.OrEnded(err)
	}
	return n + m.commands.Load(), nil
}

const (
	timeCheck = 10 * time.Second // how often the clock is looked after
	timeJump  = time.Second      // less than that is left to itself
)

// keepTime sets the guest's clock when the host's has jumped, as it does when
// the host was asleep.
func (m *machine) keepTime() {
	for last := time.Now(); ; {
		select {
		case <-time.After(timeCheck):
		case <-m.Done():
			return
		case <-m.Closed():
			return
		}
		now := time.Now()
		jump := now.Round(0).Sub(last.Round(0)) - now.Sub(last)
		last = now
		if jump.Abs() < timeJump {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), callTime)
		if agent, err := m.client(ctx); err == nil {
			err = agent.Call(ctx, wire.SetClock, wire.SetClockParams{UnixNano: time.Now().UnixNano()}, nil)
			m.driver.log.Info("the host's clock has jumped", "sandbox", m.ID(), "by", jump, "error", err)
		}
		cancel()
	}
}
