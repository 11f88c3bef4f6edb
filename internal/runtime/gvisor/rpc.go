package gvisor

import (
	"errors"
	"fmt"
	"os"
	"time"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/control/client"
	"gvisor.dev/gvisor/pkg/sentry/control"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/urpc"
	"gvisor.dev/gvisor/runsc/boot"
	"gvisor.dev/gvisor/runsc/sandbox"
)

// usage holds the two files of the sandbox's memory accounting.
type usage struct{ accounting, memory *os.File }

func usageFiles(s *sandbox.Sandbox) (usage, error) {
	conn, err := client.ConnectTo(s.GetControlSocketPath())
	if err != nil {
		return usage{}, err
	}
	defer conn.Close()
	var out control.MemoryUsageFile
	if err := conn.Call(boot.UsageUsageFD, &control.MemoryUsageFileOpts{Version: 1}, &out); err != nil {
		return usage{}, err
	}
	if len(out.Files) != 2 {
		for _, f := range out.Files {
			f.Close()
		}
		return usage{}, errors.New("the sandbox did not hand over its memory file")
	}
	return usage{accounting: out.Files[0], memory: out.Files[1]}, nil
}

// plugTime is how long a sandbox may take to make its network card, which takes
// it milliseconds.
const plugTime = 30 * time.Second

// callWithin calls a sandbox, which may be stopped or busy, but not for ever.
func callWithin(d time.Duration, conn *urpc.Client, method string, args any) error {
	late := time.AfterFunc(d, func() { _ = conn.Socket.Shutdown() })
	err := conn.Call(method, args, nil)
	if !late.Stop() && err != nil {
		return fmt.Errorf("the sandbox did not answer within %s: %w", d, err)
	}
	return err
}

// execute starts a process and returns its pid in the guest. All capabilities
// are for the agent's own helpers only.
func (m *machine) execute(argv, env []string, dir string, allCaps bool, files map[int]*os.File) (int32, error) {
	caps := commandCapSet
	if allCaps {
		caps = auth.AllCapabilities
	}
	args := &control.ExecArgs{
		Argv:             argv,
		Envv:             env,
		WorkingDirectory: dir,
		Capabilities:     &auth.TaskCapabilities{PermittedCaps: caps, EffectiveCaps: caps, BoundingCaps: caps},
		ContainerID:      m.ID(),
		FilePayload:      control.NewFilePayload(files, nil),
	}
	return m.sandbox.Execute(m.driver.conf, args)
}

// commandCapSet is commandCaps as gVisor counts them.
var commandCapSet = func() auth.CapabilitySet {
	var set auth.CapabilitySet
	for _, name := range commandCaps {
		set |= auth.CapabilitySetOf(capabilityByName[name])
	}
	return set
}()

var capabilityByName = map[string]linux.Capability{
	"CAP_AUDIT_WRITE":      linux.CAP_AUDIT_WRITE,
	"CAP_CHOWN":            linux.CAP_CHOWN,
	"CAP_DAC_OVERRIDE":     linux.CAP_DAC_OVERRIDE,
	"CAP_FOWNER":           linux.CAP_FOWNER,
	"CAP_FSETID":           linux.CAP_FSETID,
	"CAP_KILL":             linux.CAP_KILL,
	"CAP_MKNOD":            linux.CAP_MKNOD,
	"CAP_NET_BIND_SERVICE": linux.CAP_NET_BIND_SERVICE,
	"CAP_NET_RAW":          linux.CAP_NET_RAW,
	"CAP_SETFCAP":          linux.CAP_SETFCAP,
	"CAP_SETGID":           linux.CAP_SETGID,
	"CAP_SETPCAP":          linux.CAP_SETPCAP,
	"CAP_SETUID":           linux.CAP_SETUID,
	"CAP_SYS_CHROOT":       linux.CAP_SYS_CHROOT,
	"CAP_SYS_PTRACE":       linux.CAP_SYS_PTRACE,
}
