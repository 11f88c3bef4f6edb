package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"pyro/api"
)

func renderWorkspace(w io.Writer, ws *api.Workspace) {
	field(w, "Workspace ID", ws.WorkspaceID)
	field(w, "Name", ws.Name)
	field(w, "Labels", labelList(ws.Labels))
	fmt.Fprintf(w, "Environment: %s\nState: %s\nWorkspace: %s\n", ws.Environment, ws.State, ws.WorkspacePath)
	renderSeed(w, &ws.WorkspaceSeed)
	field(w, "Execution mode", string(ws.ExecutionMode))
	fmt.Fprintf(w, "Resources: vcpu_count=%d mem_mib=%d disk_mib=%d pid_limit=%d\n", ws.VCPUCount, ws.MemMiB, ws.DiskMiB, ws.PIDLimit)
	field(w, "Network", networkText(ws.Network, ws.NetworkPolicy))
	renderSecrets(w, ws.Secrets)
	fmt.Fprintf(w, "Command count: %d\nServices: running=%d total=%d\nSnapshots: %d\nReset count: %d\n",
		ws.CommandCount, ws.RunningServiceCount, ws.ServiceCount, ws.SnapshotCount, ws.ResetCount)
	field(w, "Last reset", stampOr(ws.LastResetAt, "never"))
	field(w, "Created", stamp(ws.CreatedAt))
	field(w, "Last activity", stamp(ws.LastActivityAt))
	field(w, "TTL", lifetime(ws))
	field(w, "Saved", stampOr(ws.SavedAt, "nothing to save yet"))
	if e := ws.SaveError; e != nil {
		field(w, "Save failed", printable(e.Message)+"; "+printable(e.Hint))
	}
	field(w, "Disk", size(ws.DiskBytes))
	renderRecovery(w, ws.Recovery)
}

// labelList writes labels in the order of their keys, as flags take them.
func labelList(labels map[string]string) string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		words = append(words, shellQuote(key+"="+labels[key]))
	}
	return strings.Join(words, " ")
}

func renderSeed(w io.Writer, s *api.WorkspaceSeed) {
	fmt.Fprintf(w, "Seed: mode=%s", s.Mode)
	if s.SeedPath != "" {
		fmt.Fprintf(w, " source=%s", shellQuote(s.SeedPath))
	}
	fmt.Fprintf(w, " entries=%d bytes=%d\n", s.EntryCount, s.BytesWritten)
}

// lifetime says when a workspace will be deleted.
func lifetime(ws *api.Workspace) string {
	if ws.TTLSeconds == 0 {
		return "none"
	}
	return fmt.Sprintf("%d s, until %s", ws.TTLSeconds, stamp(ws.ExpiresAt))
}

// renderRecovery says what was lost with a sandbox, and what came back.
func renderRecovery(w io.Writer, r *api.Recovery) {
	if r == nil {
		return
	}
	lost := fmt.Sprintf("the sandbox was lost (%s) at %s", printable(r.Reason), stamp(r.LostAt))
	from := fmt.Sprintf("from the %s of %s", r.Source, stamp(r.SavedAt))
	if r.RestoredAt.IsZero() {
		fmt.Fprintf(w, "Recovery pending: %s; will come back %s with its next use\n", lost, from)
		return
	}
	fmt.Fprintf(w, "Recovered: %s; came back %s at %s\n", lost, from, stamp(r.RestoredAt))
}

func renderWorkspaces(w io.Writer, list *api.WorkspaceList) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "WORKSPACE_ID\tNAME\tENVIRONMENT\tSTATE\tEXECUTION_MODE\tCOMMANDS\tRESETS\tDISK\tLAST_ACTIVITY\tEXPIRES")
	for _, ws := range list.Workspaces {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", ws.WorkspaceID, cmp.Or(ws.Name, "-"), ws.Environment, ws.State, ws.ExecutionMode,
			ws.CommandCount, ws.ResetCount, bytes(ws.DiskBytes), stamp(ws.LastActivityAt), stampOr(ws.ExpiresAt, "never"))
	}
	tw.Flush()
}

func renderPush(w io.Writer, r *api.PushResult) {
	fmt.Fprintf(w, "Pushed: %s\nWorkspace ID: %s\nDestination: %s\n", printable(r.SourcePath), r.WorkspaceID, printable(r.Destination))
	field(w, "Execution mode", string(r.ExecutionMode))
	fmt.Fprintf(w, "Source: mode=%s entries=%d files=%d bytes=%d\n", r.Mode, r.EntryCount, r.FileCount, r.Bytes)
	fmt.Fprintf(w, "Sent: entries=%d bytes=%d duration_ms=%d\n", r.SentEntries, r.SentBytes, r.DurationMS)
}

func renderReset(w io.Writer, r *api.ResetResult) {
	fmt.Fprintf(w, "Workspace ID: %s\nRestored: %s\nState: %s\n", r.WorkspaceID, r.RestoredSnapshot, r.State)
	field(w, "Execution mode", string(r.ExecutionMode))
	fmt.Fprintf(w, "Reset count: %d\nLast reset: %s\n", r.ResetCount, stamp(r.LastResetAt))
}

func renderExport(w io.Writer, r *api.ExportResult) {
	fmt.Fprintf(w, "Exported: %s\nWorkspace ID: %s\nPath: %s\nType: %s\nEntries: %d\nFiles: %d\nSize: %s\n",
		printable(r.OutputPath), r.WorkspaceID, printable(r.Path), r.ArtifactType, r.EntryCount, r.FileCount, size(r.BytesWritten))
}

func renderSnapshot(w io.Writer, s *api.Snapshot) {
	fmt.Fprintf(w, "Snapshot: %s\nWorkspace ID: %s\nCreated: %s\nSize: %s\n", s.SnapshotName, s.WorkspaceID, stamp(s.CreatedAt), size(s.SizeBytes))
}

func renderSnapshots(w io.Writer, list *api.SnapshotList) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tKIND\tCREATED\tSIZE\tDELETABLE")
	for _, s := range list.Snapshots {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", s.SnapshotName, s.Kind, stamp(s.CreatedAt), bytes(s.SizeBytes), yes(s.Deletable))
	}
	tw.Flush()
}

// stampOr writes a time, or a word if there is none.
func stampOr(t time.Time, word string) string {
	if t.IsZero() {
		return word
	}
	return stamp(t)
}
