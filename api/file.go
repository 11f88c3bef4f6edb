package api

import "time"

// Encoding is how bytes stand in a text.
type Encoding string

// The encodings.
const (
	UTF8   Encoding = "utf-8"
	Base64 Encoding = "base64"
)

// Values implements the enumeration of package api.
func (Encoding) Values() []string { return []string{string(UTF8), string(Base64)} }

// Bounds of the file operations.
const (
	// MaxFileEntries is the largest max_entries of a list.
	MaxFileEntries = 10_000
	// MaxFileWrite is the largest file that one request writes, and the largest
	// patch, in bytes. A push takes more.
	MaxFileWrite = 8 << 20
)

// ListFilesRequest asks what a folder of a workspace holds.
type ListFilesRequest struct {
	WorkspaceID string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	Path        string `json:"path,omitempty" cli:"PATH,arg" default:"/workspace" doc:"folder or file, relative to /workspace or absolute"`
	Recursive   bool   `json:"recursive,omitempty" cli:"recursive" doc:"what is in its folders too"`
	Cursor      string `json:"cursor,omitempty" cli:"cursor" doc:"go on where an answer ended: its next_cursor"`
	MaxEntries  int    `json:"max_entries,omitempty" cli:"max-entries" default:"1000" doc:"entries in the answer, at most 10,000"`
}

// FileEntry is a path of a workspace.
type FileEntry struct {
	Path         string    `json:"path" doc:"relative to /workspace, . for itself; invalid UTF-8 replaced"`
	PathBase64   string    `json:"path_base64,omitempty" doc:"the path's bytes, if they are not UTF-8"`
	ArtifactType string    `json:"artifact_type" doc:"file, directory, symlink, fifo, socket, char_device or block_device"`
	Size         int64     `json:"size" doc:"bytes of a file or of a link's target"`
	Mode         string    `json:"mode" doc:"permission bits in octal: 0644"`
	ModifiedAt   time.Time `json:"modified_at" doc:"when it was last changed"`
	LinkTarget   string    `json:"link_target,omitempty" doc:"where a link points, invalid UTF-8 replaced; it is not followed"`
}

// FileList answers ListWorkspaceFiles.
type FileList struct {
	WorkspaceID string      `json:"workspace_id" doc:"id of the workspace"`
	Path        string      `json:"path" doc:"what was listed, links in the path followed"`
	Entries     []FileEntry `json:"entries" doc:"its entries in the order of the bytes of their names, folders before what is in them"`
	Truncated   bool        `json:"truncated" doc:"there are more entries"`
	NextCursor  string      `json:"next_cursor,omitempty" doc:"the cursor that goes on behind the last entry"`
}

// ReadFileRequest asks for the content of a file of a workspace.
type ReadFileRequest struct {
	WorkspaceID string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	Path        string `json:"path" cli:"PATH,arg" doc:"file, relative to /workspace or absolute"`
	Offset      *int   `json:"offset,omitempty" cli:"offset" doc:"byte to begin with"`
	StartLine   *int   `json:"start_line,omitempty" cli:"start-line" doc:"line to begin with, 1 is the first"`
	MaxLines    int    `json:"max_lines,omitempty" cli:"max-lines" doc:"lines in the answer; 0 is no limit"`
	MaxBytes    int    `json:"max_bytes,omitempty" cli:"max-bytes" default:"65536" doc:"bytes of content in the answer, at most 1 MiB"`
}

// FileContent answers ReadWorkspaceFile.
type FileContent struct {
	WorkspaceID string    `json:"workspace_id" doc:"id of the workspace"`
	Path        string    `json:"path" doc:"the file, relative to /workspace, links in the path followed"`
	Size        int64     `json:"size" doc:"bytes of the whole file"`
	Mode        string    `json:"mode" doc:"permission bits in octal: 0644"`
	ModifiedAt  time.Time `json:"modified_at" doc:"when it was last changed"`
	Offset      int64     `json:"offset" doc:"byte that content begins with"`
	NextOffset  int64     `json:"next_offset" doc:"byte behind content: the offset of the next read"`
	Encoding    string    `json:"encoding" doc:"utf-8, or base64 if the bytes are not text"`
	Truncated   bool      `json:"truncated" doc:"the file has more behind content"`
	SHA256      string    `json:"sha256,omitempty" doc:"hash of the file, if content is all of it: what expected_sha256 of a write compares"`
	Redacted    bool      `json:"redacted,omitempty" doc:"content shows a secret of the workspace as [REDACTED]: writing it back would lose the secret"`
	Content     string    `json:"content" doc:"the bytes, in the encoding"`
}

