package api

import "time"

// WorkspaceState is the state of a workspace.
type WorkspaceState string

// The states of a workspace. A stopped one has no sandbox; its disk is kept, and
// the next command starts it.
const (
	WorkspaceStarted WorkspaceState = "started"
	WorkspaceStopped WorkspaceState = "stopped"
)

// Baseline is the reserved name of the state that a workspace was created with.
const Baseline = "baseline"

// WorkspacePath is where a workspace's own files are in its sandbox.
const WorkspacePath = "/workspace"

// SeedMode says what a workspace was created from.
type SeedMode string

// The seed modes.
const (
	SeedEmpty     SeedMode = "empty"
	SeedDirectory SeedMode = "directory"
	SeedArchive   SeedMode = "archive"
)

// CreateWorkspaceRequest asks for a new workspace, which is started.
type CreateWorkspaceRequest struct {
	Environment   string            `json:"environment" cli:"ENV,arg" doc:"environment name, see pyro env list"`
	Name          string            `json:"name,omitempty" cli:"name" doc:"a name of its own, which can stand for its id: 1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit, and not beginning with ws-"`
	Labels        map[string]string `json:"labels,omitempty" cli:"label" doc:"labels to find it by, KEY=VALUE on the command line, any number of times"`
	SeedPath      string            `json:"seed_path,omitempty" cli:"seed-path,hostpath" doc:"folder or archive (.tar, .tar.gz, .tgz, .tar.zst) to begin with"`
	Strict        bool              `json:"strict,omitempty" cli:"strict" doc:"fail if something of the seed cannot be copied, instead of a warning"`
	VCPUCount     int               `json:"vcpu_count,omitempty" cli:"vcpu-count" default:"1" doc:"number of virtual CPUs"`
	MemMiB        int               `json:"mem_mib,omitempty" cli:"mem-mib" default:"1024" doc:"memory limit in MiB"`
	DiskMiB       int               `json:"disk_mib,omitempty" cli:"disk-mib" default:"8192" doc:"limit of what may be written in /workspace beyond the seed, and again in the rest of the system, in MiB"`
	PIDLimit      int               `json:"pid_limit,omitempty" cli:"pid-limit" default:"512" doc:"limit of processes and threads at the same time"`
	TTLSeconds    int               `json:"ttl_seconds,omitempty" cli:"ttl-seconds" doc:"seconds after which the workspace is deleted with all it holds; 0 is never"`
	Network       bool              `json:"network,omitempty" cli:"network" doc:"give the sandbox outbound network: the internet, no private networks"`
	NetworkPolicy string            `json:"network_policy,omitempty" cli:"network-policy,hostpath,word=egress,word=allowlist" doc:"what the network lets through: egress (as with network), allowlist (nothing, but see what was refused), or the path of a policy file"`
	Runtime       Runtime           `json:"runtime,omitempty" cli:"runtime" default:"auto" doc:"which isolation to use"`
	Kernel        string            `json:"kernel,omitempty" cli:"kernel,hostpath" doc:"path of a kernel of your own to boot, with runtime vm: a bzImage with all that docs/microvm.md lists built in"`

	SeedFiles []string `json:"seed_files,omitzero" cli:"-" doc:"only these files of the folder seed_path, by their paths below it; all if absent"`

	Secrets []Secret `json:"secrets,omitempty" cli:"-" doc:"values that calls can be given by name in their environment, and that no answer, log or disk of pyro's shows; at most 64, of 256 KiB together"`
}

// WorkspaceRequest names a workspace.
type WorkspaceRequest struct {
	WorkspaceID string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
}

// WorkspaceSeed says what a workspace was created from. It never changes.
type WorkspaceSeed struct {
	Mode         SeedMode `json:"mode" doc:"empty, directory or archive"`
	SeedPath     string   `json:"seed_path,omitempty" doc:"the host path it was read from"`
	Destination  string   `json:"destination" doc:"where it was put in the sandbox"`
	EntryCount   int      `json:"entry_count" doc:"files, folders and links"`
	BytesWritten int64    `json:"bytes_written" doc:"bytes of file data"`
}

