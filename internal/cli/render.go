package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"pyro/api"
)

// printJSON writes the one document of --json.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return outputError(enc.Encode(v))
}

// render writes a result for people. A result without a form of its own is
// written as JSON.
func (a *app) render(op *api.Operation, req, result any) error {
	var b strings.Builder
	switch r := result.(type) {
	case *api.VM:
		a.notice(r.Notice)
		renderVM(&b, r)
	case *api.VMList:
		renderVMs(&b, r)
	case *api.Cleanup:
		renderCleanup(&b, r)
	case *api.NetworkInfo:
		renderNetwork(&b, r)
	case *api.Reaped:
		fmt.Fprintf(&b, "Removed: %d\n", r.Count)
		for _, id := range r.VMIDs {
			fmt.Fprintln(&b, id)
		}
	case *api.EnvironmentList:
		renderEnvironments(&b, r)
	case *api.Environment:
		renderEnvironment(&b, op, r)
	case *api.PruneResult:
		renderPruned(&b, r)
	case *api.Workspace:
		a.notice(r.Notice)
		a.warn(r.Warnings, r.WarningsDropped)
		if a.idOnly {
			fmt.Fprintln(&b, r.WorkspaceID)
			break
		}
		renderWorkspace(&b, r)
	case *api.WorkspaceList:
		renderWorkspaces(&b, r)
	case *api.DeletedWorkspace:
		fmt.Fprintf(&b, "Deleted: %s\nFreed: %s\n", r.WorkspaceID, size(r.BytesFreed))
	case *api.PushResult:
		a.warn(r.Warnings, r.WarningsDropped)
		renderPush(&b, r)
	case *api.ResetResult:
		a.notice(r.Notice)
		renderReset(&b, r)
	case *api.ExportResult:
		a.warn(r.Warnings, r.WarningsDropped)
		renderExport(&b, r)
	case *api.FileList:
		a.renderFiles(&b, op, r)
	case *api.FileContent:
		return a.renderFile(op, r)
	case *api.WrittenFile:
		a.line(op, "workspace_id=%s path=%s created=%t size=%d mode=%s sha256=%s", r.WorkspaceID, shellQuote(r.Path), r.Created, r.Size, r.Mode, r.SHA256)
	case *api.PatchResult:
		a.renderPatched(&b, op, r)
	case *api.CommandLog:
		return a.renderLog(op, r)
	case *api.Diff:
		return a.renderDiff(r)
	case *api.NetworkLog:
		renderNetworkLog(&b, r)
	case *api.SuggestedPolicy:
		return a.renderSuggestion(r)
	case *api.Snapshot:
		renderSnapshot(&b, r)
	case *api.SnapshotList:
		renderSnapshots(&b, r)
	case *api.DeletedSnapshot:
		fmt.Fprintf(&b, "Deleted: snapshot %s of %s\nFreed: %s\n", r.SnapshotName, r.WorkspaceID, size(r.BytesFreed))
	case *api.Shell:
		a.renderShell(&b, op, req, r)
	case *api.ShellList:
		renderShells(&b, r)
	case *api.ShellOutput:
		return a.renderShellOutput(op, r)
	case *api.ShellWritten:
		a.line(op, "workspace_id=%s shell_id=%s state=%s written_bytes=%d next_cursor=%d", r.WorkspaceID, r.ShellID, r.State, r.WrittenBytes, r.NextCursor)
	case *api.ClosedShell:
		a.line(op, "workspace_id=%s shell_id=%s closed=%t", r.WorkspaceID, r.ShellID, r.Closed)
	case *api.Service:
		a.renderService(&b, op, r)
	case *api.ServiceList:
		renderServices(&b, r)
	case *api.ServiceLog:
		return a.renderServiceLog(op, r)
	case *api.DaemonInfo:
		renderDaemon(&b, op, r)
	case *api.DoctorReport:
		renderDoctor(&b, r)
	default:
		return a.printJSON(result)
	}
	_, err := io.WriteString(a.Stdout, b.String())
	return outputError(err)
}

// line writes the bracketed line of an operation to stderr.
func (a *app) line(op *api.Operation, format string, args ...any) {
	fmt.Fprintf(a.Stderr, "["+label(op)+"] "+format+"\n", args...)
}

// outputError is the error of an answer that could not be written.
func outputError(err error) error {
	if err == nil {
		return nil
	}
	return api.Errorf(api.KindStorage, "stdout: %w", err).WithHint("see that stdout can be written")
}

func renderVM(w io.Writer, vm *api.VM) {
	fmt.Fprintf(w, "VM: %s\nEnvironment: %s\nState: %s\n", vm.VMID, vm.Environment, vm.State)
	field(w, "Execution mode", string(vm.ExecutionMode))
	fmt.Fprintf(w, "Resources: vcpu_count=%d mem_mib=%d disk_mib=%d pid_limit=%d\n", vm.VCPUCount, vm.MemMiB, vm.DiskMiB, vm.PIDLimit)
	field(w, "Network", networkText(vm.Network, vm.NetworkPolicy))
	fmt.Fprintf(w, "TTL: %d s, until %s\n", vm.TTLSeconds, stamp(vm.ExpiresAt))
	if vm.MemoryBytes > 0 {
		field(w, "Memory in use", bytes(vm.MemoryBytes))
	}
}

func renderVMs(w io.Writer, list *api.VMList) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "VM_ID\tENVIRONMENT\tSTATE\tEXECUTION_MODE\tEXPIRES")
	for _, vm := range list.VMs {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", vm.VMID, vm.Environment, vm.State, vm.ExecutionMode, stamp(vm.ExpiresAt))
	}
	tw.Flush()
}

func renderCleanup(w io.Writer, c *api.Cleanup) {
	word := "Deleted"
	if !c.Deleted {
		word = "Not deleted"
	}
	fmt.Fprintf(w, "%s: %s (%s)\n", word, c.VMID, c.Reason)
}

func renderDaemon(w io.Writer, op *api.Operation, d *api.DaemonInfo) {
	switch {
	case op.Name == api.DaemonStop.Name && d.PID != 0:
		fmt.Fprintf(w, "Stopped: background process (pid %d)\n", d.PID)
		if d.Sandboxes > 0 {
			fmt.Fprintf(w, "Still running: %d sandboxes of workspaces; the next command takes them over\n", d.Sandboxes)
		}
		return
	case !d.Running:
		fmt.Fprintln(w, "Background process: not running")
	default:
		fmt.Fprintf(w, "Background process: running\nPID: %d\nVersion: %s\nStarted: %s\nRootless: %s\nSandboxes: %d\nCalls: %d\n",
			d.PID, d.Version, stamp(d.StartedAt), yes(d.Rootless), d.Sandboxes, d.Calls)
	}
	fmt.Fprintf(w, "Socket: %s\nLog file: %s\nState: %s\nCache: %s\n", d.Socket, d.LogFile, d.StateDir, d.CacheDir)
}

// field writes "Name: value", or nothing if there is no value.
func field(w io.Writer, name, value string) {
	if value != "" {
		fmt.Fprintf(w, "%s: %s\n", name, value)
	}
}

// size writes bytes for people and for scripts: 1.5KiB (1536 bytes).
func size(n int64) string { return fmt.Sprintf("%s (%d bytes)", bytes(n), n) }

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// stamp writes a time in the caller's zone.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.RFC3339)
}
