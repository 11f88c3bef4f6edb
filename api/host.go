package api

import "time"

// DoctorRequest asks for a report on this host.
type DoctorRequest struct{}

// DoctorReport is what pyro found by trying.
type DoctorReport struct {
	Platform         string         `json:"platform" doc:"operating system and architecture, for example linux/amd64"`
	OK               bool           `json:"ok" doc:"at least one isolating runtime works"`
	KVM              DeviceKVM      `json:"kvm" doc:"what /dev/kvm looks like; it proves nothing"`
	EnvironmentCache string         `json:"environment_cache" doc:"folder of the environments"`
	StateDir         string         `json:"state_dir" doc:"folder of sandboxes and records"`
	Capabilities     Capabilities   `json:"capabilities" doc:"verdicts reached by running a sandbox"`
	Networking       Networking     `json:"networking" doc:"kernel features that pyro does not need but users ask about"`
	Runtimes         []RuntimeCheck `json:"runtimes" doc:"verdict on each runtime"`
	Checks           []HostCheck    `json:"checks" doc:"host settings that matter, with remedies"`
}

// DeviceKVM is what /dev/kvm looks like; it proves nothing.
type DeviceKVM struct {
	Exists   bool `json:"exists" doc:"the device file exists"`
	Readable bool `json:"readable" doc:"it may be opened for reading"`
	Writable bool `json:"writable" doc:"it may be opened for writing"`
}

// Capabilities are verdicts reached by running a sandbox.
type Capabilities struct {
	VMBoot       bool `json:"vm_boot" doc:"a sandbox started"`
	GuestExec    bool `json:"guest_exec" doc:"a command ran in it"`
	GuestNetwork bool `json:"guest_network" doc:"it can be given network"`
}

// Networking is the state of kernel features that pyro does not need but users ask about.
type Networking struct {
	TUN       bool `json:"tun" doc:"/dev/net/tun exists"`
	IPForward bool `json:"ip_forward" doc:"the host forwards packets"`
}

// RuntimeCheck is the verdict on one runtime.
type RuntimeCheck struct {
	Name       string `json:"name" doc:"vm, gvisor or host-compat"`
	OK         bool   `json:"ok" doc:"it ran a command"`
	Reason     string `json:"reason,omitempty" doc:"why not"`
	Hint       string `json:"hint,omitempty" doc:"what to do about it"`
	DurationMS int64  `json:"duration_ms,omitempty" doc:"milliseconds the check took"`
}

// HostCheck is one setting of the host.
type HostCheck struct {
	Name   string `json:"name" doc:"name of the check"`
	OK     bool   `json:"ok" doc:"the setting does not stand in the way"`
	Detail string `json:"detail" doc:"what was found"`
	Hint   string `json:"hint,omitempty" doc:"command that changes it"`
}

// DaemonInfo describes the background process.
type DaemonInfo struct {
	Running   bool      `json:"running" doc:"whether it runs"`
	PID       int       `json:"pid,omitempty" doc:"its process id"`
	Version   string    `json:"version,omitempty" doc:"its version"`
	StartedAt time.Time `json:"started_at,omitzero" doc:"when it started"`
	Socket    string    `json:"socket" doc:"its socket"`
	LogFile   string    `json:"log_file" doc:"its log, JSON lines"`
	StateDir  string    `json:"state_dir" doc:"folder of sandboxes and records"`
	CacheDir  string    `json:"cache_dir" doc:"folder of the environments"`
	Rootless  bool      `json:"rootless" doc:"it runs as a plain user in a user namespace"`
	Sandboxes int       `json:"sandboxes" doc:"sandboxes that run now; after a stop, those of workspaces, which the next background process takes over"`
	Calls     int       `json:"calls" doc:"requests under way, without this one"`
}

// DaemonStopRequest asks the background process to end.
type DaemonStopRequest struct {
	Force bool `json:"force,omitempty" cli:"force" doc:"remove running one-shot VMs first"`
}

// The operations on the host and the background process.
var (
	Doctor = call[DoctorRequest, DoctorReport](Operation{
		Name: "doctor", CLI: "doctor", Group: "Host",
		Summary: "Check what works on this host, by running it",
		Doc:     "Each verdict is reached by running a tiny sandbox under a deadline, never by the existence of a device file.",
		Effect:  Reads, Example: "pyro doctor",
	})
	DaemonStatus = call[Empty, DaemonInfo](Operation{
		Name: "daemon_status", CLI: "daemon status", Group: "Host",
		Summary: "Show the background process", Effect: Reads, Example: "pyro daemon status",
	})
	DaemonStop = call[DaemonStopRequest, DaemonInfo](Operation{
		Name: "daemon_stop", CLI: "daemon stop", Group: "Host",
		Summary: "Stop the background process", Doc: "Running VMs make it refuse unless `--force` is given. It starts again by itself with the next command.",
		Effect: Changes, Errors: []Kind{KindConflict}, Example: "pyro daemon stop",
	})
)