// Recovery tells that a sandbox was lost and what its workspace came back with.
type Recovery struct {
	Reason     string    `json:"reason" doc:"why the sandbox was lost"`
	LostAt     time.Time `json:"lost_at" doc:"when that was noticed"`
	Source     string    `json:"source" doc:"what it comes back from: autosave, baseline or snapshot"`
	SavedAt    time.Time `json:"saved_at" doc:"when that state was saved; later changes are lost"`
	RestoredAt time.Time `json:"restored_at,omitzero" doc:"when it was restored; absent until the next use of the workspace does that"`
}

// Workspace describes a workspace.
type Workspace struct {
	WorkspaceID         string            `json:"workspace_id" doc:"id of the workspace, kept for life"`
	Name                string            `json:"name,omitempty" doc:"its name, if it has one"`
	Labels              map[string]string `json:"labels,omitempty" doc:"its labels"`
	Environment         string            `json:"environment" doc:"its environment"`
	State               WorkspaceState    `json:"state" doc:"started or stopped; a stopped one is started by its next use"`
	WorkspacePath       string            `json:"workspace_path" doc:"where its files are in the sandbox"`
	ExecutionMode       ExecutionMode     `json:"execution_mode" doc:"where commands run: guest_gvisor, guest_vsock or guest_serial"`
	VCPUCount           int               `json:"vcpu_count" doc:"virtual CPUs"`
	MemMiB              int               `json:"mem_mib" doc:"memory limit in MiB"`
	DiskMiB             int               `json:"disk_mib" doc:"disk limit in MiB, for /workspace and again for the rest"`
	PIDLimit            int               `json:"pid_limit" doc:"limit of processes and threads"`
	Network             bool              `json:"network" doc:"whether it has outbound network"`
	NetworkPolicy       string            `json:"network_policy,omitempty" doc:"what that lets through: egress, or allowlist for what the rules of its policy name"`
	TTLSeconds          int               `json:"ttl_seconds" doc:"life time in seconds, 0 for no end"`
	ExpiresAt           time.Time         `json:"expires_at,omitzero" doc:"when it will be deleted; absent if never"`
	CommandCount        int               `json:"command_count" doc:"commands in the log, since creation or the last reset"`
	WorkspaceSeed       WorkspaceSeed     `json:"workspace_seed" doc:"what it was created from"`
	ServiceCount        int               `json:"service_count" doc:"services it knows"`
	RunningServiceCount int               `json:"running_service_count" doc:"services that run"`
	SnapshotCount       int               `json:"snapshot_count" doc:"named snapshots, the baseline not counted"`
	ResetCount          int               `json:"reset_count" doc:"how often it was reset"`
	LastResetAt         time.Time         `json:"last_reset_at,omitzero" doc:"when it was last reset"`
	LastActivityAt      time.Time         `json:"last_activity_at" doc:"when it was last used"`
	CreatedAt           time.Time         `json:"created_at" doc:"when it was created"`
	SavedAt             time.Time         `json:"saved_at,omitzero" doc:"when its disk was last saved; absent while it is as at its baseline or last reset"`
	DiskBytes           int64             `json:"disk_bytes" doc:"what it takes on the host's disk: seed, saves, snapshots and the command log"`
	SaveError           *Error            `json:"save_error,omitempty" doc:"why its disk could not be saved the last time; it is tried again"`
	Recovery            *Recovery         `json:"recovery,omitempty" doc:"the last time its sandbox was lost, if it was since the last reset"`
	Secrets             []SecretInfo      `json:"secrets" doc:"the secrets it was created with, by name; their values are never shown"`
	Notice              string            `json:"notice,omitempty" doc:"what to know of the isolation, for example that it is emulated; only in the answers to its creation and to a reset with a runtime"`
	Warnings            []Warning         `json:"warnings,omitempty" doc:"what of the seed is not as on the host; only in the answer to its creation"`
	WarningsDropped     int               `json:"warnings_dropped,omitempty" doc:"warnings beyond the first 1,000"`
}

// Warning is about one file that is not copied as it is.
type Warning struct {
	Path   string `json:"path" doc:"relative to what is copied; invalid UTF-8 replaced"`
	Reason string `json:"reason" doc:"what is different about it"`
}

