package cli

import (
	"encoding/base64"
	"fmt"
	"io"
	"text/tabwriter"

	"pyro/api"
)

// typeLetters are the types as ls writes them.
var typeLetters = map[string]string{
	"file": "-", "directory": "d", "symlink": "l", "fifo": "p", "socket": "s", "char_device": "c", "block_device": "b",
}

func (a *app) renderFiles(w io.Writer, op *api.Operation, list *api.FileList) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range list.Entries {
		name := printable(f.Path)
		if f.ArtifactType == "symlink" {
			name += " -> " + printable(f.LinkTarget)
		}
		letter := typeLetters[f.ArtifactType]
		if letter == "" {
			letter = "?"
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%s\t%s\n", letter, printable(f.Mode), f.Size, stamp(f.ModifiedAt), name)
	}
	tw.Flush()
	next := ""
	if list.NextCursor != "" {
		next = " next_cursor=" + list.NextCursor
	}
	a.line(op, "workspace_id=%s path=%s entries=%d truncated=%t%s", list.WorkspaceID, shellQuote(list.Path), len(list.Entries), list.Truncated, next)
}

// renderFile writes the bytes as they are.
func (a *app) renderFile(op *api.Operation, c *api.FileContent) error {
	content := []byte(c.Content)
	if c.Encoding == string(api.Base64) {
		var err error
		if content, err = base64.StdEncoding.DecodeString(c.Content); err != nil {
			return api.Errorf(api.KindInternal, "the content of %s is not base64: %w", printable(c.Path), err)
		}
	}
	if _, err := a.Stdout.Write(content); err != nil {
		return outputError(err)
	}
	if c.Redacted {
		fmt.Fprintln(a.Stderr, "warning: content: it shows secrets of the workspace as [REDACTED]; writing it back would lose them. Export the file as it is: pyro workspace export")
	}
	sum := ""
	if c.SHA256 != "" {
		sum = " sha256=" + c.SHA256
	}
	a.line(op, "workspace_id=%s path=%s size=%d offset=%d next_offset=%d encoding=%s truncated=%t%s",
		c.WorkspaceID, shellQuote(c.Path), c.Size, c.Offset, c.NextOffset, c.Encoding, c.Truncated, sum)
	return nil
}

func (a *app) renderPatched(w io.Writer, op *api.Operation, r *api.PatchResult) {
	for _, f := range r.Files {
		fmt.Fprintf(w, "%s: %s (+%d -%d)\n", f.Status, printable(f.Path), f.LinesAdded, f.LinesDeleted)
	}
	a.line(op, "workspace_id=%s applied=%t files=%d", r.WorkspaceID, r.Applied, r.FileCount)
}
