package cli

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"pyro/api"
)

// renderDiff writes the patch to stdout byte for byte, so that it can be piped
// into git apply, and all that is said about it to stderr.
func (a *app) renderDiff(d *api.Diff) error {
	s := d.Summary
	fmt.Fprintf(a.Stderr, "[workspace-diff] workspace_id=%s from=%s to=%s total=%d added=%d modified=%d deleted=%d type_changed=%d text_patched=%d non_text=%d\n",
		d.WorkspaceID, d.From, d.To, s.Total, s.Added, s.Modified, s.Deleted, s.TypeChanged, s.TextPatched, s.NonText)
	patch := []byte(d.Patch)
	if d.PatchBase64 != "" {
		var err error
		if patch, err = base64.StdEncoding.DecodeString(d.PatchBase64); err != nil {
			return api.Errorf(api.KindInternal, "diff of workspace %s: patch_base64: %w", d.WorkspaceID, err)
		}
	}
	if _, err := a.Stdout.Write(patch); err != nil {
		return outputError(err)
	}
	if d.View == api.DiffPatch {
		renderTextless(a.Stderr, d)
	}
	if d.Redacted {
		fmt.Fprintln(a.Stderr, "warning: patch: it shows secrets of the workspace as [REDACTED] and does not make the files that hold them; export those: pyro workspace export")
	}
	if d.PatchCut {
		fmt.Fprintln(a.Stderr, "warning: patch: some texts are missing because it is longer than 16 MiB")
	}
	if d.EntriesCut {
		fmt.Fprintf(a.Stderr, "warning: entries: there are more than the first %d\n", len(d.Entries))
	}
	return nil
}

// renderTextless lists what differs and is not in the patch. Folders are only
// counted: most of them came or went with their files.
func renderTextless(w io.Writer, d *api.Diff) {
	listed, more, folders := 0, 0, 0
	for _, e := range d.Entries {
		switch {
		case e.TextPatch != nil:
		case e.Reason == "directory":
			folders++
		case listed == maxListed:
			more++
		default:
			listed++
			fmt.Fprintf(w, "not in the patch: %s: %s %s%s\n", printable(e.Path), words(e.Status), words(e.ArtifactType), because(e))
		}
	}
	if more > 0 {
		fmt.Fprintf(w, "not in the patch: ... and %d more; see --json\n", more)
	}
	if folders > 0 {
		fmt.Fprintf(w, "not in the patch: folders=%d\n", folders)
	}
}

// because says why e has no text, unless its status or type has said it.
func because(e api.DiffEntry) string {
	if e.Reason == "" || e.Reason == e.Status || e.Reason == "special" {
		return ""
	}
	return ", " + words(e.Reason)
}

// words writes one of the API's names for people: type_changed as type changed.
func words(name string) string { return strings.ReplaceAll(name, "_", " ") }
