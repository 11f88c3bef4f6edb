package gvisor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/checkpoint"
	"gvisor.dev/gvisor/runsc/sandbox"

	"pyro/api"
	"pyro/internal/agent/process"
	"pyro/internal/agent/wire"
	"pyro/internal/runtime"
	"pyro/internal/runtime/carrier"
	"pyro/internal/runtime/hostprocess"
	"pyro/internal/runtime/machines"
)

// machine is a live sandbox. It implements runtime.Machine.
type machine struct {
	*machines.Life
	driver  *Driver
	rec     record
	sandbox *sandbox.Sandbox
	process *hostprocess.Watch
	memory  *os.File         // the sandbox's memory file; its blocks are the memory in use
	net     *carrier.Carrier // nil without a network

	mu       sync.Mutex   // guards what follows
	agent    *wire.Client // nil until the first call after an adoption
	commands int          // commands that run now
	limit    *api.Error   // the newest limit that the guard enforced and nobody asked for
	fatal    *api.Error   // the limit for which the guard ended the machine
	seenHits int64        // pid limit hits that were reported
}

var (
	_ runtime.Machine       = (*machine)(nil)
	_ runtime.LayerExporter = (*machine)(nil)
	_ runtime.DiskSaver     = (*machine)(nil)
	_ runtime.Networked     = (*machine)(nil)
)

func (d *Driver) newMachine(rec record, s *sandbox.Sandbox, agent *wire.Client, network *carrier.Carrier) (*machine, error) {
	process, err := rec.Sandbox.Watch()
	if err != nil {
		return nil, api.Errorf(api.KindSandboxDied, "sandbox %s ended while it was made", rec.Spec.ID)
	}
	m := &machine{
		Life: machines.NewLife(rec.Spec.ID), driver: d, rec: rec, sandbox: s, process: process, agent: agent, net: network,
	}
	m.memory, err = memoryFile(s)
	if err != nil {
		process.Close()
		return nil, api.Errorf(api.KindSandboxDied, "sandbox %s: %w", rec.Spec.ID, err)
	}
	d.live.Put(rec.Spec.ID, m)
	go m.watch()
	go m.guard()
	if network != nil {
		network.Keep(m.Done(), m)
	}
	return m, nil
}

// Mode implements runtime.Machine.
func (m *machine) Mode() api.ExecutionMode { return api.GuestGVisor }

// Close implements runtime.Machine.
func (m *machine) Close() error {
	m.LetGo(func() {
		m.driver.live.Drop(m.ID(), m)
		m.driver.cpus.give(m.rec.CPUs)
		m.mu.Lock()
		agent := m.agent
		m.agent = nil
		m.mu.Unlock()
		if agent != nil {
			agent.Close()
		}
		if m.net != nil {
			m.net.Close()
		}
		m.process.Stop() // ends watch
	})
	return nil
}

// watch waits for the end of the sandbox process, then collects what it and
// its gofer leave.
func (m *machine) watch() {
	defer m.process.Close()
	defer m.memory.Close()
	if !m.process.Ended() {
		return // Close
	}
	m.rec.Sandbox.Collect()
	_ = m.rec.Gofer.Kill(killTimeout)
	var byHost *api.Error // the guest grew faster than the guard looks
	if !m.driver.rootless && killedByHost(m.ID()) {
		byHost = m.hitMemoryLimit()
	}
	m.mu.Lock()
	why := cmp.Or(m.fatal, byHost, api.Errorf(api.KindSandboxDied, "sandbox %s has ended", m.ID()).WithHint("start a new one"))
	m.mu.Unlock()
	m.End(why)
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
	conn, err := m.Dial(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if agent, err = wire.NewClient(ctx, conn); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.Closed():
		agent.Close()
		return nil, net.ErrClosed
	default:
	}
	m.agent = agent
	return agent, nil
}

// Usage implements runtime.Machine.
func (m *machine) Usage(ctx context.Context) (runtime.Usage, error) {
	stats, err := m.stats(ctx)
	if err != nil {
		return runtime.Usage{}, m.OrEnded(err)
	}
	memory, err := m.memoryBytes()
	if err != nil {
		return runtime.Usage{}, m.OrEnded(err)
	}
	return runtime.Usage{MemoryBytes: memory, DiskBytes: stats.DiskBytes, PIDs: stats.PIDs, Measured: time.Now()}, nil
}

func (m *machine) stats(ctx context.Context) (wire.StatsResult, error) {
	var s wire.StatsResult
	agent, err := m.client(ctx)
	if err == nil {
		err = agent.Call(ctx, wire.Stats, nil, &s)
	}
	return s, err
}

