package gvisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/cleanup"
	"gvisor.dev/gvisor/runsc/container"

	"pyro/api"
	"pyro/internal/agent/wire"
	"pyro/internal/runtime"
	"pyro/internal/runtime/carrier"
	"pyro/internal/runtime/hostprocess"
)

// killTimeout bounds the wait for the kernel to end a killed process. It is
// long because a sandbox may have gigabytes of memory to give back.
const killTimeout = 20 * time.Second

// Create implements runtime.Driver.
func (d *Driver) Create(ctx context.Context, s runtime.Spec) (runtime.Machine, error) {
	if s.Kernel != "" {
		return nil, api.Errorf(api.KindUnsupported, "a sandbox of gVisor has no kernel that could be replaced").
			WithHint("run with --runtime vm, or without --kernel")
	}
	rec := record{Spec: s, CPUs: d.cpus.take(s.VCPUs)}
	undo := cleanup.Make(func() { d.cpus.give(rec.CPUs) })
	defer undo.Clean()

	spec, err := d.writeBundle(rec)
	if errors.Is(err, fs.ErrExist) {
		return nil, api.Errorf(api.KindConflict, "sandbox %s exists already", s.ID)
	}
	undo.Add(func() { _ = d.destroy(s.ID) })
	if err != nil {
		return nil, storageError("sandbox "+s.ID, err)
	}

	control, err := newControlFiles()
	if err != nil {
		return nil, api.Errorf(api.KindUnavailable, "sandbox %s: %w", s.ID, err)
	}
	undo.Add(func() { control.Close() })

	conf, err := d.machineConfig(s)
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "sandbox %s: %w", s.ID, err)
	}
	d.spawning.RLock()
	c, err := container.New(conf, container.Args{ID: s.ID, Spec: spec, BundleDir: d.bundle(rec), PassFiles: control.guestFiles(), FSRestoreImagePath: s.Disk})
	d.spawning.RUnlock()
	control.closeGuest()
	if err != nil {
		return nil, d.createError(s, err)
	}
	if err := identifyProcesses(c, &rec); err != nil {
		return nil, err
	}
	var network *carrier.Carrier
	var guest *os.File
	if s.Network != nil {
		if network, guest, err = carrier.Begin(d.carrierOptions(s)); err != nil {
			return nil, err
		}
		defer guest.Close()
		undo.Add(network.Discard)
		if rec.Uplink, err = network.Start(rec.Sandbox); err != nil {
			return nil, err
		}
	}
	if err := writeRecord(d.machineDir(s.ID), rec); err != nil {
		return nil, storageError("sandbox "+s.ID, err)
	}
	if !d.rootless {
		limitHostMemory(s, d.log, rec.Sandbox.PID, rec.Gofer.PID)
	}
	if err := c.Start(conf); err != nil {
		return nil, d.createError(s, err)
	}
	if s.Disk != "" {
		// Only this notices a truncated file: pages are read when they are needed.
		if err := c.WaitFSRestore(); err != nil {
			return nil, api.Errorf(api.KindVerification, "sandbox %s: disk snapshot %s cannot be read: %w", s.ID, s.Disk, err)
		}
	}
	agent, err := d.greet(ctx, s, control)
	if err != nil {
		return nil, err
	}
	if network != nil {
		if err := connect(ctx, network, guest, s.Network, c.Sandbox, agent); err != nil {
			agent.Close()
			return nil, carrier.Error(s, err)
		}
	}
	m, err := d.newMachine(rec, c.Sandbox, agent, network)
	if err != nil {
		return nil, err
	}
	undo.Release()
	return m, nil
}

func identifyProcesses(c *container.Container, rec *record) error {
	var err error
	if rec.Sandbox, err = hostprocess.Identify(c.Sandbox.Pid.Load()); err != nil {
		return api.Errorf(api.KindSandboxDied, "sandbox %s ended while it was made: %w", rec.Spec.ID, err)
	}
	if pid := c.GoferPid.Load(); pid != 0 {
		if rec.Gofer, err = hostprocess.Identify(pid); err != nil {
			return api.Errorf(api.KindSandboxDied, "gofer of sandbox %s ended while it was made: %w", rec.Spec.ID, err)
		}
	}
	return nil
}

