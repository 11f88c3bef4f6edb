package api

import "time"

// ServiceState is the state of a service.
type ServiceState string

// The states of a service.
const (
	ServiceStarting ServiceState = "starting" // runs, but is not ready yet
	ServiceRunning  ServiceState = "running"
	ServiceFailed   ServiceState = "failed"  // never became ready, or ended with an error
	ServiceExited   ServiceState = "exited"  // ended by itself with exit code 0
	ServiceStopped  ServiceState = "stopped" // was told to stop
)

// RestartPolicy says whether a service is started again when it ends.
type RestartPolicy string

// The restart policies.
const (
	RestartNo        RestartPolicy = "no"
	RestartOnFailure RestartPolicy = "on-failure"
)

// Values lists the allowed values.
func (RestartPolicy) Values() []string { return []string{"no", "on-failure"} }

// ReadinessType is the kind of a probe.
type ReadinessType string

// The kinds of probes.
const (
	ReadyFile    ReadinessType = "file"
	ReadyTCP     ReadinessType = "tcp"
	ReadyHTTP    ReadinessType = "http"
	ReadyCommand ReadinessType = "command"
)

// Readiness is a probe that says when a service is ready. It runs in the sandbox.
type Readiness struct {
	Type    ReadinessType `json:"type" doc:"file, tcp, http or command"`
	Path    string        `json:"path,omitempty" doc:"of file: the file that must exist; relative to the service's folder"`
	Address string        `json:"address,omitempty" doc:"of tcp: HOST:PORT that must take a connection"`
	URL     string        `json:"url,omitempty" doc:"of http: a GET must be answered with 2xx or 3xx"`
	Command string        `json:"command,omitempty" doc:"of command: sh -c COMMAND must end with exit code 0"`
}