// Dial implements runtime.Machine: it runs the agent's relay in the guest, which
// hands its stdin and stdout to the agent and ends. They are pipes, never
// sockets, because a sandbox with a host socket cannot be restored from a
// checkpoint.
func (m *machine) Dial(context.Context) (net.Conn, error) {
	guestIn, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	in, guestOut, err := os.Pipe()
	if err != nil {
		guestIn.Close()
		out.Close()
		return nil, err
	}
	conn := &pipeConn{in: in, out: out}
	pid, err := m.execute([]string{guestAgent, "relay"}, process.DefaultEnv, "/", true, map[int]*os.File{0: guestIn, 1: guestOut, 2: guestOut})
	guestIn.Close()
	guestOut.Close()
	if err != nil {
		conn.Close()
		return nil, m.OrEnded(err)
	}
	go func() { _, _ = m.sandbox.WaitPID(m.ID(), pid) }()
	return conn, nil
}

// ExportLayer implements runtime.LayerExporter.
func (m *machine) ExportLayer(_ context.Context, w io.Writer) error {
	in, out, err := os.Pipe()
	if err != nil {
		return api.Errorf(api.KindInternal, "sandbox %s: %w", m.ID(), err)
	}
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, in)
		in.Close() // an export that nobody reads must not hang
		copied <- err
	}()
	err = m.sandbox.TarRootfsUpperLayer(m.ID(), out)
	out.Close()
	if copyErr := <-copied; err == nil {
		err = copyErr
	}
	if err != nil {
		return m.OrEnded(err)
	}
	return nil
}

// SaveDisk implements runtime.DiskSaver.
func (m *machine) SaveDisk(_ context.Context, dir string, mounts ...string) error {
	if len(mounts) == 0 {
		mounts = []string{runtime.RootMount}
		if m.rec.Spec.Workspace != "" {
			mounts = append(mounts, runtime.WorkspaceMount)
		}
	}
	var opts sandbox.FSSaveOpts
	for _, mount := range mounts {
		opts.Paths = append(opts.Paths, checkpoint.ResourceID{Path: mount})
	}
	err := m.sandbox.FSSave(m.driver.conf, m.ID(), dir, opts)
	switch {
	case err == nil:
		return nil
	case strings.Contains(err.Error(), unix.ENOSPC.Error()):
		return storageError("disk snapshot "+dir, fmt.Errorf("%w: %w", unix.ENOSPC, err))
	}
	return m.OrEnded(err)
}

// Activity implements runtime.DiskSaver: the processor time of the sandbox
// process, which sees to every system call of the guest, in clock ticks (10 ms).
func (m *machine) Activity() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.rec.Sandbox.PID))
	if err != nil {
		return 0, m.OrEnded(err)
	}
	// The second field is a name in parentheses that may hold anything, proc(5).
	_, rest, _ := strings.Cut(string(b[bytes.LastIndexByte(b, ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, api.Errorf(api.KindInternal, "sandbox %s: its stat has %d fields", m.ID(), len(fields))
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return user + system, errors.Join(err1, err2)
}

// pipeConn makes a net.Conn of two pipes.
type pipeConn struct{ in, out *os.File }

func (c *pipeConn) Read(p []byte) (int, error)         { return c.in.Read(p) }
func (c *pipeConn) Write(p []byte) (int, error)        { return c.out.Write(p) }
func (c *pipeConn) CloseWrite() error                  { return c.out.Close() }
func (c *pipeConn) LocalAddr() net.Addr                { return pipeAddr{} }
func (c *pipeConn) RemoteAddr() net.Addr               { return pipeAddr{} }
func (c *pipeConn) SetReadDeadline(t time.Time) error  { return c.in.SetReadDeadline(t) }
func (c *pipeConn) SetWriteDeadline(t time.Time) error { return c.out.SetWriteDeadline(t) }

func (c *pipeConn) SetDeadline(t time.Time) error {
	if err := c.in.SetReadDeadline(t); err != nil {
		return err
	}
	return c.out.SetWriteDeadline(t)
}

func (c *pipeConn) Close() error {
	c.out.Close()
	return c.in.Close()
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "guest agent" }

// memoryFile gets the sandbox's memory file over its control socket.
func memoryFile(s *sandbox.Sandbox) (*os.File, error) {
	record, err := usageFiles(s)
	if err != nil {
		return nil, err
	}
	record.accounting.Close()
	return record.memory, nil
}

// memoryBytes is what the guest's processes and in-memory files hold.
func (m *machine) memoryBytes() (int64, error) {
	var st syscall.Stat_t
	raw, err := m.memory.SyscallConn()
	if err != nil {
		return 0, err
	}
	var statErr error
	if err := raw.Control(func(fd uintptr) { statErr = syscall.Fstat(int(fd), &st) }); err != nil {
		return 0, err
	}
	return st.Blocks * 512, statErr
}
