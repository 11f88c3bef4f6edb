package gvisor

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"pyro/internal/agent"
	"pyro/internal/agent/process"
	"pyro/internal/runtime"
	"pyro/internal/runtime/hostprocess"
	"pyro/internal/runtime/machines"
)

const (
	agentFile   = "pyro-agent"
	guestBinDir = agent.BinDir
	guestAgent  = agent.Path
	// WorkDir is where commands start unless they say otherwise.
	workDir = "/workspace"
)

// commandCaps are the capabilities of commands: what docker grants, plus
// ptrace for debuggers. They are gVisor's own, over its own kernel; none
// reaches the host.
var commandCaps = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
	"CAP_MKNOD", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP",
	"CAP_SETUID", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
}

// agentCaps are those of the agent, which also mounts and unmounts.
var agentCaps = append([]string{"CAP_SYS_ADMIN", "CAP_SYS_RESOURCE", "CAP_DAC_READ_SEARCH", "CAP_NET_ADMIN"}, commandCaps...)

// ociSpec is the sandbox's specification in the form that runsc reads,
// https://github.com/opencontainers/runtime-spec.
func (d *Driver) ociSpec(r record) *specs.Spec {
	s := r.Spec
	spec := &specs.Spec{
		Version:  specs.Version,
		Hostname: cmp.Or(s.Hostname, s.ID),
		Process: &specs.Process{
			Args: []string{guestAgent, "init", "--pid-limit=" + strconv.Itoa(s.PIDs)},
			// A small heap and one processor: the agent is idle nearly always.
			Env: append([]string{"GOGC=50", "GOMAXPROCS=1"}, process.DefaultEnv...),
			Cwd: "/",
			Capabilities: &specs.LinuxCapabilities{
				Bounding: agentCaps, Effective: agentCaps, Permitted: agentCaps,
			},
			Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1 << 20, Soft: 1 << 16}},
		},
		Root: &specs.Root{Path: filepath.Join(d.bundle(r), "rootfs")},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts"},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=1777"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro"}},
			{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup"},
			// Beside carrying the agent, this mount makes runsc start a gofer,
			// without which it panics over an overlay in a folder.
			{Destination: guestBinDir, Type: "bind", Source: d.agentDir, Options: []string{"ro", "rbind"}},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.NetworkNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.MountNamespace},
			},
		},
		Annotations: map[string]string{
			"dev.gvisor.spec.rootfs.source":  s.Image,
			"dev.gvisor.spec.rootfs.type":    "erofs",
			"dev.gvisor.spec.rootfs.overlay": "dir=" + d.overlayDir(),
			"dev.gvisor.spec.rootfs.options": fmt.Sprintf("size=%d", s.DiskBytes),
		},
	}
	if s.Workspace != "" {
		spec.Mounts = append(spec.Mounts, specs.Mount{Destination: runtime.WorkspaceMount, Type: "erofs", Source: s.Workspace})
	}
	if s.Layer != "" {
		spec.Annotations["dev.gvisor.tar.rootfs.upper"] = s.Layer
	}
	return spec
}

// record is machine.json: what a later process needs to know of a machine.
type record struct {
	Spec runtime.Spec `json:"spec"`
	// Sandbox and Gofer are known once the processes run.
	Sandbox hostprocess.Process `json:"sandbox"`
	Gofer   hostprocess.Process `json:"gofer"`
	// Uplink is the newest process at the far end of the machine's network.
	Uplink hostprocess.Process `json:"uplink,omitzero"`
	CPUs   []int               `json:"cpus,omitempty"`
}

func readRecord(dir string) (record, error)  { return machines.ReadRecord[record](dir) }
func writeRecord(dir string, r record) error { return machines.WriteRecord(dir, r) }

// writeBundle makes the machine's folder, record first.
func (d *Driver) writeBundle(r record) (*specs.Spec, error) {
	dir := d.machineDir(r.Spec.ID)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if err := writeRecord(dir, r); err != nil {
		return nil, err
	}
	spec := d.ociSpec(r)
	if err := os.MkdirAll(spec.Root.Path, 0o755); err != nil {
		return nil, err
	}
	b, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	return spec, os.WriteFile(filepath.Join(d.bundle(r), "config.json"), b, 0o600)
}

// controlFiles are the two pipes between this process and the agent, with the
// guest's ends under the descriptors that the agent expects.
type controlFiles struct {
	in, out           *os.File // ours: read replies, write calls
	guestIn, guestOut *os.File
}

func newControlFiles() (*controlFiles, error) {
	var c controlFiles
	var err error
	if c.guestIn, c.out, err = os.Pipe(); err != nil {
		return nil, err
	}
	if c.in, c.guestOut, err = os.Pipe(); err != nil {
		c.guestIn.Close()
		c.out.Close()
		return nil, err
	}
	return &c, nil
}

func (c *controlFiles) guestFiles() map[int]*os.File {
	return map[int]*os.File{agent.ControlIn: c.guestIn, agent.ControlOut: c.guestOut}
}

func (c *controlFiles) closeGuest() {
	c.guestIn.Close()
	c.guestOut.Close()
}

func (c *controlFiles) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *controlFiles) Write(p []byte) (int, error) { return c.out.Write(p) }

func (c *controlFiles) Close() error {
	c.out.Close()
	return c.in.Close()
}
