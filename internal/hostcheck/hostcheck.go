// Package hostcheck reads the settings of a Linux host that decide what pyro
// can do on it, and knows the command that changes each.
//
// Its findings are hints for people. Whether a runtime works is found out by
// running it (pyro doctor), never from these; they explain a failure.
package hostcheck

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/paths"
	"pyro/internal/vsock"
)

// Host is where settings are read. The zero value is this host.
type Host struct {
	// Root is put before /proc, /sys and /dev, for tests.
	Root string
	// Unprivileged overrides who asks: a plain user, or root of a user
	// namespace. Nil means: find out.
	Unprivileged *bool
	// Listeners overrides vsock.Listeners, for tests.
	Listeners func() ([]vsock.Addr, error)
}

// Checks returns every check, in the order in which they are printed.
func (h Host) Checks(dirs paths.Dirs) []api.HostCheck {
	return []api.HostCheck{
		h.UserNamespaces(), h.AppArmor(), h.Ptrace(), h.KVMCheck(), h.VsockCheck(), h.TUN(), h.IPForward(), h.Cgroup(),
		FreeDisk("free_disk_state", dirs.State), FreeDisk("free_disk_cache", dirs.Cache),
	}
}

// UserNamespaces checks that a plain user can have user namespaces.
func (h Host) UserNamespaces() api.HostCheck {
	c := api.HostCheck{Name: "user_namespaces", OK: true, Detail: "allowed"}
	switch {
	case !h.unprivileged():
		c.Detail = "not needed by root"
	case !h.exists("/proc/self/ns/user"):
		c = bad(c, "the kernel has none (CONFIG_USER_NS)", "run pyro as root, or use a kernel with CONFIG_USER_NS=y")
	case h.setting("user/max_user_namespaces") == "0":
		c = bad(c, "turned off: user.max_user_namespaces=0", "sudo sysctl -w user.max_user_namespaces=15000")
	case h.setting("kernel/unprivileged_userns_clone") == "0":
		c = bad(c, "turned off: kernel.unprivileged_userns_clone=0", "sudo sysctl -w kernel.unprivileged_userns_clone=1")
	}
	return c
}

// AppArmor checks for Ubuntu's restriction of user namespaces.
func (h Host) AppArmor() api.HostCheck {
	c := api.HostCheck{Name: "apparmor_userns", OK: true, Detail: "no restriction"}
	if h.unprivileged() && h.setting("kernel/apparmor_restrict_unprivileged_userns") == "1" {
		return bad(c, "AppArmor restricts user namespaces: kernel.apparmor_restrict_unprivileged_userns=1",
			"sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0")
	}
	return c
}

// Ptrace checks that gVisor's systrap platform may trace its own children.
func (h Host) Ptrace() api.HostCheck {
	c := api.HostCheck{Name: "ptrace_scope", OK: true}
	switch scope := h.setting("kernel/yama/ptrace_scope"); scope {
	case "":
		c.Detail = "no restriction"
	case "3":
		return bad(c, "ptrace is forbidden until the next boot: kernel.yama.ptrace_scope=3",
			"set kernel.yama.ptrace_scope=1 in /etc/sysctl.d and reboot")
	default:
		c.Detail = "kernel.yama.ptrace_scope=" + scope
	}
	return c
}

// KVM says what /dev/kvm looks like to this process.
func (h Host) KVM() api.DeviceKVM {
	return api.DeviceKVM{Exists: h.exists("/dev/kvm"), Readable: h.access("/dev/kvm", unix.R_OK), Writable: h.access("/dev/kvm", unix.W_OK)}
}

// KVMCheck is KVM as a check.
func (h Host) KVMCheck() api.HostCheck {
	c := api.HostCheck{Name: "kvm", OK: true, Detail: "/dev/kvm can be opened"}
	switch kvm := h.KVM(); {
	case !kvm.Exists:
		return bad(c, "/dev/kvm does not exist", "turn on virtualization in the firmware or hypervisor; the gvisor runtime does not need it")
	case !kvm.Readable || !kvm.Writable:
		return bad(c, "/dev/kvm may not be opened by this user", "sudo usermod -aG kvm $USER, then log in again")
	}
	return c
}

// installQEMU are the commands that install QEMU, by the ID of os-release(5).
var installQEMU = map[string]string{
	"debian": "sudo apt-get install --no-install-recommends qemu-system-x86",
	"fedora": "sudo dnf install qemu-system-x86-core",
	"arch":   "sudo pacman -S qemu-system-x86",
}

