package hostcheck_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/hostcheck"
	"pyro/internal/paths"
	"pyro/internal/vsock"
)

// host makes a root with the given files.
func host(t *testing.T, unprivileged bool, files map[string]string) hostcheck.Host {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return hostcheck.Host{Root: root, Unprivileged: &unprivileged}
}

const userNS = "/proc/self/ns/user"

func TestChecks(t *testing.T) {
	for _, tt := range []struct {
		name  string
		check func(hostcheck.Host) api.HostCheck
		user  bool
		files map[string]string
		ok    bool
		text  string // within detail or hint
	}{
		{"userns", hostcheck.Host.UserNamespaces, true, map[string]string{userNS: "", "/proc/sys/user/max_user_namespaces": "1000\n"}, true, "allowed"},
		{"userns of root", hostcheck.Host.UserNamespaces, false, map[string]string{"/proc/sys/user/max_user_namespaces": "0\n"}, true, "not needed"},
		{"userns off", hostcheck.Host.UserNamespaces, true, map[string]string{userNS: "", "/proc/sys/user/max_user_namespaces": "0\n"}, false, "sudo sysctl -w user.max_user_namespaces="},
		{"userns off in Debian's way", hostcheck.Host.UserNamespaces, true, map[string]string{userNS: "", "/proc/sys/kernel/unprivileged_userns_clone": "0\n"}, false, "kernel.unprivileged_userns_clone=1"},
		{"userns not in the kernel", hostcheck.Host.UserNamespaces, true, nil, false, "CONFIG_USER_NS"},
		{"apparmor", hostcheck.Host.AppArmor, true, map[string]string{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, false, "kernel.apparmor_restrict_unprivileged_userns=0"},
		{"apparmor of root", hostcheck.Host.AppArmor, false, map[string]string{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, true, ""},
		{"no apparmor", hostcheck.Host.AppArmor, true, nil, true, ""},
		{"ptrace", hostcheck.Host.Ptrace, true, map[string]string{"/proc/sys/kernel/yama/ptrace_scope": "1\n"}, true, "ptrace_scope=1"},
		{"ptrace forbidden", hostcheck.Host.Ptrace, false, map[string]string{"/proc/sys/kernel/yama/ptrace_scope": "3\n"}, false, "reboot"},
		{"no yama", hostcheck.Host.Ptrace, false, nil, true, ""},
		{"kvm", hostcheck.Host.KVMCheck, false, map[string]string{"/dev/kvm": ""}, true, "can be opened"},
		{"no kvm", hostcheck.Host.KVMCheck, false, nil, false, "does not exist"},
		{"tun", hostcheck.Host.TUN, false, map[string]string{"/dev/net/tun": ""}, true, "exists"},
		{"no tun is fine", hostcheck.Host.TUN, false, nil, true, "does not need it"},
		{"forward", hostcheck.Host.IPForward, false, map[string]string{"/proc/sys/net/ipv4/ip_forward": "1\n"}, true, "on"},
		{"cgroup", hostcheck.Host.Cgroup, false, map[string]string{"/sys/fs/cgroup/cgroup.procs": ""}, true, "the kernel enforces"},
		{"cgroup of a user", hostcheck.Host.Cgroup, true, map[string]string{"/sys/fs/cgroup/cgroup.procs": ""}, true, "itself"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.check(host(t, tt.user, tt.files))
			if c.OK != tt.ok || !strings.Contains(c.Detail+" "+c.Hint, tt.text) {
				t.Errorf("got %+v", c)
			}
			if c.Name == "" || c.Detail == "" || !c.OK && c.Hint == "" {
				t.Errorf("incomplete: %+v", c)
			}
		})
	}
}

// TestVsock: what keeps microVMs from vsock is named, with its remedy.
func TestVsock(t *testing.T) {
	device := map[string]string{hostcheck.VhostVsock: ""}
	nobody := func() ([]vsock.Addr, error) { return nil, nil }
	for _, tt := range []struct {
		name      string
		files     map[string]string
		listeners func() ([]vsock.Addr, error)
		text      string // within detail and hint
	}{
		{"there", device, nobody, "over vsock"},
		{"not loaded", nil, nobody, "sudo modprobe vhost_vsock"},
		{"reachable", device, func() ([]vsock.Addr, error) { return []vsock.Addr{{CID: vsock.Any, Port: 22}}, nil }, "at port 22"},
		{"no module", device, func() ([]vsock.Addr, error) { return nil, unix.ENOENT }, "sudo modprobe vsock_diag"},
		{"not told", device, func() ([]vsock.Addr, error) { return nil, unix.ENOMEM }, "cannot allocate memory"},
	} {
		h := host(t, false, tt.files)
		h.Listeners = tt.listeners
		c, e := h.VsockCheck(), h.Vsock()
		if !c.OK || !strings.Contains(c.Detail+" "+c.Hint, tt.text) || (e == nil) != (tt.name == "there") {
			t.Errorf("%s: %+v, %v", tt.name, c, e)
		}
	}
}

func TestFreeDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "yet", "there")
	c := hostcheck.FreeDisk("free_disk", dir)
	if !strings.Contains(c.Detail, dir) || !strings.Contains(c.Detail, "GiB free") {
		t.Errorf("got %+v", c)
	}
}

// TestThisHost runs every check where the tests run; none may panic or be empty.
func TestThisHost(t *testing.T) {
	dir := t.TempDir()
	for _, c := range (hostcheck.Host{}).Checks(paths.Dirs{State: dir, Cache: dir, Config: dir}) {
		if c.Name == "" || c.Detail == "" || !c.OK && c.Hint == "" {
			t.Errorf("incomplete: %+v", c)
		}
		t.Logf("%+v", c)
	}
}

func TestExplainUserNamespace(t *testing.T) {
	open := map[string]string{userNS: ""}
	for _, tt := range []struct {
		name  string
		err   error
		files map[string]string
		text  string // "" means: not explained
	}{
		{"off", unix.ENOSPC, map[string]string{userNS: "", "/proc/sys/user/max_user_namespaces": "0"}, "turned off: user.max_user_namespaces=0"},
		{"apparmor", unix.EACCES, map[string]string{userNS: "", "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"}, "AppArmor restricts"},
		{"limit", unix.ENOSPC, open, "limit"},
		{"kernel", unix.EINVAL, open, "the kernel has none"},
		{"container", &os.PathError{Op: "fork/exec", Path: "/p", Err: unix.EPERM}, open, "container"},
		{"other", unix.ENOENT, open, ""},
		{"not an errno", errors.New("x"), open, ""},
	} {
		e := host(t, true, tt.files).ExplainUserNamespace(tt.err)
		if tt.text == "" {
			if e != nil {
				t.Errorf("%s: got %v", tt.name, e)
			}
			continue
		}
		if e == nil || e.Kind != api.KindUnavailable || !strings.Contains(e.Message, tt.text) || e.Hint == "" || !errors.Is(e, tt.err) {
			t.Errorf("%s: got %+v", tt.name, e)
		}
	}
}
