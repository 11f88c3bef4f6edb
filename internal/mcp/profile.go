package mcp

import (
	"reflect"
	"slices"
	"strings"

	"pyro/api"
)

// Profile is a choice of tools.
type Profile struct {
	// Name is what users type. Doc says in a phrase what it is for.
	Name, Doc string
	// Tools are the names of the tools; nil means every row with an MCP name.
	Tools []string
	// Fields lists the arguments that a tool takes, by tool; the others are
	// refused. A tool that is not listed takes all of them.
	Fields map[string][]string
	// Brief shortens descriptions to their first sentence and output schemas
	// to the fields that steer what a model does next.
	Brief bool
}

// DefaultProfile is the profile of a server that is not told one.
const DefaultProfile = "workspace-core"

// runFields are the arguments of a command in a fresh sandbox that a model has
// a use for.
var runFields = []string{"environment", "command", "timeout_seconds", "network", "mem_mib"}

// Profiles returns the profiles, the smallest first.
func Profiles() []Profile {
	return []Profile{
		{
			Name: "vm-run", Doc: "one command at a time, each in a fresh sandbox",
			Tools:  []string{api.RunInVM.MCP, api.ListEnvironments.MCP},
			Fields: map[string][]string{api.RunInVM.MCP: runFields},
			Brief:  true,
		},
		{
			Name: DefaultProfile, Doc: "work in workspaces that are reset rather than repaired",
			Tools: []string{
				api.CreateWorkspace.MCP, api.ListWorkspaces.MCP, api.ExecWorkspace.MCP, api.LogsWorkspace.MCP, api.PushWorkspaceSync.MCP,
				api.ReadWorkspaceFile.MCP, api.WriteWorkspaceFile.MCP, api.ApplyWorkspacePatch.MCP,
				api.DiffWorkspace.MCP, api.ExportWorkspace.MCP, api.CreateSnapshot.MCP, api.ListSnapshots.MCP,
				api.ResetWorkspace.MCP, api.StatusWorkspace.MCP, api.DeleteWorkspace.MCP,
				api.RunInVM.MCP, api.ListEnvironments.MCP,
			},
			Fields: map[string][]string{
				api.CreateWorkspace.MCP:     {"environment", "seed_path", "network", "mem_mib"},
				api.PushWorkspaceSync.MCP:   {"workspace_id", "source_path", "dest"},
				api.ListWorkspaces.MCP:      {},
				api.ReadWorkspaceFile.MCP:   {"workspace_id", "path", "start_line", "max_lines"},
				api.WriteWorkspaceFile.MCP:  {"workspace_id", "path", "content", "expected_sha256"},
				api.ApplyWorkspacePatch.MCP: {"workspace_id", "patch"},
				api.ResetWorkspace.MCP:      {"workspace_id", "snapshot"},
				api.RunInVM.MCP:             runFields,
			},
			Brief: true,
		},
		{Name: "workspace-full", Doc: "every tool with every argument"},
	}
}

// briefly lists the fields of results that a brief output schema describes. Of
// other types it describes those that are always there.
var briefly = map[reflect.Type][]string{
	reflect.TypeFor[api.Workspace]():       {"workspace_id", "state", "workspace_path", "execution_mode", "command_count"},
	reflect.TypeFor[createAnswer]():        {"workspace_id", "state", "workspace_path", "execution_mode", "project_source"},
	reflect.TypeFor[api.ResetResult]():     {"restored_snapshot", "reset_count"},
	reflect.TypeFor[commandAnswer]():       {"state", "exit_code", "stdout", "stderr", "sequence", "limit"},
	reflect.TypeFor[api.Diff]():            {"changed", "summary", "entries", "patch"},
	reflect.TypeFor[api.PushResult]():      {"destination", "file_count", "sent_entries"},
	reflect.TypeFor[api.ExportResult]():    {"output_path", "artifact_type", "file_count"},
	reflect.TypeFor[api.WorkspaceList]():   {"workspaces"},
	reflect.TypeFor[api.FileList]():        {"entries", "next_cursor"},
	reflect.TypeFor[api.FileContent]():     {"content", "encoding", "truncated", "sha256"},
	reflect.TypeFor[api.WrittenFile]():     {"created", "sha256"},
	reflect.TypeFor[api.PatchResult]():     {"files"},
	reflect.TypeFor[api.Snapshot]():        {"snapshot_name"},
	reflect.TypeFor[api.SnapshotList]():    {"snapshots"},
	reflect.TypeFor[api.CommandLog]():      {"commands", "count"},
	reflect.TypeFor[api.EnvironmentList](): {"environments"},
}

// findProfile returns the profile of that name.
func findProfile(name string) (Profile, error) {
	if name == "" {
		name = DefaultProfile
	}
	var names []string
	for _, p := range Profiles() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Profile{}, api.Errorf(api.KindUsage, "profile %q does not exist", name).WithHint("use one of: %s", strings.Join(names, ", "))
}

// rows returns the rows of the profile's tools.
func (p Profile) rows() []*api.Operation {
	return slices.DeleteFunc(api.Operations(), func(op *api.Operation) bool { return !p.offers(op) })
}

// offers reports whether the profile has the tool of a row.
func (p Profile) offers(op *api.Operation) bool {
	return op.MCP != "" && (p.Tools == nil || slices.Contains(p.Tools, op.MCP))
}

// takes reports whether a tool of the profile takes an argument.
func (p Profile) takes(op *api.Operation, field string) bool {
	fields, narrowed := p.Fields[op.MCP]
	return !narrowed || slices.Contains(fields, field)
}

// words returns a function that says "pyro workspace logs" as the tool's name
// where the profile has that tool: texts of the table and messages name commands,
// and a model has tools.
func (p Profile) words() func(string) string {
	rows := p.rows()
	slices.SortFunc(rows, func(a, b *api.Operation) int { return len(b.CLI) - len(a.CLI) })
	var pairs []string
	for _, op := range rows {
		if op.CLI != "" {
			pairs = append(pairs, "pyro "+op.CLI+" ", op.MCP+" ")
		}
	}
	replace := strings.NewReplacer(pairs...)
	return func(text string) string {
		return strings.TrimSuffix(replace.Replace(text+" "), " ")
	}
}

// phrasing says hints of errors as calls of the profile's tools. What names a
// command for which there is no tool, or an argument that the tool does not take,
// stays as it is: it is for the people whose host it is.
func (p Profile) phrasing() api.Phrasing {
	return api.Phrasing{
		Command: func(m api.Mention) (string, bool) {
			if !p.offers(m.Operation) {
				return "", false
			}
			var args []string
			for _, a := range m.Args {
				value, ok := a.JSON()
				if !ok || !p.takes(m.Operation, a.Name) {
					return "", false
				}
				args = append(args, a.Name+"="+value)
			}
			if len(args) == 0 {
				return m.MCP, true
			}
			return m.MCP + "(" + strings.Join(args, ", ") + ")", true
		},
		Flag: func(op *api.Operation, param api.Param) (string, bool) {
			return param.Name, p.offers(op) && p.takes(op, param.Name)
		},
	}
}
