package api

import "time"

// Runtime is the user's choice of isolation.
type Runtime string

// The runtimes. RuntimeAuto never chooses host-compat.
const (
	RuntimeAuto   Runtime = "auto"
	RuntimeVM     Runtime = "vm"
	RuntimeGVisor Runtime = "gvisor"
)

// Values lists the allowed values.
func (Runtime) Values() []string { return []string{"auto", "vm", "gvisor"} }

// ExecutionMode says where a command really ran. Every answer names it.
type ExecutionMode string

// The execution modes.
const (
	GuestGVisor ExecutionMode = "guest_gvisor" // a gVisor sandbox
	GuestVsock  ExecutionMode = "guest_vsock"  // a microVM, reached over vsock
	GuestSerial ExecutionMode = "guest_serial" // a microVM, reached over virtio-serial
	HostCompat  ExecutionMode = "host_compat"  // the host itself, without isolation
)

// VMState is the state of a one-shot sandbox.
type VMState string

// The states of a VM.
const (
	VMCreated VMState = "created"
	VMStarted VMState = "started"
	VMStopped VMState = "stopped"
)

// SandboxOptions are the resources and choices that every new sandbox takes.
type SandboxOptions struct {
	VCPUCount       int     `json:"vcpu_count,omitempty" cli:"vcpu-count" default:"1" doc:"number of virtual CPUs"`
	MemMiB          int     `json:"mem_mib,omitempty" cli:"mem-mib" default:"1024" doc:"memory limit in MiB"`
	DiskMiB         int     `json:"disk_mib,omitempty" cli:"disk-mib" default:"8192" doc:"limit of what the sandbox may write to its disk, in MiB"`
	PIDLimit        int     `json:"pid_limit,omitempty" cli:"pid-limit" default:"512" doc:"limit of processes and threads at the same time"`
	TTLSeconds      int     `json:"ttl_seconds,omitempty" cli:"ttl-seconds" default:"600" doc:"seconds after which the sandbox is removed, whatever it does"`
	Network         bool    `json:"network,omitempty" cli:"network" doc:"give the sandbox outbound network: the internet, no private networks"`
	NetworkPolicy   string  `json:"network_policy,omitempty" cli:"network-policy,hostpath,word=egress,word=allowlist" doc:"what the network lets through: egress (as with network), allowlist (nothing, but see what was refused), or the path of a policy file"`
	Runtime         Runtime `json:"runtime,omitempty" cli:"runtime" default:"auto" doc:"which isolation to use"`
	Kernel          string  `json:"kernel,omitempty" cli:"kernel,hostpath" doc:"path of a kernel of your own to boot, with runtime vm: a bzImage with all that docs/microvm.md lists built in"`
	AllowHostCompat bool    `json:"allow_host_compat,omitempty" cli:"allow-host-compat" doc:"run on the host WITHOUT isolation if no sandbox can be had"`
}

// CreateVMRequest asks for a new sandbox that is not started yet.
type CreateVMRequest struct {
	Environment string `json:"environment" cli:"ENV,arg" doc:"environment name, see pyro env list"`
	SandboxOptions
}

// VMRequest names a sandbox.
type VMRequest struct {
	VMID string `json:"vm_id" cli:"VM_ID,arg" doc:"id of the VM"`
}

// VM describes a one-shot sandbox.
type VM struct {
	VMID          string        `json:"vm_id" doc:"id of the VM"`
	Environment   string        `json:"environment" doc:"its environment"`
	State         VMState       `json:"state" doc:"created, started or stopped"`
	ExecutionMode ExecutionMode `json:"execution_mode" doc:"where commands run: guest_gvisor, guest_vsock, guest_serial or host_compat"`
	VCPUCount     int           `json:"vcpu_count" doc:"virtual CPUs"`
	MemMiB        int           `json:"mem_mib" doc:"memory limit in MiB"`
	DiskMiB       int           `json:"disk_mib" doc:"disk limit in MiB"`
	PIDLimit      int           `json:"pid_limit" doc:"limit of processes and threads"`
	TTLSeconds    int           `json:"ttl_seconds" doc:"life time in seconds"`
	Network       bool          `json:"network" doc:"whether it has outbound network"`
	NetworkPolicy string        `json:"network_policy,omitempty" doc:"what that lets through: egress, or allowlist for what the rules of its policy name"`
	CreatedAt     time.Time     `json:"created_at" doc:"when it was created"`
	ExpiresAt     time.Time     `json:"expires_at" doc:"when it will be removed"`
	Notice        string        `json:"notice,omitempty" doc:"what to know of the isolation, for example that it is emulated; only in the answer to its creation"`
	MemoryBytes   int64         `json:"memory_bytes,omitempty" doc:"memory a started guest uses now, 0 if unknown"`
}

