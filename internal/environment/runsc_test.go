package environment

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pyro/api"
)

// TestRealBuild builds environments of the catalogue from the machine's mirror,
// as a user would, and prints how long each phase took.
func TestRealBuild(t *testing.T) {
	runsc := strings.Fields(os.Getenv("PYRO_TEST_RUNSC"))
	if len(runsc) == 0 {
		t.Skip("needs PYRO_TEST_RUNSC: the command that is gVisor's runsc; builds for a minute or more from the machine's Debian mirror")
	}
	names := strings.Fields(os.Getenv("PYRO_TEST_ENVIRONMENTS"))
	if len(names) == 0 {
		names = []string{"debian:12-base", "debian:12"}
	}
	m := newManager(t, func(o *Options) {
		o.Getenv = os.Getenv
		o.Configure = runscConfigure(runsc, t.TempDir())
	})
	for _, name := range names {
		start := time.Now()
		first := map[string]time.Duration{}
		last := map[string]string{}
		var order []string
		env, err := m.Pull(t.Context(), name, func(p api.Progress) {
			if _, ok := first[p.Phase]; !ok {
				first[p.Phase] = time.Since(start)
				order = append(order, p.Phase)
			}
			last[p.Phase] = fmt.Sprintf("to %6.2fs, %d of %d %s", time.Since(start).Seconds(), p.Done, p.Total, p.Unit)
		})
		check(t, err)
		for _, phase := range order {
			t.Logf("%s: %-9s from %6.2fs %s", name, phase, first[phase].Seconds(), last[phase])
		}
		meta, err := m.Meta(name)
		check(t, err)
		t.Logf("%s: %.2fs, %d packages, %d bytes, %s, from %s, on %q", name, time.Since(start).Seconds(), len(env.Packages), env.SizeBytes, env.Digest, env.Source, meta.Source.Extends)
		emptyTmp(t, m)
	}
}

// runscConfigure is a ConfigureFunc of a runsc command.
func runscConfigure(runsc []string, scratch string) ConfigureFunc {
	return func(ctx context.Context, r ConfigureRequest) (io.ReadCloser, error) {
		dir, err := os.MkdirTemp(scratch, "sandbox-")
		if err != nil {
			return nil, err
		}
		bundle := filepath.Join(dir, "bundle")
		if err := os.MkdirAll(filepath.Join(bundle, "rootfs"), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(bundle, "config.json"), runscSpec(r), 0o644); err != nil {
			return nil, err
		}
		command := func(args ...string) *exec.Cmd {
			base := append(runsc[1:len(runsc):len(runsc)], "--root="+filepath.Join(dir, "root"), "--platform=systrap", "--network=none", "--ignore-cgroups")
			return exec.CommandContext(ctx, runsc[0], append(base, args...)...)
		}
		const id = "configure"
		defer exec.Command("umount", filepath.Join(dir, "root", "null-netns")).Run()
		defer command("delete", "--force", id).Run()
		sandbox := command("run", "--bundle", bundle, id)
		sandbox.Stderr = r.Log
		out, err := sandbox.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := sandbox.Start(); err != nil {
			return nil, err
		}
		status, lines := "", bufio.NewScanner(out)
		for status == "" && lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), "exit status "); ok {
				status = rest
			} else {
				fmt.Fprintln(r.Log, lines.Text())
			}
		}
		upper := filepath.Join(dir, "upper.tar")
		var tarErr error
		if status == "0" {
			tarErr = command("tar", "rootfs-upper", "--file", upper, id).Run()
		}
		command("kill", id, "KILL").Run()
		sandbox.Wait()
		if status != "0" || tarErr != nil {
			return nil, errors.Join(fmt.Errorf("the scripts ended with status %q", status), tarErr)
		}
		return os.Open(upper)
	}
}

// runscSpec is an OCI runtime configuration.
func runscSpec(r ConfigureRequest) []byte {
	type m = map[string]any
	caps := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SYS_CHROOT", "CAP_MKNOD"}
	var namespaces []m
	for _, ns := range []string{"pid", "network", "ipc", "uts", "mount"} {
		namespaces = append(namespaces, m{"type": ns})
	}
	b, err := json.Marshal(m{
		"ociVersion": "1.0.0",
		"process": m{
			"user": m{"uid": 0, "gid": 0}, "cwd": "/", "env": r.Env,
			"args":         append([]string{"/bin/sh", "-c", `"$@" </dev/null; echo exit status $?; exec sleep 600`, "sh"}, r.Argv...),
			"capabilities": m{"bounding": caps, "effective": caps, "inheritable": caps, "permitted": caps},
		},
		"root":     m{"path": "rootfs"},
		"hostname": "pyro-build",
		"mounts":   []m{{"destination": "/proc", "type": "proc", "source": "proc"}, {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}},
		"linux":    m{"namespaces": namespaces},
		"annotations": map[string]string{
			"dev.gvisor.spec.rootfs.source": r.Image, "dev.gvisor.spec.rootfs.type": "erofs", "dev.gvisor.spec.rootfs.overlay": "memory",
		},
	})
	if err != nil {
		panic(err)
	}
	return b
}
