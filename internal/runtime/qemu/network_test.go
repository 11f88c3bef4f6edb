package qemu

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pyro/internal/network/link"
)

// standing starts a real QEMU with a card, whose processors never run, and returns
// its monitor.
func standing(t *testing.T) *monitor {
	t.Helper()
	program, err := exec.LookPath(programs[0])
	if err != nil {
		t.Skip("needs QEMU: apt-get install --no-install-recommends qemu-system-x86")
	}
	f := &files{}
	dir := t.TempDir()
	if err := f.socket("qmp", dir, qmpSocket); err != nil {
		t.Fatal(err)
	}
	gateway, guest, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gateway.Close() })
	f.add(linkFile, guest)
	defer f.Close()
	args := append([]string{
		"-S", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "microvm,acpi=on,x-option-roms=off", "-accel", "tcg", "-m", "64M",
		"-chardev", "socket,id=qmp,fd=3,server=on,wait=off", "-mon", "chardev=qmp,mode=control",
	}, cardArguments(f)...)
	cmd := exec.Command(program, args...)
	cmd.ExtraFiles, cmd.Stderr = f.open, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	conn, err := net.Dial("unix", filepath.Join(dir, qmpSocket))
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMonitor(t.Context(), conn, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// ports lists what hangs on the hub.
func (m *monitor) ports(t *testing.T) string {
	t.Helper()
	var text string
	if err := m.call(t.Context(), "human-monitor-command", map[string]any{"command-line": "info network"}, &text); err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range []string{"port-a: link-a", "port-b: link-b", "card: virtio-net"} {
		if strings.Contains(text, name) {
			found = append(found, name)
		}
	}
	return strings.Join(found, ", ")
}

// TestPlugIn: a card that has lost its link gets another one, whatever a driver
// that was killed has left.
func TestPlugIn(t *testing.T) {
	m := standing(t)
	plug := func() {
		t.Helper()
		gateway, guest, err := link.Pair()
		if err != nil {
			t.Fatal(err)
		}
		defer gateway.Close()
		defer guest.Close()
		if err := m.plugIn(t.Context(), guest); err != nil {
			t.Fatal(err)
		}
	}
	const a, b = "port-a: link-a, card: virtio-net", "port-b: link-b, card: virtio-net"
	if got := m.ports(t); got != a {
		t.Fatalf("at first there is %s", got)
	}
	for _, want := range []string{b, a, b} {
		if plug(); m.ports(t) != want {
			t.Errorf("there is %s, want %s", m.ports(t), want)
		}
	}
	for name, left := range map[string]func(ctx context.Context, guest *os.File) error{
		"both": func(ctx context.Context, guest *os.File) error { return m.addLink(ctx, "a", guest) },
		"a link without its port": func(ctx context.Context, guest *os.File) error {
			if err := m.addLink(ctx, "a", guest); err != nil {
				return err
			}
			return m.call(ctx, "netdev_del", map[string]any{"id": "port-a"}, nil)
		},
	} {
		gateway, guest, err := link.Pair()
		if err != nil {
			t.Fatal(err)
		}
		if m.ports(t) != b {
			plug()
		}
		if err := left(t.Context(), guest); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		gateway.Close()
		guest.Close()
		if plug(); m.ports(t) != b {
			t.Errorf("%s: there is %s", name, m.ports(t))
		}
	}
}