// greet waits for the agent and checks that the guest is as it was asked for.
func (d *Driver) greet(ctx context.Context, s runtime.Spec, control *controlFiles) (*wire.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	agent, err := wire.NewClient(ctx, control)
	if err != nil {
		return nil, api.Errorf(api.KindSandboxDied, "sandbox %s: %w", s.ID, err)
	}
	if len(agent.Hello.Problems) > 0 {
		agent.Close()
		return nil, api.Errorf(api.KindInternal, "sandbox %s: guest agent: %s", s.ID, strings.Join(agent.Hello.Problems, "; "))
	}
	return agent, nil
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
	fd, err := rec.Sandbox.Open()
	if err != nil {
		return nil, api.Errorf(api.KindNotFound, "sandbox %s does not run", s.ID)
	}
	unix.Close(fd)
	if !rec.Gofer.Lives() {
		return nil, api.Errorf(api.KindNotFound, "sandbox %s has lost its gofer", s.ID)
	}
	id := container.FullID{SandboxID: s.ID, ContainerID: s.ID}
	c, err := container.Load(d.conf.RootDir, id, container.LoadOpts{Exact: true, SkipCheck: true})
	if err != nil {
		return nil, api.Errorf(api.KindNotFound, "sandbox %s cannot be adopted: %w", s.ID, err)
	}
	// The maker may have known the socket by another name, see runscRoot.
	c.Sandbox.ControlSocketPath = filepath.Join(d.conf.RootDir, controlSocket(s.ID))
	d.cpus.adopt(rec.CPUs)
	var network *carrier.Carrier
	if rec.Spec.Network != nil {
		network = carrier.Adopt(d.carrierOptions(rec.Spec), rec.Sandbox, rec.Uplink)
	}
	m, err := d.newMachine(rec, c.Sandbox, nil, network)
	if err != nil {
		return nil, err
	}
	if _, err := m.client(ctx); err != nil {
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

// destroy frees what is on the host, in the order that lets a later call
// finish what an earlier one was cut off from.
func (d *Driver) destroy(id string) error {
	dir := d.machineDir(id)
	rec, err := readRecord(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	processes := []hostprocess.Process{rec.Sandbox, rec.Gofer, rec.Uplink}
	if rec.Sandbox.PID == 0 || rec.Spec.Network != nil && !rec.Uplink.Lives() {
		processes = append(append(processes, findProcesses(dir)...), carrier.Find(dir)...)
	}
	var errs []error
	for _, p := range processes {
		errs = append(errs, p.Kill(killTimeout))
	}
	if !d.rootless {
		errs = append(errs, releaseHostMemory(rec.Spec.ID))
	}
	state := filepath.Join(d.runDir, fmt.Sprintf("%s_sandbox:%s", id, id))
	for _, file := range []string{state + ".state", state + ".lock", filepath.Join(d.runDir, controlSocket(id))} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err // the folder stays, so that the next call knows the rest
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	time.AfterFunc(nullNamespaceTime, d.dropNullNamespace)
	return nil
}

// createError explains why a sandbox could not be made.
func (d *Driver) createError(s runtime.Spec, err error) error {
	switch text := err.Error(); {
	case errors.Is(err, unix.ENOSPC), strings.Contains(text, unix.ENOSPC.Error()):
		return storageError("sandbox "+s.ID, fmt.Errorf("%w: %w", unix.ENOSPC, err))
	case strings.Contains(text, "operation not permitted"), strings.Contains(text, "permission denied"):
		return api.Errorf(api.KindUnavailable, "sandbox %s: gVisor cannot start here: %w", s.ID, err).
			WithHint("see what this host forbids with: pyro doctor")
	case strings.Contains(text, s.Image):
		return api.Errorf(api.KindUnavailable, "sandbox %s: image %s: %w", s.ID, s.Image, err).
			WithHint("install the environment again with: pyro env pull")
	}
	return api.Errorf(api.KindUnavailable, "sandbox %s cannot start: %w", s.ID, err).
		WithHint("see what works on this host with: pyro doctor")
}