// ListWorkspacesRequest asks for the workspaces.
type ListWorkspacesRequest struct {
	Labels map[string]string `json:"labels,omitempty" cli:"label" doc:"only those with all of these labels, KEY=VALUE on the command line"`
}

// UpdateWorkspaceRequest changes what a workspace is called and found by.
type UpdateWorkspaceRequest struct {
	WorkspaceID string            `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	Name        string            `json:"name,omitempty" cli:"name" doc:"its new name"`
	ClearName   bool              `json:"clear_name,omitempty" cli:"clear-name" doc:"take its name away"`
	Labels      map[string]string `json:"labels,omitempty" cli:"label" doc:"labels to set, KEY=VALUE on the command line; the others stay"`
	ClearLabels []string          `json:"clear_labels,omitempty" cli:"clear-label" doc:"keys of labels to take away"`
}

// WorkspaceList answers ListWorkspaces.
type WorkspaceList struct {
	Workspaces []Workspace `json:"workspaces" doc:"the workspaces, oldest first"`
}

// ExecWorkspaceRequest runs a command in a workspace.
type ExecWorkspaceRequest struct {
	WorkspaceID    string    `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	Command        []string  `json:"command" cli:"CMD,rest" doc:"the command and its arguments"`
	TimeoutSeconds int       `json:"timeout_seconds,omitempty" cli:"timeout-seconds" default:"30" doc:"seconds after which the command is ended"`
	Cwd            string    `json:"cwd,omitempty" cli:"cwd" default:"/workspace" doc:"folder to run it in; relative to /workspace"`
	SecretEnv      SecretEnv `json:"secret_env,omitempty" cli:"secret-env" doc:"secrets for the command: name to variable, empty for the same name"`
}

// CommandState says how far a command of the log has come.
type CommandState string

// The states of a command.
const (
	CommandRunning CommandState = "running"
	CommandExited  CommandState = "exited"
	// CommandLost: pyro cannot tell how it ended, because its background
	// process or the sandbox went away first.
	CommandLost CommandState = "lost"
)

// LogsWorkspaceRequest asks for the command log.
type LogsWorkspaceRequest struct {
	WorkspaceID string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	Sequence    int    `json:"sequence,omitempty" cli:"sequence" doc:"only this command"`
	Last        int    `json:"last,omitempty" cli:"last" doc:"only that many of the newest commands; 0 is all"`
	MaxBytes    int    `json:"max_bytes,omitempty" cli:"max-bytes" default:"65536" doc:"bytes of each stdout and stderr in the answer, the middle is left out of more; at most 1 MiB, and less in the answer about very many commands"`
}

// Command is an entry of the command log.
type Command struct {
	Sequence        int          `json:"sequence" doc:"1 for the first command since creation or reset, in the order of their starts"`
	Command         []string     `json:"command" doc:"the command and its arguments"`
	Cwd             string       `json:"cwd" doc:"folder it ran in"`
	State           CommandState `json:"state" doc:"running, exited or lost"`
	ExitCode        *int         `json:"exit_code" doc:"its exit code, null unless it has exited; 124 after the time limit, 128+n after signal n"`
	StartedAt       time.Time    `json:"started_at" doc:"when it was started"`
	DurationMS      int64        `json:"duration_ms" doc:"milliseconds it ran"`
	Stdout          string       `json:"stdout" doc:"its output, invalid UTF-8 replaced, cut in the middle when longer than asked for"`
	Stderr          string       `json:"stderr" doc:"its error output, likewise"`
	StdoutBytes     int64        `json:"stdout_bytes" doc:"bytes it wrote to stdout"`
	StderrBytes     int64        `json:"stderr_bytes" doc:"bytes it wrote to stderr"`
	StdoutTruncated bool         `json:"stdout_truncated" doc:"stdout is not whole in this answer"`
	StderrTruncated bool         `json:"stderr_truncated" doc:"stderr is not whole in this answer"`
	StdoutPath      string       `json:"stdout_path,omitempty" doc:"host file with what is kept of stdout: up to 64 MiB of a command, 1 GiB of a workspace"`
	StderrPath      string       `json:"stderr_path,omitempty" doc:"host file with what is kept of stderr, likewise"`
	Limit           *Error       `json:"limit,omitempty" doc:"the limit that ended or hindered it, or why it was lost"`
}

