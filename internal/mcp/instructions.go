package mcp

import (
	"fmt"
	"strings"

	"pyro/api"
)

// advice is a line of the instructions, for profiles that offer all of rows.
type advice struct {
	rows []*api.Operation
	text string
}

// instructions tell a model which tool is for what, in the tools it has.
func (s *Server) instructions() string {
	lines := []advice{
		{nil, "pyro runs commands in disposable Linux sandboxes, as root, apart from this host."},
		{ops(api.RunInVM.Operation), "- One command on its own: vm_run. Its sandbox is gone afterwards."},
		{ops(api.CreateWorkspace.Operation, api.ExecWorkspace.Operation), "- Work in several steps: workspace_create once (" + s.seedAdvice() + "), then workspace_exec as often as needed. Files stay between commands, shell variables and cd do not."},
		{ops(api.ListEnvironments.Operation), "- environment: debian:12 (with git) is a good start, debian:12-build has compilers, debian:12-base little; vm_list_environments lists all."},
		{nil, `- command is a list of words. For pipes, && or cd: ["sh", "-c", "cd src && make"].`},
		{nil, "- A command that exits with another code than 0 is a normal result: read exit_code, stdout and stderr. An error has kind, message and hint: do what the hint says instead of calling again."},
		{ops(api.ReadWorkspaceFile.Operation, api.WriteWorkspaceFile.Operation, api.ApplyWorkspacePatch.Operation), "- Files of a workspace: workspace_file_read, then workspace_patch_apply for changes and workspace_file_write for new ones; nothing has to be quoted for a shell."},
		{ops(api.ResetWorkspace.Operation, api.CreateSnapshot.Operation), "- Reset rather than repair: when an attempt failed or the system is broken, workspace_reset brings back the baseline or a snapshot within seconds; do not undo by hand. Take snapshot_create before what may go wrong."},
		{ops(api.DiffWorkspace.Operation), "- workspace_diff shows everything that changed in /workspace as a patch. Look at it before you say that you are done."},
		{ops(api.ExportWorkspace.Operation, api.PushWorkspaceSync.Operation), "- Only workspace_export brings files to the host, only workspace_sync_push brings later files of the host in."},
		{ops(api.ExecWorkspace.Operation, api.LogsWorkspace.Operation), fmt.Sprintf("- Give long commands a larger timeout_seconds. After %d s the answer is state running with a sequence; do something else, then ask workspace_logs for that sequence.", int(s.AnswerWithin.Seconds()))},
		{ops(api.OpenShell.Operation, api.StartService.Operation), "- A dialogue with a program: shell_open, shell_write, shell_read. A server that has to go on running: service_start with a readiness probe."},
		{nil, fmt.Sprintf("- Answers are cut to the head and tail of %d KiB; omitted says what is missing and where it is. Prefer commands that print little.", s.MaxText>>10)},
		{ops(api.DeleteWorkspace.Operation), "- workspace_delete when the work is done."},
	}
	var b strings.Builder
	for _, l := range lines {
		if s.offersAll(l.rows) {
			b.WriteString(l.text + "\n")
		}
	}
	return strings.TrimSpace(b.String())
}

// seedAdvice says how a project comes into a workspace.
func (s *Server) seedAdvice() string {
	if s.Project == "" {
		return "seed_path copies a folder of the host to /workspace"
	}
	return "it copies the project " + s.Project + " to /workspace, without files that git does not track; seed_path names another folder"
}

func ops(rows ...*api.Operation) []*api.Operation { return rows }

func (s *Server) offersAll(rows []*api.Operation) bool {
	for _, op := range rows {
		if !s.profile.offers(op) {
			return false
		}
	}
	return true
}
