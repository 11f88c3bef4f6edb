package qemu

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/agent/boot"
	"pyro/internal/agent/mux"
	"pyro/internal/agent/wire"
	"pyro/internal/runtime"
	"pyro/internal/runtime/carrier"
	"pyro/internal/runtime/hostprocess"
	"pyro/internal/runtime/machines"
)

const (
	// killTimeout bounds the wait for the kernel to end a killed process. It is
	// long because a machine may have gigabytes of memory to give back.
	killTimeout = 20 * time.Second
	// bootTime is how long a guest may take to answer: emulated on a busy host,
	// and with a gigabyte of saved layers to unpack, it takes its time.
	bootTime = 3 * time.Minute
	// callTime bounds what takes milliseconds.
	callTime = 10 * time.Second
)

// Create implements runtime.Driver.
func (d *Driver) Create(ctx context.Context, s runtime.Spec) (runtime.Machine, error) {
	if err := d.checkDisk(s); err != nil {
		return nil, err
	}
	program, err := d.program()
	if err != nil {
		return nil, err
	}
	accel := d.accelerator(ctx)
	m, err := d.create(ctx, s, program, accel, d.vsockDevice)
	if blamesVsock(err) {
		d.log.Warn("a machine cannot have vsock", "sandbox", s.ID, "error", err)
		m, err = d.create(ctx, s, program, accel, noVsock)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// noVsock is vsockDevice for machines that shall have none.
func noVsock(runtime.Spec, *files) vsockDevice { return vsockDevice{} }

// checkDisk refuses a saved disk that is not whole, before anything is made.
func (d *Driver) checkDisk(s runtime.Spec) error {
	if s.Disk == "" {
		return nil
	}
	disk, err := openDisk(s.Disk)
	if err != nil {
		return err
	}
	defer disk.Close()
	if s.Workspace != "" && disk.sizes[runtime.WorkspaceMount] == 0 {
		return api.Errorf(api.KindVerification, "disk snapshot %s has no layer of %s", s.Disk, runtime.WorkspaceMount)
	}
	return nil
}

func (d *Driver) create(ctx context.Context, s runtime.Spec, program string, accel accelerator, device func(runtime.Spec, *files) vsockDevice) (_ *machine, err error) {
	kernel, err := d.kernel(ctx, s)
	if err != nil {
		return nil, err
	}
	defer kernel.Release()
	initrd, err := d.initrd(kernel)
	if err != nil {
		return nil, err
	}
	rec, dir := record{Spec: s, Accel: accel}, d.machineDir(s.ID)
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return nil, api.Errorf(api.KindConflict, "sandbox %s exists already", s.ID)
	} else if err != nil {
		return nil, storageError("sandbox "+s.ID, err)
	}
	defer func() {
		if err != nil {
			_ = d.destroy(s.ID) // what stays has a record, and is removed by who reads it
		}
	}()
	if err := writeRecord(dir, rec); err != nil {
		return nil, storageError("sandbox "+s.ID, err)
	}
	f, err := d.openFiles(s, kernel, initrd)
	if err != nil {
		return nil, d.fileError(s, err)
	}
	defer f.Close()
	network, err := d.link(s, f)
	if err != nil {
		return nil, err
	}
	begun := false
	defer func() {
		if network != nil && !begun {
			network.Discard()
		}
	}()
	vsock := device(s, f)
	arguments := append(rec.arguments(f, accel, commandLine(s, f, vsock)), vsock.arguments...)
	cmd, said, err := d.spawn(s.ID, program, arguments, f, accel)
	if err != nil {
		return nil, api.Errorf(api.KindUnavailable, "sandbox %s: QEMU cannot start: %w", s.ID, err).
			WithHint("see what works on this host with: pyro doctor")
	}
	if rec.QEMU, err = hostprocess.Identify(cmd.Process.Pid); err != nil {
		_ = cmd.Wait() // it has ended already
		return nil, d.startError(s, said, "")
	}
	if network != nil {
		if rec.Uplink, err = network.Start(rec.QEMU); err != nil {
			return nil, err
		}
	}
	_ = cmd.Process.Release() // the machine waits for it by a descriptor of its own
	if err := writeRecord(dir, rec); err != nil {
		return nil, storageError("sandbox "+s.ID, err)
	}
	m, err := d.newMachine(rec, network)
	if err != nil {
		return nil, d.startError(s, said, "")
	}
	begun = true
	err = m.greet(ctx, said)
	if err == nil && vsock.exists() {
		err = m.tryVsock(ctx, vsock.cid)
	}
	if err == nil && network != nil {
		err = m.connectNetwork(ctx)
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// kernel gives what the machine boots.
func (d *Driver) kernel(ctx context.Context, s runtime.Spec) (Kernel, error) {
	if s.Kernel == "" {
		return d.o.Kernel(ctx)
	}
	if st, err := os.Stat(s.Kernel); err != nil || !st.Mode().IsRegular() {
		return Kernel{}, api.Errorf(api.KindUsage, "kernel %s cannot be read, or is no file", s.Kernel).
			WithHint("name a bzImage with everything built in that docs/microvm.md lists")
	}
	return Kernel{Image: s.Kernel, ID: "own", Release: func() {}}, nil
}

func commandLine(s runtime.Spec, f *files, vsock vsockDevice) string {
	host := s.Hostname
	if host == "" {
		host = s.ID
	}
	c := boot.Config{PIDs: s.PIDs, Disks: f.serials(), Now: time.Now(), Hostname: host, Vsock: vsock.exists()}
	return strings.Join([]string{kernelOptions, initEnv, c.CommandLine()}, " ")
}

func (d *Driver) fileError(s runtime.Spec, err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return storageError("sandbox "+s.ID, err)
	case errors.Is(err, fs.ErrNotExist) && strings.Contains(err.Error(), s.Image):
		return api.Errorf(api.KindUnavailable, "sandbox %s: image %s: %w", s.ID, s.Image, err).
			WithHint("install the environment again with: pyro env pull")
	}
	return api.Errorf(api.KindUnavailable, "sandbox %s cannot be made: %w", s.ID, err).
		WithHint("see what works on this host with: pyro doctor")
}

// startError says why a machine ended before its agent had answered.
func (d *Driver) startError(s runtime.Spec, said *words, console string) error {
	if strings.Contains(console, "saved layer: ") && strings.Contains(console, unix.ENOSPC.Error()) {
		return api.Errorf(api.KindDiskLimit, "sandbox %s: what it is to begin with does not fit its disk of %d MiB, of which its file system and every file take a part", s.ID, s.DiskBytes>>20).
			WithHint("delete what is not needed where it was saved, and save it again; or use a larger --disk-mib")
	}
	why := said.last()
	if words := lastWords(console); words != "" {
		why = strings.TrimSpace(why + " its console says: " + words)
	}
	if why == "" {
		why = "it said nothing"
	}
	return api.Errorf(api.KindSandboxDied, "sandbox %s: QEMU ended while the machine was made: %s", s.ID, why).
		WithHint("see what works on this host with: pyro doctor")
}

// greet waits for the agent and checks that the guest is as it was asked for.
func (m *machine) greet(ctx context.Context, said *words) error {
	late := api.Errorf(api.KindUnavailable, "sandbox %s: the guest did not answer within %s", m.ID(), bootTime).
		WithHint("see what works on this host with: pyro doctor")
	ctx, cancel := context.WithTimeoutCause(ctx, bootTime, late)
	defer cancel()
	ctx, ended := context.WithCancelCause(ctx)
	defer ended(nil)
	stop := make(chan struct{})
	defer close(stop)
	go func() { // nothing will answer when the machine has ended
		select {
		case <-m.Done():
			ended(m.Err())
		case <-stop:
		}
	}()
	agent, err := m.client(ctx)
	if err != nil {
		if ctx.Err() == nil { // the connection broke, as that of a machine does that is ending
			select {
			case <-m.Done():
			case <-time.After(machines.EndTime):
			}
		}
		select {
		case <-m.Done():
			return m.driver.startError(m.rec.Spec, said, m.lastConsole())
		default:
		}
		if cause := context.Cause(ctx); cause != nil {
			if cause == error(late) {
				return m.withConsole(late)
			}
			if e := api.AsError(cause); e.Kind != api.KindInternal {
				return e
			}
			return api.Errorf(api.KindCanceled, "sandbox %s: %w", m.ID(), cause)
		}
		return api.Errorf(api.KindSandboxDied, "sandbox %s: %w", m.ID(), err)
	}
	if problems := agent.Hello.Problems; len(problems) > 0 {
		return api.Errorf(api.KindInternal, "sandbox %s: guest agent: %s", m.ID(), strings.Join(problems, "; "))
	}
	return nil
}

// withConsole adds the console's last words to the error of a guest that did not
// answer: they are all that it has to say.
func (m *machine) withConsole(e *api.Error) *api.Error {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	words := lastWords(m.monitor.console(ctx))
	if words == "" {
		words = "nothing"
	}
	return &api.Error{Kind: e.Kind, Message: e.Message + "; its console says: " + words, Hint: e.Hint, Err: e.Err}
}

// Adopt implements runtime.Driver.
func (d *Driver) Adopt(ctx context.Context, s runtime.Spec) (runtime.Machine, error) {
	if m := d.live.Get(s.ID); m != nil {
		return m, nil
	}
	rec, err := readRecord(d.machineDir(s.ID))
	if err != nil {
		return nil, api.Errorf(api.KindNotFound, "sandbox %s is not there", s.ID)
	}
	if rec.QEMU.PID == 0 || !rec.QEMU.Lives() {
		return nil, api.Errorf(api.KindNotFound, "sandbox %s does not run", s.ID)
	}
	network, err := d.adoptNetwork(rec)
	if err != nil {
		return nil, err
	}
	m, err := d.newMachine(rec, network)
	if err != nil {
		return nil, api.Errorf(api.KindNotFound, "sandbox %s does not run", s.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	agent, err := m.client(ctx)
	if err == nil { // nobody may have looked after its clock for long
		err = agent.Call(ctx, wire.SetClock, wire.SetClockParams{UnixNano: time.Now().UnixNano()}, nil)
	}
	if err != nil {
		m.Close()
		return nil, api.Errorf(api.KindNotFound, "sandbox %s does not answer: %w", s.ID, err)
	}
	return m, nil
}

// Remove implements runtime.Driver.
func (d *Driver) Remove(_ context.Context, id string) error {
	m := d.live.Get(id)
	if m != nil && m.net != nil {
		m.net.Close() // so that the record names the last uplink
	}
	err := d.destroy(id)
	if m != nil {
		if err == nil { // else its processes may not end for long
			m.Wait()
		}
		m.Close()
	}
	if err != nil {
		return api.Errorf(api.KindInternal, "sandbox %s cannot be removed: %w", id, err)
	}
	return nil
}

// destroy frees what is on the host, in the order that lets a later call finish
// what an earlier one was cut off from.
func (d *Driver) destroy(id string) error {
	dir := d.machineDir(id)
	rec, err := readRecord(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	processes := []hostprocess.Process{rec.QEMU, rec.Uplink}
	if rec.QEMU.PID == 0 {
		processes = append(processes, findProcesses(dir)...)
	}
	if rec.QEMU.PID == 0 || rec.Spec.Network != nil && !rec.Uplink.Lives() {
		processes = append(processes, carrier.Find(dir)...)
	}
	var errs []error
	for _, p := range processes {
		errs = append(errs, p.Kill(killTimeout))
	}
	if err := errors.Join(errs...); err != nil {
		return err // the folder stays, so that the next call knows the rest
	}
	return os.RemoveAll(dir)
}

// dial connects to a socket of the machine.
func (m *machine) dial(ctx context.Context, socket string) (net.Conn, error) {
	short, release, err := shortPath(m.driver.machineDir(m.ID()))
	if err != nil {
		return nil, err
	}
	defer release()
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", filepath.Join(short, socket))
}

// session returns the streams to the guest, connecting if there are none.
func (m *machine) session(ctx context.Context) (session, error) {
	m.connecting.Lock()
	defer m.connecting.Unlock()
	m.mu.Lock()
	s := m.streams
	m.mu.Unlock()
	if s != nil && !s.IsClosed() {
		return s, nil
	}
	conn, err := m.dial(ctx, agentSocket)
	if err != nil {
		return nil, err
	}
	streams, err := mux.Host(ctx, conn)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.Closed():
		streams.Close()
		return nil, net.ErrClosed
	default:
	}
	m.streams = streams
	return streams, nil
}