// CommandLog answers LogsWorkspace.
type CommandLog struct {
	WorkspaceID string    `json:"workspace_id" doc:"id of the workspace"`
	Commands    []Command `json:"commands" doc:"the commands in the order of their starts"`
	Count       int       `json:"count" doc:"commands in the whole log"`
}

// DeletedWorkspace answers DeleteWorkspace.
type DeletedWorkspace struct {
	WorkspaceID string `json:"workspace_id" doc:"id of the workspace, which is gone"`
	Deleted     bool   `json:"deleted" doc:"always true"`
	BytesFreed  int64  `json:"bytes_freed" doc:"bytes freed on the host's disk"`
}

// PushRequest puts host content into a workspace.
type PushRequest struct {
	WorkspaceID string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	SourcePath  string `json:"source_path" cli:"SRC,arg,hostpath" doc:"folder or archive (.tar, .tar.gz, .tgz, .tar.zst) on the host"`
	Dest        string `json:"dest,omitempty" cli:"dest" default:"/workspace" doc:"folder to put it in, below /workspace; made if absent"`
	Strict      bool   `json:"strict,omitempty" cli:"strict" doc:"fail if something cannot be copied, instead of a warning"`
}

// PushResult says what a push did.
type PushResult struct {
	WorkspaceID     string        `json:"workspace_id" doc:"id of the workspace"`
	ExecutionMode   ExecutionMode `json:"execution_mode" doc:"where its commands run"`
	Mode            SeedMode      `json:"mode" doc:"directory or archive"`
	SourcePath      string        `json:"source_path" doc:"what was read"`
	Destination     string        `json:"destination" doc:"where it was put"`
	EntryCount      int           `json:"entry_count" doc:"files, folders and links of the source"`
	FileCount       int           `json:"file_count" doc:"files of the source"`
	Bytes           int64         `json:"bytes" doc:"bytes of file data of the source"`
	SentEntries     int           `json:"sent_entries" doc:"entries that differed from what the workspace held and were written"`
	SentBytes       int64         `json:"sent_bytes" doc:"bytes of file data written"`
	DurationMS      int64         `json:"duration_ms" doc:"milliseconds it took"`
	Warnings        []Warning     `json:"warnings,omitempty" doc:"what is not as on the host"`
	WarningsDropped int           `json:"warnings_dropped,omitempty" doc:"warnings beyond the first 1,000"`
}

