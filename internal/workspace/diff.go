package workspace

import (
	"bytes"
	"context"
	"encoding/base64"
	"unicode/utf8"

	"pyro/api"
	"pyro/internal/patch"
	"pyro/internal/redact"
	"pyro/internal/sandbox"
)

// Diff compares two states of the workspace.
func (m *Manager) Diff(ctx context.Context, req api.DiffRequest) (api.Diff, error) {
	if req.Stat && req.NameOnly {
		return api.Diff{}, api.Errorf(api.KindUsage, "stat and name_only are both set").WithHint("choose one of --stat and --name-only")
	}
	in, leave, err := m.enter(req.WorkspaceID)
	if err != nil {
		return api.Diff{}, err
	}
	defer leave()
	in.used()
	d, err := m.diff(ctx, in, req)
	if err != nil {
		return api.Diff{}, sandbox.CanceledOr(ctx, err)
	}
	return d, nil
}

func (m *Manager) diff(ctx context.Context, in *instance, req api.DiffRequest) (api.Diff, error) {
	d := api.Diff{WorkspaceID: in.id, From: req.From, To: req.To, View: api.DiffPatch}
	hide, err := in.hidden()
	if err != nil {
		return d, err
	}
	if d.To == "" {
		d.To = presentName
	}
	before, err := m.named(ctx, in, d.From)
	if err != nil {
		return d, err
	}
	defer before.Close()
	after, err := m.named(ctx, in, d.To)
	if err != nil {
		return d, err
	}
	defer after.Close()
	found, err := patch.Compare(ctx, before.tree, after.tree, api.WorkspacePath, patch.Options{Same: sameData(before, after)})
	if err != nil {
		return d, err
	}
	d.Changed, d.EntriesCut, d.PatchCut = len(found.Entries) > 0, found.EntriesCut, found.PatchCut
	d.Summary = api.DiffSummary(found.Summary)
	text := []byte(found.Patch)
	var out bytes.Buffer
	switch {
	case req.Stat:
		d.View, err = api.DiffStat, patch.Stat(&out, found.Entries, 0)
		text = out.Bytes()
	case req.NameOnly:
		d.View, err = api.DiffNames, patch.NameOnly(&out, found.Entries)
		text = out.Bytes()
	}
	if err != nil {
		return d, err
	}
	shown := []byte(hide.Text(string(text)))
	d.Redacted = !bytes.Equal(shown, text)
	text = shown
	d.Patch = validText(string(text))
	if !utf8.Valid(text) {
		d.PatchBase64 = base64.StdEncoding.EncodeToString(text)
	}
	d.Entries = diffEntries(found.Entries, d.View == api.DiffPatch, hide)
	return d, nil
}

// named reads a state by its name: baseline, present or a snapshot's.
func (m *Manager) named(ctx context.Context, in *instance, name string) (*view, error) {
	switch name {
	case api.Baseline:
		return m.viewOf(ctx, in, "")
	case presentName:
		return m.current(ctx, in)
	}
	s, err := in.find(name)
	if err != nil {
		return nil, err
	}
	return m.viewOf(ctx, in, s.Disk)
}

func diffEntries(found []patch.Entry, texts bool, hide *redact.Set) []api.DiffEntry {
	entries := make([]api.DiffEntry, 0, len(found))
	for _, f := range found {
		path := hide.Text(f.Path)
		e := api.DiffEntry{
			Path: validText(path), Status: string(f.Status), ArtifactType: string(f.Type()), Reason: string(f.Reason),
			LinesAdded: f.LinesAdded, LinesDeleted: f.LinesDeleted,
		}
		if e.Path != path {
			e.PathBase64 = base64.StdEncoding.EncodeToString([]byte(path))
		}
		if f.Before != nil {
			e.SizeBefore = &f.Before.Size
		}
		if f.After != nil {
			e.SizeAfter = &f.After.Size
		}
		if texts && f.Reason == patch.ReasonNone {
			shown := hide.Text(f.Text)
			text := validText(shown)
			e.TextPatch, e.Redacted = &text, shown != f.Text
		}
		e.Redacted = e.Redacted || path != f.Path
		entries = append(entries, e)
	}
	return entries
}