// InstallQEMU is the command that installs QEMU here, or all of them where the
// distribution is another one.
func (h Host) InstallQEMU() string {
	for _, id := range h.distributions() {
		if command, ok := installQEMU[id]; ok {
			return command
		}
	}
	return fmt.Sprintf("Debian and Ubuntu: %s; Fedora: %s; Arch: %s", installQEMU["debian"], installQEMU["fedora"], installQEMU["arch"])
}

// distributions returns what the host says it is, and what it is like.
func (h Host) distributions() []string {
	b, err := os.ReadFile(h.path("/etc/os-release"))
	if err != nil {
		return nil
	}
	var ids []string
	for _, key := range []string{"ID=", "ID_LIKE="} {
		for line := range strings.Lines(string(b)) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), key); ok {
				ids = append(ids, strings.Fields(strings.Trim(value, `"'`))...)
			}
		}
	}
	return ids
}

// Networking says which kernel features for networking exist.
func (h Host) Networking() api.Networking {
	return api.Networking{TUN: h.exists("/dev/net/tun"), IPForward: h.setting("net/ipv4/ip_forward") == "1"}
}

// TUN and IPForward are Networking as checks. Neither is needed: pyro's network
// is a process of its own.
func (h Host) TUN() api.HostCheck {
	return api.HostCheck{Name: "tun", OK: true, Detail: yesNo(h.Networking().TUN, "/dev/net/tun exists", "/dev/net/tun does not exist; pyro does not need it")}
}

// IPForward tells whether the host forwards packets.
func (h Host) IPForward() api.HostCheck {
	return api.HostCheck{Name: "ip_forward", OK: true, Detail: yesNo(h.Networking().IPForward, "on", "off; pyro does not need it")}
}

// Cgroup tells whether limits can be enforced by the kernel.
func (h Host) Cgroup() api.HostCheck {
	c := api.HostCheck{Name: "cgroup", OK: true, Detail: "writable: the kernel enforces memory and CPU limits"}
	if h.unprivileged() || !h.access("/sys/fs/cgroup", unix.W_OK) {
		c.Detail = "not writable: pyro watches memory and CPU limits itself"
	}
	return c
}

// minFree is what an environment and the sandboxes of a working day need.
const minFree = 2 << 30

// FreeDisk checks the space of the file system that holds, or will hold, dir.
func FreeDisk(name, dir string) api.HostCheck {
	c := api.HostCheck{Name: name, OK: true}
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	for parent := dir; err == unix.ENOENT && parent != filepath.Dir(parent); {
		parent = filepath.Dir(parent)
		err = unix.Statfs(parent, &st)
	}
	if err != nil {
		return bad(c, fmt.Sprintf("%s: %v", dir, err), "set PYRO_STATE_DIR and PYRO_CACHE_DIR to folders you may write")
	}
	free := st.Bavail * uint64(st.Bsize)
	c.Detail = fmt.Sprintf("%.1f GiB free under %s", float64(free)/(1<<30), dir)
	if free < minFree {
		return bad(c, c.Detail+", 2 GiB are needed", "pyro env prune, or set PYRO_CACHE_DIR and PYRO_STATE_DIR to a larger disk")
	}
	return c
}

func bad(c api.HostCheck, detail, hint string) api.HostCheck {
	c.OK, c.Detail, c.Hint = false, detail, hint
	return c
}

func yesNo(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}

// setting reads /proc/sys/NAME; "" if it does not exist.
func (h Host) setting(name string) string {
	b, err := os.ReadFile(h.path("/proc/sys/" + name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (h Host) path(p string) string { return filepath.Join("/", h.Root, p) }

func (h Host) exists(p string) bool {
	_, err := os.Stat(h.path(p))
	return err == nil
}

// access asks with the effective ids, as open(2) would.
func (h Host) access(p string, mode uint32) bool {
	return unix.Faccessat(unix.AT_FDCWD, h.path(p), mode, unix.AT_EACCESS) == nil
}

// unprivileged reports whether this process is not root of the whole host.
func (h Host) unprivileged() bool {
	if h.Unprivileged != nil {
		return *h.Unprivileged
	}
	if os.Geteuid() != 0 {
		return true
	}
	// The initial user namespace maps all ids onto themselves.
	b, err := os.ReadFile(h.path("/proc/self/uid_map"))
	f := strings.Fields(string(b))
	return err == nil && (len(f) != 3 || f[2] != strconv.FormatUint(1<<32-1, 10))
}