// ResetRequest throws a workspace back to a state.
type ResetRequest struct {
	WorkspaceID string  `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	Snapshot    string  `json:"snapshot,omitempty" cli:"snapshot" default:"baseline" doc:"name of the snapshot to go back to"`
	Runtime     Runtime `json:"runtime,omitempty" cli:"runtime" default:"auto" doc:"which isolation to go on with; auto is the one it has"`
}

// ResetResult says what a reset did.
type ResetResult struct {
	Workspace
	RestoredSnapshot string `json:"restored_snapshot" doc:"the snapshot it was reset to"`
}

// ExportRequest takes a file or folder out of a workspace.
type ExportRequest struct {
	WorkspaceID string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	Path        string `json:"path" cli:"PATH,arg" doc:"file or folder; absolute below /workspace, or relative to it"`
	OutputPath  string `json:"output_path" cli:"output,hostpath,dash" doc:"host path to make, which must not exist; on the command line - writes a tar to stdout"`
}

// ExportTarRequest takes a file or folder out of a workspace as a tar.
type ExportTarRequest struct {
	WorkspaceID string `json:"workspace_id" doc:"id of the workspace"`
	Path        string `json:"path" doc:"file or folder; absolute below /workspace, or relative to it"`
}

// ExportResult says what was exported.
type ExportResult struct {
	WorkspaceID     string    `json:"workspace_id" doc:"id of the workspace"`
	Path            string    `json:"path" doc:"the file or folder in the workspace"`
	OutputPath      string    `json:"output_path" doc:"the host path that was made"`
	ArtifactType    string    `json:"artifact_type" doc:"file or directory"`
	EntryCount      int       `json:"entry_count" doc:"files, folders and links"`
	FileCount       int       `json:"file_count" doc:"files"`
	BytesWritten    int64     `json:"bytes_written" doc:"bytes of file data"`
	Warnings        []Warning `json:"warnings,omitempty" doc:"what is not as in the workspace"`
	WarningsDropped int       `json:"warnings_dropped,omitempty" doc:"warnings beyond the first 1,000"`
}

var workspaceErrors = []Kind{KindNotFound, KindConflict, KindUnavailable, KindVerification, KindStorage, KindSandboxDied, KindReset, KindCanceled}

// The operations on workspaces.
var (
	CreateWorkspace = eventCall[CreateWorkspaceRequest, Progress, Workspace](Operation{
		Name: "create_workspace", CLI: "workspace create", MCP: "workspace_create", Python: "create_workspace", Group: "Workspaces",
		Summary: "Create a workspace and start it",
		Doc: "Makes a sandbox of the environment that stays until it is deleted, with the content of `seed_path` in `/workspace`. " +
			"That state is the baseline: the base of every diff, and where a reset goes back to. An environment that is not installed is pulled first. " +
			"Files of a folder that cannot be read are left out with a warning.",
		Effect: Changes, Errors: append([]Kind{KindUnsafe, KindPermission}, sandboxErrors...),
		Example: "pyro workspace create debian:12 --seed-path ./my-project",
	})
	ListWorkspaces = call[ListWorkspacesRequest, WorkspaceList](Operation{
		Name: "list_workspaces", CLI: "workspace list", MCP: "workspace_list", Python: "list_workspaces", Group: "Workspaces",
		Summary: "List the workspaces", Effect: Reads, Example: "pyro workspace list --label project=api",
	})
	UpdateWorkspace = call[UpdateWorkspaceRequest, Workspace](Operation{
		Name: "update_workspace", CLI: "workspace update", MCP: "workspace_update", Python: "update_workspace", Group: "Workspaces",
		Summary: "Change the name and the labels of a workspace",
		Doc: "A name stands for the id wherever one is asked for, and no two workspaces have the same. All of the changes are made or none. " +
			"Reset, snapshots and the sandbox know nothing of them.",
		Effect: Changes, Errors: []Kind{KindNotFound, KindConflict, KindStorage}, Example: "pyro workspace update ws-0123456789ab --name api --label project=api",
	})
	StatusWorkspace = call[WorkspaceRequest, Workspace](Operation{
		Name: "status_workspace", CLI: "workspace status", MCP: "workspace_status", Python: "status_workspace", Group: "Workspaces",
		Summary: "Show a workspace", Effect: Reads, Errors: []Kind{KindNotFound}, Example: "pyro workspace status ws-0123456789ab",
	})
	ExecWorkspace = call[ExecWorkspaceRequest, ExecResult](Operation{
		Name: "exec_workspace", CLI: "workspace exec", MCP: "workspace_exec", Python: "exec_workspace", Group: "Workspaces",
		Summary: "Run a command in a workspace",
		Doc: "Runs the command as root and records it in the command log. Output is streamed. A stopped workspace is started first. " +
			"Commands may run at the same time. What they leave in the background stays, but for what the time limit ends.",
		Effect: Changes, Mode: ModeExec, Errors: append([]Kind{KindTimeout, KindMemoryLimit, KindDiskLimit, KindPIDLimit, KindExec}, workspaceErrors...),
		Example: "pyro workspace exec ws-0123456789ab -- make test",
	})
	LogsWorkspace = call[LogsWorkspaceRequest, CommandLog](Operation{
		Name: "logs_workspace", CLI: "workspace logs", MCP: "workspace_logs", Python: "logs_workspace", Group: "Workspaces",
		Summary: "Show the command log of a workspace",
		Doc:     "Every command since creation or the last reset with its exit code and output. Diffs, exports, shells and services are not in it.",
		Effect:  Reads, Errors: []Kind{KindNotFound, KindStorage}, Example: "pyro workspace logs ws-0123456789ab",
	})
	PushWorkspaceSync = call[PushRequest, PushResult](Operation{
		Name: "push_workspace_sync", CLI: "workspace sync push", MCP: "workspace_sync_push", Python: "push_workspace_sync", Group: "Workspaces",
		Summary: "Put a folder or archive of the host into a workspace",
		Doc: "Adds and overwrites; nothing is deleted. All or nothing: after an error the workspace is as it was. " +
			"Only what differs from what the workspace holds is sent. The baseline stays as it is.",
		Effect: Changes, Errors: append([]Kind{KindUnsafe, KindPermission, KindDiskLimit}, workspaceErrors...),
		Example: "pyro workspace sync push ws-0123456789ab ./src --dest src",
	})
	ResetWorkspace = call[ResetRequest, ResetResult](Operation{
		Name: "reset_workspace", CLI: "workspace reset", MCP: "workspace_reset", Python: "reset_workspace", Group: "Workspaces",
		Summary: "Throw a workspace back to its baseline or a snapshot",
		Doc: "Makes the whole sandbox anew, system files and `/tmp` included, with the state of the snapshot. The command log is cleared; id, baseline and snapshots stay. " +
			"Calls that were running end with an error of kind reset. A reset that fails leaves everything as it was. " +
			"With `runtime` the workspace goes on in another isolation, and stays in it: baseline and snapshots serve both, whichever took them.",
		Effect: Destroys, Errors: append([]Kind{KindNotInstalled, KindUnsupported, KindNetwork, KindDiskLimit, KindUnsafe}, workspaceErrors...), Example: "pyro workspace reset ws-0123456789ab",
	})
	ExportWorkspace = call[ExportRequest, ExportResult](Operation{
		Name: "export_workspace", CLI: "workspace export", MCP: "workspace_export", Python: "export_workspace", Group: "Workspaces",
		Summary: "Copy a file or folder from a workspace to the host",
		Doc:     "The host path must not exist; it appears whole or not at all. Links that lead out of `/workspace` are never followed.",
		Effect:  Reads, Errors: append([]Kind{KindUnsafe, KindPermission, KindDiskLimit}, workspaceErrors...),
		Example: "pyro workspace export ws-0123456789ab dist --output ./dist",
	})
	ExportWorkspaceTar = call[ExportTarRequest, ExecResult](Operation{
		Name: "export_workspace_tar", Group: "Workspaces",
		Summary: "Write a file or folder of a workspace as a tar",
		Doc:     "The tar is the stdout of the stream; see `pyro workspace export --output -`.",
		Effect:  Reads, Mode: ModeExec, Errors: append([]Kind{KindUnsafe, KindDiskLimit}, workspaceErrors...),
		Example: "pyro workspace export ws-0123456789ab dist --output -",
	})
	StopWorkspace = call[WorkspaceRequest, Workspace](Operation{
		Name: "stop_workspace", CLI: "workspace stop", MCP: "workspace_stop", Python: "stop_workspace", Group: "Workspaces",
		Summary: "Save a workspace and end its sandbox",
		Doc:     "Frees its memory; its disk is kept. Running commands are ended. The next use starts it again.",
		Effect:  Changes, Errors: workspaceErrors, Example: "pyro workspace stop ws-0123456789ab",
	})
	StartWorkspace = call[WorkspaceRequest, Workspace](Operation{
		Name: "start_workspace", CLI: "workspace start", MCP: "workspace_start", Python: "start_workspace", Group: "Workspaces",
		Summary: "Start a stopped workspace",
		Doc:     "Every use of a stopped workspace does that by itself. Starting a started one is not an error.",
		Effect:  Changes, Errors: workspaceErrors, Example: "pyro workspace start ws-0123456789ab",
	})
	DeleteWorkspace = call[WorkspaceRequest, DeletedWorkspace](Operation{
		Name: "delete_workspace", CLI: "workspace delete", MCP: "workspace_delete", Python: "delete_workspace", Group: "Workspaces",
		Summary: "Delete a workspace with its snapshots and its log", Doc: "Ends the sandbox and whatever runs in it, and frees everything.",
		Effect: Destroys, Errors: []Kind{KindNotFound, KindStorage}, Example: "pyro workspace delete ws-0123456789ab",
	})
)