// VMList answers ListVMs.
type VMList struct {
	VMs []VM `json:"vms" doc:"the VMs, oldest first"`
}

// ExecVMRequest runs one command in a started VM, which is removed afterwards.
type ExecVMRequest struct {
	VMID           string   `json:"vm_id" cli:"VM_ID,arg" doc:"id of the VM"`
	Command        []string `json:"command" cli:"CMD,rest" doc:"the command and its arguments"`
	TimeoutSeconds int      `json:"timeout_seconds,omitempty" cli:"timeout-seconds" default:"30" doc:"seconds after which the command is ended"`
}

// RunRequest runs one command in a fresh sandbox.
type RunRequest struct {
	Environment string `json:"environment" cli:"ENV,arg" doc:"environment name, see pyro env list"`
	SandboxOptions
	TimeoutSeconds int      `json:"timeout_seconds,omitempty" cli:"timeout-seconds" default:"30" doc:"seconds after which the command is ended"`
	Command        []string `json:"command" cli:"CMD,rest" doc:"the command and its arguments"`
}

// Cleanup says what became of the sandbox.
type Cleanup struct {
	Deleted bool   `json:"deleted" doc:"whether the sandbox is gone"`
	Reason  string `json:"reason" doc:"why it was removed, for example post_exec_cleanup"`
	VMID    string `json:"vm_id" doc:"id of the VM"`
}

// ExecResult is the outcome of a command. Stdout and Stderr are empty when the
// output was streamed to the caller.
type ExecResult struct {
	VMID            string        `json:"vm_id,omitempty" doc:"id of the one-shot VM, which is gone"`
	WorkspaceID     string        `json:"workspace_id,omitempty" doc:"id of the workspace"`
	Sequence        int           `json:"sequence,omitempty" doc:"the command's number in the workspace's log"`
	Cwd             string        `json:"cwd,omitempty" doc:"folder it ran in, of a workspace"`
	Environment     string        `json:"environment" doc:"its environment"`
	ExecutionMode   ExecutionMode `json:"execution_mode" doc:"where the command really ran: guest_gvisor, guest_vsock, guest_serial or host_compat"`
	Command         []string      `json:"command" doc:"the command and its arguments"`
	ExitCode        int           `json:"exit_code" doc:"the command's own code; 128+n after signal n, 124 after the time limit, 126 and 127 if it could not be started"`
	Stdout          string        `json:"stdout" doc:"its output, invalid UTF-8 replaced, cut in the middle when longer than 1 MiB; empty when it was streamed"`
	Stderr          string        `json:"stderr" doc:"its error output, likewise"`
	StdoutTruncated bool          `json:"stdout_truncated" doc:"stdout was cut"`
	StderrTruncated bool          `json:"stderr_truncated" doc:"stderr was cut"`
	StdoutBytes     int64         `json:"stdout_bytes" doc:"bytes the command wrote to stdout"`
	StderrBytes     int64         `json:"stderr_bytes" doc:"bytes the command wrote to stderr"`
	DurationMS      int64         `json:"duration_ms" doc:"milliseconds the command ran"`
	Limit           *Error        `json:"limit,omitempty" doc:"the limit that ended or hindered the command, if one did: kind timeout, memory_limit, disk_limit, pid_limit, sandbox_died or exec_failed"`
	Recovery        *Recovery     `json:"recovery,omitempty" doc:"in a workspace: its sandbox was lost, and came back for this command with an older state"`
	Cleanup         *Cleanup      `json:"cleanup,omitempty" doc:"what became of the sandbox"`
}

// MaxOutput is how many bytes of each of stdout and stderr an answer carries
// when they are not streamed.
const MaxOutput = 1 << 20

// NetworkInfo describes the network of a VM.
type NetworkInfo struct {
	VMID      string   `json:"vm_id" doc:"id of the VM"`
	Enabled   bool     `json:"enabled" doc:"whether it has outbound network"`
	Policy    string   `json:"policy,omitempty" doc:"what that lets through: egress, or allowlist for what the rules name"`
	Rules     []string `json:"rules,omitempty" doc:"the rules of its policy, each as in a policy file"`
	State     string   `json:"state,omitempty" doc:"of a started sandbox: up, or down while the process that carries it is replaced"`
	Addresses []string `json:"addresses,omitempty" doc:"of the sandbox, behind address translation"`
	Gateway   string   `json:"gateway,omitempty" doc:"its router and name server"`
	Detail    string   `json:"detail" doc:"how, in words"`
}

// Reaped answers ReapExpired.
type Reaped struct {
	VMIDs []string `json:"vm_ids" doc:"ids of the removed VMs"`
	Count int      `json:"count" doc:"how many"`
}