// WriteFileRequest writes a file of a workspace.
type WriteFileRequest struct {
	WorkspaceID    string   `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	Path           string   `json:"path" cli:"PATH,arg" doc:"file, relative to /workspace or absolute; folders on the way are made"`
	Content        string   `json:"content" cli:"-,empty" doc:"the whole content, at most 8 MiB"`
	Encoding       Encoding `json:"encoding,omitempty" cli:"-" default:"utf-8" doc:"how content is given"`
	Mode           string   `json:"mode,omitempty" cli:"mode" doc:"permission bits in octal; if absent those of the file that is there, or 0644"`
	CreateOnly     bool     `json:"create_only,omitempty" cli:"create-only" doc:"fail if something is there already"`
	ExpectedSHA256 string   `json:"expected_sha256,omitempty" cli:"expected-sha256" doc:"fail unless the file that is there has this hash"`
}

// WrittenFile answers WriteWorkspaceFile.
type WrittenFile struct {
	WorkspaceID string `json:"workspace_id" doc:"id of the workspace"`
	Path        string `json:"path" doc:"the file, relative to /workspace, links in the path followed"`
	Created     bool   `json:"created" doc:"whether it is new"`
	Size        int64  `json:"size" doc:"its bytes"`
	Mode        string `json:"mode" doc:"permission bits in octal: 0644"`
	SHA256      string `json:"sha256" doc:"its hash"`
}

// ApplyPatchRequest changes files of a workspace by a patch.
type ApplyPatchRequest struct {
	WorkspaceID string   `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id or name of the workspace"`
	Patch       string   `json:"patch" cli:"-,empty" doc:"unified diff with paths relative to /workspace behind a/ and b/"`
	Encoding    Encoding `json:"encoding,omitempty" cli:"-" default:"utf-8" doc:"how patch is given"`
	Check       bool     `json:"check,omitempty" cli:"check" doc:"only see whether it applies"`
}

// PatchedFile is a path that a patch changes.
type PatchedFile struct {
	Path         string `json:"path" doc:"relative to /workspace; invalid UTF-8 replaced"`
	Status       string `json:"status" doc:"added, modified, deleted or type_changed"`
	LinesAdded   int    `json:"lines_added" doc:"lines that are new"`
	LinesDeleted int    `json:"lines_deleted" doc:"lines that are gone"`
}

// PatchResult answers ApplyWorkspacePatch.
type PatchResult struct {
	WorkspaceID string        `json:"workspace_id" doc:"id of the workspace"`
	Applied     bool          `json:"applied" doc:"false if it was only checked"`
	FileCount   int           `json:"file_count" doc:"paths that are changed"`
	Files       []PatchedFile `json:"files" doc:"the paths, in the order of their bytes"`
}

var fileErrors = append([]Kind{KindUnsafe, KindUnsupported}, workspaceErrors...)

// The operations on single files of a workspace.
var (
	ListWorkspaceFiles = call[ListFilesRequest, FileList](Operation{
		Name: "list_workspace_files", CLI: "workspace file list", MCP: "workspace_file_list", Python: "list_workspace_files", Group: "Files",
		Summary: "List files of a workspace",
		Doc:     "Tells type, size, mode and time of what a folder below `/workspace` holds, in pages. Links are told, not followed, but for those in the path asked for.",
		Effect:  Reads, Errors: fileErrors, Example: "pyro workspace file list ws-0123456789ab src --recursive",
	})
	ReadWorkspaceFile = call[ReadFileRequest, FileContent](Operation{
		Name: "read_workspace_file", CLI: "workspace file read", MCP: "workspace_file_read", Python: "read_workspace_file", Group: "Files",
		Summary: "Read a file of a workspace",
		Doc: "Returns a bounded part of a file, by bytes or lines, and says when there is more. Text is given as it is, other bytes as base64. " +
			"Links are followed as long as they stay below `/workspace`.",
		Effect: Reads, Errors: fileErrors, Example: "pyro workspace file read ws-0123456789ab src/main.go --start-line 10 --max-lines 40",
	})
	WriteWorkspaceFile = call[WriteFileRequest, WrittenFile](Operation{
		Name: "write_workspace_file", CLI: "workspace file write", MCP: "workspace_file_write", Python: "write_workspace_file", Group: "Files",
		Summary: "Write a file of a workspace",
		Doc: "Replaces the whole file, or makes it with the folders above it. Whoever reads it sees the old or the new content. Mode and owner of a file that is there are kept. " +
			"Links are followed as long as they stay below `/workspace`. With `expected_sha256` or `create_only` nothing is lost that somebody else has written meanwhile.",
		Effect: Changes, Errors: append([]Kind{KindDiskLimit}, fileErrors...), Example: "pyro workspace file write ws-0123456789ab notes.txt --content hello",
	})
	ApplyWorkspacePatch = call[ApplyPatchRequest, PatchResult](Operation{
		Name: "apply_workspace_patch", CLI: "workspace patch apply", MCP: "workspace_patch_apply", Python: "apply_workspace_patch", Group: "Files",
		Summary: "Apply a unified diff to a workspace",
		Doc: "Takes what `git diff` writes, all of it or nothing. Files may be changed, new, deleted, renamed or copied, modes and links too, and git's binary patches are taken. " +
			"Every hunk and path is checked before anything is written. Lines may have moved, but must be the same.",
		Effect: Changes, Errors: append([]Kind{KindDiskLimit}, fileErrors...), Example: "pyro workspace patch apply ws-0123456789ab --check",
	})
)
