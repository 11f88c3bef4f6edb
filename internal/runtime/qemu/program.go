package qemu

import (
	"fmt"
	"os/exec"
	"path/filepath"
	goruntime "runtime"

	"pyro/api"
	"pyro/internal/agent"
	"pyro/internal/hostcheck"
)

// programs are the names of QEMU: those of most distributions, then those of
// Red Hat's, which keep it out of the PATH.
var programs = []string{"qemu-system-x86_64", "/usr/libexec/qemu-kvm", "/usr/bin/qemu-kvm"}

// program finds QEMU.
func (d *Driver) program() (string, error) {
	if goruntime.GOARCH != "amd64" {
		return "", api.Errorf(api.KindUnsupported, "microVMs need a host of architecture amd64, this one is %s", goruntime.GOARCH).
			WithHint("run with --runtime gvisor")
	}
	if d.o.Program != "" {
		return d.o.Program, nil
	}
	for _, name := range programs {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if path, err = filepath.Abs(path); err != nil {
			return "", err
		}
		return path, d.version.check(path)
	}
	var host hostcheck.Host
	return "", api.Errorf(api.KindUnavailable, "QEMU is not installed: there is no %s", programs[0]).WithHint("%s", host.InstallQEMU())
}

// Require implements runtime.Requirer.
func (d *Driver) Require() error {
	_, err := d.program()
	return err
}

// accelerator says how a guest's instructions are executed.
type accelerator string

const (
	kvm accelerator = "kvm" // by the host's processor
	tcg accelerator = "tcg" // by translation, ten to fifty times slower
)

// cpuModels is the one place that chooses processors. With "max", QEMU 7.2
// hangs under emulation before Debian's kernel has said anything.
var cpuModels = map[accelerator]string{
	kvm: "host",
	tcg: "Haswell-noTSX",
}

// kernelOptions are given to every guest's kernel. The console is only read when
// something is wrong. What protects one user of a kernel from another costs time
// and protects nobody: the guest has one user.
const kernelOptions = "console=ttyS0 quiet loglevel=4 panic=-1 reboot=t tsc=reliable no_timer_check random.trust_cpu=on mitigations=off rdinit=" + agent.Path

// initEnv makes the agent's heap small: it is idle nearly always. The kernel
// hands words of this form to its first program as environment.
const initEnv = "GOGC=50 GOMAXPROCS=1"

// Memory that the guest's kernel takes before it counts: itself, and 64 bytes
// for each page of 4 KiB. It is given on top, so that what a guest may use is
// what was asked for.
const (
	kernelMemory   = 44 << 20
	pageOverhead   = 64
	memoryGranule  = 2 << 20
	translatedCode = 128 // MiB, at most, for emulation
)

func guestMemory(bytes int64) int64 {
	total := kernelMemory + bytes + bytes/4096*pageOverhead
	return (total + memoryGranule - 1) / memoryGranule * memoryGranule
}

// arguments are QEMU's, for a machine with the given descriptors, see files.
func (r record) arguments(f *files, accel accelerator, commandLine string) []string {
	acceleration := "kvm"
	if accel == tcg {
		acceleration = fmt.Sprintf("tcg,tb-size=%d", translatedCode)
		commandLine += " tsc_early_khz=2000000"
	}
	args := []string{
		"-name", r.Spec.ID,
		"-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-no-shutdown",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-machine", "microvm,acpi=on,rtc=on,pit=off,pic=off,isa-serial=on,x-option-roms=off,usb=off,mem-merge=off",
		"-accel", acceleration, "-cpu", cpuModels[accel], "-smp", fmt.Sprint(r.Spec.VCPUs),
		"-m", fmt.Sprintf("%dM", guestMemory(r.Spec.MemoryBytes)>>20),
		"-kernel", f.path("kernel"), "-initrd", f.path("initrd"), "-append", commandLine,
		"-chardev", fmt.Sprintf("ringbuf,id=console,size=%d", consoleSize), "-serial", "chardev:console",
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d,server=on,wait=off", f.number("qmp")), "-mon", "chardev=qmp,mode=control",
		"-device", "virtio-serial-device",
		"-chardev", fmt.Sprintf("socket,id=agent,fd=%d,server=on,wait=off", f.number("agent")),
		"-device", "virtserialport,chardev=agent,name=" + portName,
		"-object", "rng-builtin,id=rng", "-device", "virtio-rng-device,rng=rng",
	}
	args = append(args, cardArguments(f)...)
	for i, disk := range f.disks {
		access := "read-only=on,auto-read-only=off"
		if disk.writable {
			access = "read-only=off,discard=unmap,cache.no-flush=on"
		}
		args = append(args,
			"-add-fd", fmt.Sprintf("fd=%d,set=%d", f.number(disk.name), i+1),
			"-blockdev", fmt.Sprintf("driver=file,node-name=%s,filename=/dev/fdset/%d,locking=off,%s", disk.name, i+1, access),
			"-device", fmt.Sprintf("virtio-blk-device,drive=%s,serial=%s", disk.name, disk.name))
	}
	return args
}

// serials lists the disks that a guest is told of.
func (f *files) serials() []string {
	var all []string
	for _, d := range f.disks {
		all = append(all, d.name)
	}
	return all
}