// StartServiceRequest starts a service in a workspace.
type StartServiceRequest struct {
	WorkspaceID         string        `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	ServiceName         string        `json:"service_name" cli:"NAME,arg" doc:"name of the service: 1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit"`
	Command             []string      `json:"command" cli:"CMD,rest" doc:"the command and its arguments"`
	Cwd                 string        `json:"cwd,omitempty" cli:"cwd" default:"/workspace" doc:"folder to run it in; relative to /workspace"`
	Env                 []string      `json:"env,omitempty" cli:"env" doc:"variables for it, NAME=VALUE"`
	SecretEnv           SecretEnv     `json:"secret_env,omitempty" cli:"secret-env" doc:"secrets for the service: name to variable, empty for the same name"`
	Readiness           *Readiness    `json:"readiness,omitempty" doc:"the probe; without one the service is ready as soon as it runs"`
	ReadyFile           string        `json:"ready_file,omitempty" cli:"ready-file" doc:"the same as a readiness of type file"`
	ReadyTCP            string        `json:"ready_tcp,omitempty" cli:"ready-tcp" doc:"the same as a readiness of type tcp, HOST:PORT"`
	ReadyHTTP           string        `json:"ready_http,omitempty" cli:"ready-http" doc:"the same as a readiness of type http"`
	ReadyCommand        string        `json:"ready_command,omitempty" cli:"ready-command" doc:"the same as a readiness of type command"`
	ReadyTimeoutSeconds int           `json:"ready_timeout_seconds,omitempty" cli:"ready-timeout-seconds" default:"30" doc:"seconds it may take to become ready"`
	ReadyIntervalMS     int           `json:"ready_interval_ms,omitempty" cli:"ready-interval-ms" default:"500" doc:"milliseconds between two probes; the first ones come sooner, from 10 ms on"`
	Publish             []string      `json:"publish,omitempty" cli:"publish" doc:"ports of it to publish on the host's loopback while it runs, [HOST_PORT:]GUEST_PORT; without HOST_PORT a free one is chosen"`
	Restart             RestartPolicy `json:"restart,omitempty" cli:"restart" default:"no" doc:"on-failure starts it again, ever more slowly, when it ends with an error"`
}

// ServiceRequest names a service.
type ServiceRequest struct {
	WorkspaceID string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	ServiceName string `json:"service_name" cli:"NAME,arg" doc:"name of the service"`
}

// Service describes a service.
type Service struct {
	WorkspaceID   string          `json:"workspace_id" doc:"id of the workspace"`
	ServiceName   string          `json:"service_name" doc:"its name"`
	State         ServiceState    `json:"state" doc:"starting, running, failed, exited or stopped"`
	Command       []string        `json:"command" doc:"the command and its arguments"`
	Cwd           string          `json:"cwd" doc:"folder it runs in"`
	Readiness     *Readiness      `json:"readiness" doc:"the probe, or null"`
	Restarts      int             `json:"restarts" doc:"how often it was started again"`
	StartedAt     time.Time       `json:"started_at" doc:"when it was last started"`
	ReadyAt       time.Time       `json:"ready_at,omitzero" doc:"when it was ready; absent if it never was"`
	EndedAt       time.Time       `json:"ended_at,omitzero" doc:"when it ended; absent while it runs"`
	ExitCode      *int            `json:"exit_code" doc:"its exit code once it has ended, 128+n after signal n, else null"`
	Published     []PublishedPort `json:"published,omitempty" doc:"its ports that are published on the host's loopback"`
	StopReason    string          `json:"stop_reason,omitempty" doc:"why it failed"`
	ExecutionMode ExecutionMode   `json:"execution_mode" doc:"where it runs"`
}

// PublishedPort is a port of the host's loopback that leads to one of a service.
type PublishedPort struct {
	HostPort  int `json:"host_port" doc:"port of 127.0.0.1 on the host"`
	GuestPort int `json:"guest_port" doc:"port in the sandbox"`
}

// ServiceList answers ListServices.
type ServiceList struct {
	WorkspaceID  string    `json:"workspace_id" doc:"id of the workspace"`
	Count        int       `json:"count" doc:"how many"`
	RunningCount int       `json:"running_count" doc:"how many of them run"`
	Services     []Service `json:"services" doc:"the services, sorted by name"`
}

// LogsServiceRequest reads the log of a service.
type LogsServiceRequest struct {
	WorkspaceID string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	ServiceName string `json:"service_name" cli:"NAME,arg" doc:"name of the service"`
	TailLines   *int   `json:"tail_lines,omitempty" cli:"tail-lines" doc:"only so many of the newest lines"`
	Cursor      *int64 `json:"cursor,omitempty" doc:"read from here on, and not the newest lines; next_cursor of an earlier answer"`
	MaxBytes    int    `json:"max_bytes,omitempty" cli:"max-bytes" default:"65536" doc:"bytes in the answer at most; at most 1 MiB"`
	WaitMS      int    `json:"wait_ms,omitempty" doc:"wait so many milliseconds for something behind the cursor, at most 60,000"`
}

// LogChunk is output of a service, in the order in which it was written.
type LogChunk struct {
	Stream string `json:"stream" doc:"stdout or stderr"`
	Text   string `json:"text" doc:"the output, invalid UTF-8 replaced"`
}

// ServiceLog answers LogsService.
type ServiceLog struct {
	WorkspaceID  string       `json:"workspace_id" doc:"id of the workspace"`
	ServiceName  string       `json:"service_name" doc:"name of the service"`
	State        ServiceState `json:"state" doc:"state of the service"`
	Stdout       string       `json:"stdout" doc:"its output, invalid UTF-8 replaced"`
	Stderr       string       `json:"stderr" doc:"its error output, likewise"`
	Chunks       []LogChunk   `json:"chunks" doc:"both, in the order in which they were written"`
	NextCursor   int64        `json:"next_cursor" doc:"where the next read goes on"`
	Truncated    bool         `json:"truncated" doc:"there was more before what is here, or there is more behind it"`
	DroppedBytes int64        `json:"dropped_bytes" doc:"bytes between the cursor asked for and the oldest that is kept"`
}

var serviceErrors = append([]Kind{KindExec}, workspaceErrors...)

// The operations on services.
var (
	StartService = call[StartServiceRequest, Service](Operation{
		Name: "start_service", CLI: "workspace service start", MCP: "service_start", Python: "start_service", Group: "Services",
		Summary: "Start a service in a workspace and wait until it is ready",
		Doc: "A service is a process that goes on running between calls, with a log. A probe that runs in the sandbox says when it is ready; " +
			"one that never succeeds, or a process that ends before, fails the start and leaves nothing running. " +
			"A service of the same name that does not run any more is replaced. Reset, stop and delete of the workspace end it.",
		Effect: Changes, Errors: append([]Kind{KindTimeout}, serviceErrors...),
		Example: "pyro workspace service start ws-0123456789ab web --ready-tcp 127.0.0.1:8080 -- python3 -m http.server 8080",
	})
	ListServices = call[WorkspaceRequest, ServiceList](Operation{
		Name: "list_services", CLI: "workspace service list", MCP: "service_list", Python: "list_services", Group: "Services",
		Summary: "List the services of a workspace", Effect: Reads, Errors: workspaceErrors, Example: "pyro workspace service list ws-0123456789ab",
	})
	StatusService = call[ServiceRequest, Service](Operation{
		Name: "status_service", CLI: "workspace service status", MCP: "service_status", Python: "status_service", Group: "Services",
		Summary: "Show a service", Effect: Reads, Errors: workspaceErrors, Example: "pyro workspace service status ws-0123456789ab web",
	})
	LogsService = call[LogsServiceRequest, ServiceLog](Operation{
		Name: "logs_service", CLI: "workspace service logs", MCP: "service_logs", Python: "logs_service", Group: "Services",
		Summary: "Show the log of a service", Doc: "The newest 8 MiB of its output are kept, of all its starts.",
		Effect: Reads, Errors: workspaceErrors, Example: "pyro workspace service logs ws-0123456789ab web --tail-lines 20",
	})
	StopService = call[ServiceRequest, Service](Operation{
		Name: "stop_service", CLI: "workspace service stop", MCP: "service_stop", Python: "stop_service", Group: "Services",
		Summary: "Stop a service", Doc: "Sends SIGTERM to all its processes, and SIGKILL to those that are left after 5 seconds. Stopping one that has ended is not an error.",
		Effect: Changes, Errors: workspaceErrors, Example: "pyro workspace service stop ws-0123456789ab web",
	})
)
