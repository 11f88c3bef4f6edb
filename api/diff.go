package api

import "time"

// DiffView is the form of a diff.
type DiffView string

// The views.
const (
	DiffPatch DiffView = "patch"
	DiffStat  DiffView = "stat"
	DiffNames DiffView = "names"
)

// DiffRequest compares two states of a workspace.
type DiffRequest struct {
	WorkspaceID string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	From        string `json:"from,omitempty" cli:"from" default:"baseline" doc:"the older state: baseline or a snapshot's name"`
	To          string `json:"to,omitempty" cli:"to" doc:"the newer state: baseline or a snapshot's name; the present if absent"`
	Stat        bool   `json:"stat,omitempty" cli:"stat" doc:"count the changed lines of each file instead of showing them"`
	NameOnly    bool   `json:"name_only,omitempty" cli:"name-only" doc:"list the changed paths only"`
}

// DiffSummary counts the entries of a diff.
type DiffSummary struct {
	Total       int `json:"total" doc:"all entries"`
	Added       int `json:"added" doc:"new paths"`
	Modified    int `json:"modified" doc:"paths with other content, target or mode"`
	Deleted     int `json:"deleted" doc:"paths that are gone"`
	TypeChanged int `json:"type_changed" doc:"paths that are something else now, a link instead of a file for example"`
	TextPatched int `json:"text_patched" doc:"entries with a text"`
	NonText     int `json:"non_text" doc:"entries without one"`
}

// DiffEntry is one path that differs.
type DiffEntry struct {
	Path         string  `json:"path" doc:"relative to /workspace; invalid UTF-8 replaced"`
	PathBase64   string  `json:"path_base64,omitempty" doc:"the path's bytes, if they are not UTF-8"`
	Status       string  `json:"status" doc:"added, modified, deleted or type_changed"`
	ArtifactType string  `json:"artifact_type" doc:"file, directory, symlink, fifo, char_device or block_device"`
	SizeBefore   *int64  `json:"size_before" doc:"bytes before, null if it was not there"`
	SizeAfter    *int64  `json:"size_after" doc:"bytes now, null if it is gone"`
	TextPatch    *string `json:"text_patch" doc:"its part of the patch, null if there is none"`
	Reason       string  `json:"reason,omitempty" doc:"why there is no text: directory, special, type_changed, binary, too_large, permissions, patch_full, name or parent"`
	LinesAdded   int     `json:"lines_added" doc:"lines that are new"`
	LinesDeleted int     `json:"lines_deleted" doc:"lines that are gone"`
	Redacted     bool    `json:"redacted,omitempty" doc:"the file holds a secret of the workspace, which its text shows as [REDACTED]: what the text makes is not the file"`
}

// Diff answers DiffWorkspace.
type Diff struct {
	WorkspaceID string      `json:"workspace_id" doc:"id of the workspace"`
	From        string      `json:"from" doc:"the older state"`
	To          string      `json:"to" doc:"the newer state, present for what the workspace holds now"`
	Changed     bool        `json:"changed" doc:"whether anything differs"`
	Summary     DiffSummary `json:"summary" doc:"counts"`
	Entries     []DiffEntry `json:"entries" doc:"what differs, in the order of the bytes of the paths, at most 100,000"`
	EntriesCut  bool        `json:"entries_cut,omitempty" doc:"there are more entries"`
	View        DiffView    `json:"view" doc:"patch, or stat or names as asked for"`
	Patch       string      `json:"patch" doc:"the unified patch, for git apply or patch -p1; with stat and name_only what git diff prints for them; invalid UTF-8 replaced"`
	PatchBase64 string      `json:"patch_base64,omitempty" doc:"the patch's bytes, if they are not UTF-8"`
	PatchCut    bool        `json:"patch_cut,omitempty" doc:"texts are missing because the patch is longer than 16 MiB"`
	Redacted    bool        `json:"redacted,omitempty" doc:"the patch shows a secret of the workspace as [REDACTED], so that it does not make the files as they are"`
}

// SnapshotRequest names a snapshot of a workspace.
type SnapshotRequest struct {
	WorkspaceID  string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	SnapshotName string `json:"snapshot_name" cli:"NAME,arg" doc:"name of the snapshot: 1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit"`
}

// Snapshot describes a snapshot.
type Snapshot struct {
	WorkspaceID  string    `json:"workspace_id" doc:"id of the workspace"`
	SnapshotName string    `json:"snapshot_name" doc:"its name"`
	Kind         string    `json:"kind" doc:"baseline or named"`
	CreatedAt    time.Time `json:"created_at" doc:"when it was taken"`
	SizeBytes    int64     `json:"size_bytes" doc:"what it takes on the host's disk"`
	Deletable    bool      `json:"deletable" doc:"false for the baseline"`
}

// SnapshotList answers ListSnapshots.
type SnapshotList struct {
	WorkspaceID string     `json:"workspace_id" doc:"id of the workspace"`
	Count       int        `json:"count" doc:"how many, the baseline included"`
	Snapshots   []Snapshot `json:"snapshots" doc:"the baseline, then the others, oldest first"`
}

// DeletedSnapshot answers DeleteSnapshot.
type DeletedSnapshot struct {
	WorkspaceID  string `json:"workspace_id" doc:"id of the workspace"`
	SnapshotName string `json:"snapshot_name" doc:"name of the snapshot, which is gone"`
	Deleted      bool   `json:"deleted" doc:"always true"`
	BytesFreed   int64  `json:"bytes_freed" doc:"bytes freed on the host's disk"`
}

// The operations that look at states of a workspace and keep them.
var (
	DiffWorkspace = call[DiffRequest, Diff](Operation{
		Name: "diff_workspace", CLI: "workspace diff", MCP: "workspace_diff", Python: "diff_workspace", Group: "Workspaces",
		Summary: "Show what changed in a workspace",
		Doc: "Compares `/workspace` with its baseline, or any two of the baseline, snapshots and the present. The patch is what `git apply` and `patch -p1` take. " +
			"Binary files and changes of type are entries without a text. No changes are a normal result.",
		Effect: Reads, Errors: workspaceErrors, Example: "pyro workspace diff ws-0123456789ab",
	})
	CreateSnapshot = call[SnapshotRequest, Snapshot](Operation{
		Name: "create_snapshot", CLI: "workspace snapshot create", MCP: "snapshot_create", Python: "create_snapshot", Group: "Workspaces",
		Summary: "Keep the present state of a workspace under a name",
		Doc:     "Saves the whole disk of the sandbox, system files too, while it runs. It takes room for what differs from the baseline.",
		Effect:  Changes, Errors: workspaceErrors, Example: "pyro workspace snapshot create ws-0123456789ab before-refactoring",
	})
	ListSnapshots = call[WorkspaceRequest, SnapshotList](Operation{
		Name: "list_snapshots", CLI: "workspace snapshot list", MCP: "snapshot_list", Python: "list_snapshots", Group: "Workspaces",
		Summary: "List the snapshots of a workspace", Effect: Reads, Errors: []Kind{KindNotFound}, Example: "pyro workspace snapshot list ws-0123456789ab",
	})
	DeleteSnapshot = call[SnapshotRequest, DeletedSnapshot](Operation{
		Name: "delete_snapshot", CLI: "workspace snapshot delete", MCP: "snapshot_delete", Python: "delete_snapshot", Group: "Workspaces",
		Summary: "Delete a snapshot of a workspace", Effect: Destroys, Errors: []Kind{KindNotFound, KindConflict, KindStorage},
		Example: "pyro workspace snapshot delete ws-0123456789ab before-refactoring",
	})
)