var sandboxErrors = []Kind{KindNotFound, KindNotInstalled, KindUnavailable, KindUnsupported, KindNetwork, KindVerification, KindStorage, KindPermission, KindSandboxDied}

// The operations on one-shot sandboxes.
var (
	RunInVM = call[RunRequest, ExecResult](Operation{
		Name: "run_in_vm", CLI: "run", MCP: "vm_run", Python: "run_in_vm", Group: "One command",
		Summary: "Run one command in a fresh sandbox and remove it",
		Doc: "Makes a sandbox, runs the command in `/workspace` as root and removes the sandbox. Output is streamed. " +
			"An environment that is not installed is pulled first. Piped stdin is passed on; SIGINT and SIGTERM are forwarded.",
		Effect: Changes, Mode: ModeExec, Errors: append([]Kind{KindTimeout, KindMemoryLimit, KindDiskLimit, KindPIDLimit, KindExec}, sandboxErrors...),
		Example: "pyro run debian:12 -- git --version",
	})
	CreateVM = call[CreateVMRequest, VM](Operation{
		Name: "create_vm", CLI: "vm create", MCP: "vm_create", Python: "create_vm", Group: "One-shot VMs",
		Summary: "Create a VM for one command", Doc: "The VM is recorded but not started. It is removed when its TTL ends.",
		Effect: Changes, Errors: sandboxErrors, Example: "pyro vm create debian:12",
	})
	StartVM = call[VMRequest, VM](Operation{
		Name: "start_vm", CLI: "vm start", MCP: "vm_start", Python: "start_vm", Group: "One-shot VMs",
		Summary: "Start a created VM", Doc: "Boots the sandbox and waits until its guest agent answers.",
		Effect: Changes, Errors: append([]Kind{KindConflict}, sandboxErrors...), Example: "pyro vm start vm-0123456789ab",
	})
	ExecVM = call[ExecVMRequest, ExecResult](Operation{
		Name: "exec_vm", CLI: "vm exec", MCP: "vm_exec", Python: "exec_vm", Group: "One-shot VMs",
		Summary: "Run one command in a started VM and remove the VM", Doc: "Like `run`, but in a VM that was created and started before. The VM is removed afterwards, whatever the command did.",
		Effect: Destroys, Mode: ModeExec, Errors: []Kind{KindNotFound, KindConflict, KindTimeout, KindMemoryLimit, KindDiskLimit, KindPIDLimit, KindExec, KindSandboxDied},
		Example: "pyro vm exec vm-0123456789ab -- git --version",
	})
	StopVM = call[VMRequest, VM](Operation{
		Name: "stop_vm", CLI: "vm stop", MCP: "vm_stop", Python: "stop_vm", Group: "One-shot VMs",
		Summary: "Stop a VM", Doc: "Ends the sandbox; what it held is lost. Stopping a stopped VM is not an error.",
		Effect: Destroys, Errors: []Kind{KindNotFound}, Example: "pyro vm stop vm-0123456789ab",
	})
	DeleteVM = call[VMRequest, Cleanup](Operation{
		Name: "delete_vm", CLI: "vm delete", MCP: "vm_delete", Python: "delete_vm", Group: "One-shot VMs",
		Summary: "Remove a VM", Doc: "Ends the sandbox if it runs and removes everything of it.",
		Effect: Destroys, Errors: []Kind{KindNotFound}, Example: "pyro vm delete vm-0123456789ab",
	})
	StatusVM = call[VMRequest, VM](Operation{
		Name: "status_vm", CLI: "vm status", MCP: "vm_status", Python: "status_vm", Group: "One-shot VMs",
		Summary: "Show a VM", Effect: Reads, Errors: []Kind{KindNotFound}, Example: "pyro vm status vm-0123456789ab",
	})
	ListVMs = call[Empty, VMList](Operation{
		Name: "list_vms", CLI: "vm list", Group: "One-shot VMs",
		Summary: "List the VMs", Effect: Reads, Example: "pyro vm list",
	})
	NetworkInfoVM = call[VMRequest, NetworkInfo](Operation{
		Name: "network_info_vm", CLI: "vm network-info", MCP: "vm_network_info", Python: "network_info_vm", Group: "One-shot VMs",
		Summary: "Show the network of a VM", Effect: Reads, Errors: []Kind{KindNotFound}, Example: "pyro vm network-info vm-0123456789ab",
	})
	ReapExpired = call[Empty, Reaped](Operation{
		Name: "reap_expired", CLI: "vm reap-expired", MCP: "vm_reap_expired", Python: "reap_expired", Group: "One-shot VMs",
		Summary: "Remove the VMs whose TTL has ended now", Doc: "The background process does this by itself every few seconds.",
		Effect: Destroys, Example: "pyro vm reap-expired",
	})
)
