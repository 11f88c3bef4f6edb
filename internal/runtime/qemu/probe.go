package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/hostcheck"
	"pyro/internal/runtime"
	"pyro/internal/runtime/machines"
)

// judgeTime is how long a guest may take to answer under KVM, which takes it a
// fifth of that. On some hosts /dev/kvm can be opened, and even run a few
// instructions, and then a real kernel never gets anywhere: only one that boots
// tells the truth.
const judgeTime = 2 * time.Second

// verdict is verdict.json: what was found out, and what of.
type verdict struct {
	Boot    string `json:"boot"`    // of the host, /proc/sys/kernel/random/boot_id
	Program string `json:"program"` // QEMU: path, size and time
	Kernel  string `json:"kernel"`  // Kernel.ID
	Reason  string `json:"reason"`  // why KVM is of no use, "" if it is
	Hint    string `json:"hint,omitempty"`
}

// Suits implements runtime.Chooser: only KVM makes a microVM worth choosing.
func (d *Driver) Suits(ctx context.Context) error {
	program, err := d.program()
	if err != nil {
		return err
	}
	if err := d.openKVM(); err != nil {
		return err
	}
	v, err := d.judge(ctx, program)
	if err != nil {
		return err
	}
	if v.Reason != "" {
		return api.Errorf(api.KindUnavailable, "%s", v.Reason).WithHint("%s", v.Hint)
	}
	return nil
}

// Notice implements runtime.Chooser.
func (d *Driver) Notice(ctx context.Context) string {
	if err := d.Suits(ctx); err != nil {
		return "the machine is emulated, which is slow: " + api.AsError(err).Message
	}
	return ""
}

// accelerator chooses how a machine is executed.
func (d *Driver) accelerator(ctx context.Context) accelerator {
	if d.Suits(ctx) != nil {
		return tcg
	}
	return kvm
}

// openKVM says why KVM cannot even be opened.
func (d *Driver) openKVM() error {
	if d.o.NoKVM {
		return api.Errorf(api.KindUnavailable, "KVM is turned off").WithHint("unset %s", NoKVMEnv)
	}
	fd, err := unix.Open(kvmDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
		return nil
	}
	check := hostcheck.Host{}.KVMCheck()
	if check.OK {
		return api.Errorf(api.KindUnavailable, "%s cannot be opened: %w", kvmDevice, err)
	}
	return api.Errorf(api.KindUnavailable, "%s", check.Detail).WithHint("%s", check.Hint)
}

// NoKVMEnv is the variable that turns KVM off.
const NoKVMEnv = "PYRO_VM_NO_KVM"

// judge returns the verdict on KVM, which is found out once in a boot of the host.
func (d *Driver) judge(ctx context.Context, program string) (verdict, error) {
	kernel, err := d.o.Kernel(ctx)
	if err != nil {
		return verdict{}, err
	}
	kernel.Release()
	now := verdict{Boot: bootID(), Program: identity(program), Kernel: kernel.ID}
	d.judging.Lock()
	defer d.judging.Unlock()
	if known, ok := d.readVerdict(); ok && known.Boot == now.Boot && known.Program == now.Program && known.Kernel == now.Kernel {
		return known, nil
	}
	limited, cancel := context.WithTimeoutCause(ctx, judgeTime,
		api.Errorf(api.KindUnavailable, "KVM opens, but a guest did not answer within %s", judgeTime).
			WithHint("turn on nested virtualization on the host of this host, if it is a guest itself"))
	defer cancel()
	if err := d.try(limited, program, kvm, nil, usable); err != nil {
		if ctx.Err() != nil {
			return now, api.Errorf(api.KindCanceled, "trying out KVM: %w", context.Cause(ctx))
		}
		e := api.AsError(err)
		now.Reason, now.Hint = e.Message, e.Hint
	}
	if err := d.writeVerdict(now); err != nil {
		d.log.Warn("the verdict on KVM could not be remembered", "error", err)
	}
	return now, nil
}

func (d *Driver) verdictFile() string { return filepath.Join(d.o.Dir, "verdict.json") }

func (d *Driver) readVerdict() (v verdict, ok bool) {
	b, err := os.ReadFile(d.verdictFile())
	return v, err == nil && json.Unmarshal(b, &v) == nil
}

func (d *Driver) writeVerdict(v verdict) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := d.verdictFile() + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, d.verdictFile())
}

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it a verdict holds for longer
	return string(bytes.TrimSpace(b))
}

// identity tells one build of a program from another.
func identity(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return path
	}
	return fmt.Sprintf("%s %d %d", path, st.Size(), st.ModTime().UnixNano())
}

// Probe implements runtime.Driver. It needs no image: a machine whose only file
// is the agent boots and answers.
func (d *Driver) Probe(ctx context.Context) error {
	program, err := d.program()
	if err == nil {
		err = d.try(ctx, program, d.accelerator(ctx), nil, usable)
	}
	return unavailable(err)
}

// unavailable makes any error of a probe one that says so.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	e := api.AsError(err)
	return &api.Error{Kind: api.KindUnavailable, Message: e.Message, Hint: e.Hint, Err: err}
}

// usable asks a machine something.
func usable(ctx context.Context, m *machine) error {
	_, err := m.Usage(ctx)
	return err
}

// try boots a tiny machine and tries it out.
func (d *Driver) try(ctx context.Context, program string, accel accelerator, network *runtime.Network, use func(context.Context, *machine) error) error {
	image, err := machines.EmptyImage(d.o.Dir)
	if err != nil {
		return err
	}
	id := fmt.Sprintf("probe-%012x", time.Now().UnixNano()&0xffffffffffff)
	spec := runtime.Spec{ID: id, Image: image, VCPUs: 1, MemoryBytes: 128 << 20, DiskBytes: 64 << 20, PIDs: 64, Network: network}
	m, err := d.create(ctx, spec, program, accel, noVsock)
	if err == nil {
		err = use(ctx, m)
		m.Close()
	}
	if removeErr := d.Remove(context.WithoutCancel(ctx), id); err == nil {
		err = removeErr
	}
	return err
}
