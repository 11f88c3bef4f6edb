package wire

// The methods of services: long-running processes that the agent watches over.
// A service is named by the caller, see [ValidName].
const (
	ServiceStart  Method = "service_start"  // ServiceStartParams -> ServiceInfo
	ServiceList   Method = "service_list"   // nothing -> ServiceListResult
	ServiceStatus Method = "service_status" // ServiceParams -> ServiceInfo
	ServiceStop   Method = "service_stop"   // ServiceStopParams -> ServiceInfo
	ServiceLogs   Method = "service_logs"   // ServiceLogsParams -> ServiceLogsResult
)

// ServiceParams names a service.
type ServiceParams struct {
	Name string `json:"name"`
}

// ServiceStartParams describe a service. Name and Argv are required.
//
// The answer comes when the service is ready or its start has failed. A failed
// start is not an error of the call: it is a ServiceInfo in the state failed,
// whose logs can be read. A name that is in use by a service that runs is an
// error of kind conflict; one that has ended is replaced, log and all.
type ServiceStartParams struct {
	Name string   `json:"name"`
	Argv []string `json:"argv"`
	// Cwd is the working folder, /workspace by default.
	Cwd string `json:"cwd,omitempty"`
	// Env is added to PATH, HOME and LANG, as KEY=VALUE; later ones win.
	Env []string `json:"env,omitempty"`
	// Probe says when the service is ready. Without one it is ready as soon as
	// its command runs.
	Probe *Probe `json:"probe,omitempty"`
	// TimeoutMS bounds the wait for readiness, 30 s by default; IntervalMS is
	// the time between two probes, 500 ms by default. The first ones come sooner
	// after one another, from 10 ms on.
	TimeoutMS  int64 `json:"timeout_ms,omitempty"`
	IntervalMS int64 `json:"interval_ms,omitempty"`
	// Restart is RestartNo, the default, or RestartOnFailure.
	Restart string `json:"restart,omitempty"`
	// LogBytes is how much of the newest output is kept, 8 MiB by default.
	LogBytes int64 `json:"log_bytes,omitempty"`
}

// What happens when a service that was ready ends with another code than 0.
const (
	RestartNo        = "no"
	RestartOnFailure = "on-failure" // start it again after 0.1 s, 0.2 s, ... 30 s
)

// Probe is how readiness is found out, inside the guest.
type Probe struct {
	Type string `json:"type"` // one of the Probe constants, which name the field to set
	// Path of a file that must exist; relative to the service's Cwd.
	Path string `json:"path,omitempty"`
	// Address, HOST:PORT, that must accept a TCP connection.
	Address string `json:"address,omitempty"`
	// URL, http only, that must answer a GET with a status from 200 to 399.
	URL string `json:"url,omitempty"`
	// Command for sh -c, in the service's Cwd and Env, that must exit with 0.
	Command string `json:"command,omitempty"`
}

// The types of probes.
const (
	ProbeFile    = "file"
	ProbeTCP     = "tcp"
	ProbeHTTP    = "http"
	ProbeCommand = "command"
)

// The states of a service. In the last three nothing of it runs any more.
const (
	ServiceStarting = "starting" // not ready yet, or waiting for a restart
	ServiceRunning  = "running"
	ServiceFailed   = "failed"  // see LastError
	ServiceExited   = "exited"  // by itself with exit code 0
	ServiceStopped  = "stopped" // by ServiceStop
)

// ServiceInfo is what the agent knows of a service.
type ServiceInfo struct {
	Name  string   `json:"name"`
	Argv  []string `json:"argv"` // its first 2 KiB
	Cwd   string   `json:"cwd"`
	State string   `json:"state"`
	// ExitCode of the newest process that has ended, 128+n for signal n.
	ExitCode *int `json:"exit_code,omitempty"`
	PID      int  `json:"pid,omitempty"` // 0 if no process runs
	// Times are Unix times in milliseconds, of the newest process; 0 is never.
	StartedAt int64 `json:"started_at_ms"`
	ReadyAt   int64 `json:"ready_at_ms,omitempty"`
	EndedAt   int64 `json:"ended_at_ms,omitempty"`
	Restarts  int   `json:"restarts"`
	// LastError says why the newest start or process failed, LastErrorKind is
	// KindExec, KindTimeout or KindPIDLimit where that is the reason.
	LastError     string `json:"last_error,omitempty"`
	LastErrorKind Kind   `json:"last_error_kind,omitempty"`
	Probe         *Probe `json:"probe,omitempty"`
}

// ServiceListResult lists the services by name.
type ServiceListResult struct {
	Services []ServiceInfo `json:"services"`
}

// ServiceStopParams end a service. The answer comes when nothing of it runs any
// more. One that has ended already stays as it is.
type ServiceStopParams struct {
	Name string `json:"name"`
	// GraceMS is the time between SIGTERM and SIGKILL; nil is 5 s.
	GraceMS *int64 `json:"grace_ms,omitempty"`
}

// ServiceLogsParams ask for output.
type ServiceLogsParams struct {
	Name string `json:"name"`
	// Cursor is the first byte wanted: both streams are counted together.
	Cursor int64 `json:"cursor"`
	// TailLines, if it is not nil, asks for the newest lines instead.
	TailLines *int `json:"tail_lines,omitempty"`
	// Max is the most bytes of output to return, MaxData by default and at most.
	Max int `json:"max,omitempty"`
	// WaitMS is how long to wait for a first record; 0 does not wait.
	WaitMS int64 `json:"wait_ms,omitempty"`
}

// ServiceLogsResult is a piece of output.
type ServiceLogsResult struct {
	// Cursor, NextCursor and Dropped are as in [ShellReadResult].
	Cursor     int64       `json:"cursor"`
	NextCursor int64       `json:"next_cursor"`
	Dropped    int64       `json:"dropped,omitempty"`
	Records    []LogRecord `json:"records"`
	State      string      `json:"state"`
	CursorEnd  int64       `json:"cursor_end"`
}

// LogRecord is output that a service wrote at one time to one stream.
type LogRecord struct {
	Stream string `json:"stream"` // stdout or stderr
	AtMS   int64  `json:"at_ms"`  // Unix time in milliseconds
	Cursor int64  `json:"cursor"` // of the first byte of Data
	Data   []byte `json:"data"`
}
