package workspace

import (
	"context"

	"pyro/api"
	"pyro/internal/agent/unpack"
	"pyro/internal/agent/unpack/feed"
	"pyro/internal/patch/apply"
)

// ApplyPatch changes files by a patch: all of it or nothing. The patch is checked
// against the saved disk, on the host; when it is put in place the agent compares
// every file with what was checked.
func (m *Manager) ApplyPatch(ctx context.Context, req api.ApplyPatchRequest) (api.PatchResult, error) {
	text, err := decode("patch", req.Patch, req.Encoding)
	if err != nil {
		return api.PatchResult{}, err
	}
	p, err := apply.Parse(text)
	if err != nil {
		return api.PatchResult{}, err
	}
	var res api.PatchResult
	err = m.withFiles(ctx, req.WorkspaceID, func(in *instance, l *life) (err error) {
		res, err = m.applyPatch(ctx, in, l, p, req.Check)
		return err
	})
	return res, err
}

func (m *Manager) applyPatch(ctx context.Context, in *instance, l *life, p *apply.Patch, check bool) (api.PatchResult, error) {
	res := api.PatchResult{WorkspaceID: in.id, Files: []api.PatchedFile{}}
	if err := in.lock(ctx, in.disk); err != nil {
		return res, err
	}
	defer in.disk.unlock()
	changes, err := m.check(ctx, in, l, p)
	if err != nil {
		return res, err
	}
	for _, c := range changes {
		res.Files = append(res.Files, api.PatchedFile{Path: validText(c.Path), Status: c.Status(), LinesAdded: c.Added, LinesDeleted: c.Deleted})
	}
	res.FileCount = len(changes)
	if check || len(changes) == 0 {
		res.Applied = !check
		return res, nil
	}
	edits, bytes := editsOf(changes)
	if err := m.room(bytes); err != nil {
		return res, err
	}
	if err := m.hit("push-planned"); err != nil {
		return res, err
	}
	defer l.touched()
	if err := m.put(ctx, l, edits); err != nil {
		return res, l.orCause(err)
	}
	res.Applied = true
	return res, nil
}

// check applies the patch to what the machine holds now. The caller holds in.disk.
func (m *Manager) check(ctx context.Context, in *instance, l *life, p *apply.Patch) ([]apply.Change, error) {
	v, err := m.present(ctx, in, l)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	sub, err := v.tree.Sub(api.WorkspacePath)
	if err != nil {
		return nil, err
	}
	return p.To(sub)
}

// editsOf says to the agent what a patch changes.
func editsOf(changes []apply.Change) (edits feed.Edits, bytes int64) {
	for _, c := range changes {
		e := feed.Edit{Path: c.Path, Expect: expected(c)}
		switch after := c.After; {
		case after == nil:
			e.Remove = true
		case after.Link:
			e.Target, e.UID, e.GID = string(after.Data), int(after.UID), int(after.GID)
		default:
			e.Data, e.Mode, e.UID, e.GID = after.Data, after.Mode, int(after.UID), int(after.GID)
		}
		bytes += int64(len(e.Data))
		edits = append(edits, e)
	}
	return edits, bytes
}

// expected is what the agent must find before it changes anything.
func expected(c apply.Change) string {
	switch b := c.Before; {
	case c.Folder:
		return ""
	case b == nil:
		return unpack.ExpectAbsent
	case b.Link:
		return feed.ExpectLink(string(b.Data))
	default:
		return feed.ExpectSum(b.Data)
	}
}
