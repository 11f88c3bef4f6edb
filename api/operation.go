// Package api defines every operation of pyro once.
//
// An [Operation] is a row of one table: its request and result types, what it
// does to the world, the errors it can give, and its names on the three public
// surfaces (a path on the command line, an MCP tool, a Python method). The
// command line, the HTTP routes of the background process, the MCP schemas, the
// Python client and the reference documentation are derived from the rows;
// tests fail when a derived file is stale. A row states its names because the
// public ones do not follow from each other.
//
// # Requests
//
// A request is a struct whose fields carry their whole public description:
//
//	VCPUCount int `json:"vcpu_count" cli:"vcpu-count" default:"1" doc:"virtual CPUs"`
//
// The json tag names the field in HTTP, MCP and Python. The cli tag is the flag's
// name, or "NAME,arg" for a positional argument, "NAME,rest" for everything
// after "--", "-" for a field that the command line does not offer; ",hostpath"
// marks a path on the caller's host, ",dash" one that may be "-" for stdout,
// ",word=W" one that may be the word W instead of a path,
// ",empty" a required field that may be empty. A field without omitempty is
// required. A field whose type has a Values method is an enumeration. A field of
// pointer type is optional, and without a default tag nil when it was left out.
// [Params] takes the tags apart, and [DecodeRequest] fills in defaults and checks
// a request. The fields of results and events carry json and doc tags in the
// same way.
//
// # Modes
//
// ModeCall: one JSON request, one JSON answer. ModeEvents: the answer is a
// stream of JSON lines, {"event": E}..., then {"result": R} or {"error": X}.
// ModeExec: the caller may upgrade the connection to a two-way stream of
// frames (see stream.go) that carries stdin, signals and output as they come;
// without the upgrade it answers like ModeCall with bounded output.
package api

import "reflect"

// Version is pyro's version. Release builds set it with -ldflags -X.
var Version = "2.8.0-dev"

// Effect says what an operation does to the world.
type Effect string

// The effects, from harmless to final.
const (
	Reads    Effect = "reads"    // changes nothing
	Changes  Effect = "changes"  // creates or alters
	Destroys Effect = "destroys" // removes something that cannot be brought back
)

// Mode says how an operation talks; see the package comment.
type Mode string

// The modes.
const (
	ModeCall   Mode = "call"
	ModeEvents Mode = "events"
	ModeExec   Mode = "exec"
)

// Operation is one row of the table. Fields without a note are for every surface.
type Operation struct {
	// Name is the row's identity and its HTTP route: POST /v1/NAME.
	Name string
	// CLI is the command's path ("env pull"); empty if there is none.
	CLI string
	// MCP is the tool's name; empty if there is none.
	MCP string
	// Python is the method's name on Pyro; empty if there is none.
	Python string
	// Group is the heading in the reference.
	Group string
	// Summary is one line without a full stop; Doc says the rest, as Markdown.
	Summary, Doc string
	Effect       Effect
	Mode         Mode
	// Errors are the kinds a caller should expect beyond usage, internal and
	// daemon_unavailable, which every operation can give.
	Errors []Kind
	// Example is a command line a user can type.
	Example string

	// Request, Result and Event are the types of the row; Event is nil unless
	// Mode is ModeEvents.
	Request, Result, Event reflect.Type
}

// Call is a row with its types, for the Go client and the daemon.
type Call[Req, Res any] struct{ *Operation }

// EventCall is a row of ModeEvents with its types.
type EventCall[Req, Ev, Res any] struct{ *Operation }

func call[Req, Res any](op Operation) Call[Req, Res] {
	op.Request, op.Result = reflect.TypeFor[Req](), reflect.TypeFor[Res]()
	if op.Mode == "" {
		op.Mode = ModeCall
	}
	return Call[Req, Res]{&op}
}

func eventCall[Req, Ev, Res any](op Operation) EventCall[Req, Ev, Res] {
	op.Request, op.Result, op.Event = reflect.TypeFor[Req](), reflect.TypeFor[Res](), reflect.TypeFor[Ev]()
	op.Mode = ModeEvents
	return EventCall[Req, Ev, Res]{&op}
}

// Operations returns every row in the order of the reference. The rows are
// shared; callers must not change them.
func Operations() []*Operation {
	return []*Operation{
		RunInVM.Operation,
		CreateVM.Operation, StartVM.Operation, ExecVM.Operation, StopVM.Operation, DeleteVM.Operation,
		StatusVM.Operation, ListVMs.Operation, NetworkInfoVM.Operation, ReapExpired.Operation,
		CreateWorkspace.Operation, ListWorkspaces.Operation, StatusWorkspace.Operation, UpdateWorkspace.Operation, ExecWorkspace.Operation, LogsWorkspace.Operation,
		PushWorkspaceSync.Operation, DiffWorkspace.Operation,
		ListWorkspaceFiles.Operation, ReadWorkspaceFile.Operation, WriteWorkspaceFile.Operation, ApplyWorkspacePatch.Operation,
		LogNetwork.Operation, SuggestNetwork.Operation,
		CreateSnapshot.Operation, ListSnapshots.Operation, DeleteSnapshot.Operation, ResetWorkspace.Operation,
		ExportWorkspace.Operation, ExportWorkspaceTar.Operation,
		StopWorkspace.Operation, StartWorkspace.Operation, DeleteWorkspace.Operation,
		OpenShell.Operation, ListShells.Operation, ReadShell.Operation, WriteShell.Operation, ResizeShell.Operation,
		SignalShell.Operation, CloseShell.Operation,
		StartService.Operation, ListServices.Operation, StatusService.Operation, LogsService.Operation, StopService.Operation,
		ListEnvironments.Operation, PullEnvironment.Operation, InspectEnvironment.Operation,
		PruneEnvironments.Operation, ImportEnvironment.Operation,
		Doctor.Operation,
		DaemonStatus.Operation, DaemonStop.Operation,
	}
}

// Lookup returns the row called name, or nil.
func Lookup(name string) *Operation {
	for _, op := range Operations() {
		if op.Name == name {
			return op
		}
	}
	return nil
}

// Empty is the request or result of an operation that needs or says nothing.
type Empty struct{}
