package workspace

import (
	"context"
	"path/filepath"

	"pyro/api"
	"pyro/internal/export"
	"pyro/internal/sandbox"
)

// Export copies a file or folder of the workspace to a new host path.
func (m *Manager) Export(ctx context.Context, req api.ExportRequest) (api.ExportResult, error) {
	if !filepath.IsAbs(req.OutputPath) {
		return api.ExportResult{}, api.Errorf(api.KindUsage, "output_path %q is not an absolute path", req.OutputPath).
			WithHint("give the whole path: the background process has another working directory")
	}
	res := api.ExportResult{WorkspaceID: req.WorkspaceID, OutputPath: req.OutputPath}
	report, err := m.export(ctx, req.WorkspaceID, req.Path, func(src export.Source) (export.Report, error) {
		return export.Write(ctx, src, req.OutputPath, export.Options{})
	})
	if err != nil {
		return res, err
	}
	res.Path, res.ArtifactType = validText(report.Path), "file"
	if report.Folder {
		res.ArtifactType = "directory"
	}
	res.EntryCount, res.FileCount, res.BytesWritten, res.WarningsDropped = report.Entries, report.Files, report.Bytes, report.Dropped
	for _, w := range report.Warnings {
		res.Warnings = append(res.Warnings, api.Warning{Path: validText(w.Path), Reason: w.Reason})
	}
	return res, nil
}

// ExportTar writes a file or folder of the workspace to stdout as a tar.
func (m *Manager) ExportTar(ctx context.Context, req api.ExportTarRequest, stdio sandbox.Stdio) (api.ExecResult, error) {
	begun := now()
	res := api.ExecResult{WorkspaceID: req.WorkspaceID, Command: []string{}}
	out := &countingWriter{w: stdio.Stdout}
	_, err := m.export(ctx, req.WorkspaceID, req.Path, func(src export.Source) (export.Report, error) {
		return export.WriteTar(ctx, src, out, export.Options{})
	})
	if err != nil {
		return res, err
	}
	in, err := m.lookup(req.WorkspaceID)
	if err != nil {
		return res, err
	}
	res.Environment, res.ExecutionMode = in.record().Environment, in.public().ExecutionMode
	res.StdoutBytes, res.DurationMS = out.n, now().Sub(begun).Milliseconds()
	return res, nil
}

// export gives write the present state of the workspace.
func (m *Manager) export(ctx context.Context, id, path string, write func(export.Source) (export.Report, error)) (export.Report, error) {
	in, leave, err := m.enter(id)
	if err != nil {
		return export.Report{}, err
	}
	defer leave()
	in.used()
	v, err := m.current(ctx, in)
	if err != nil {
		return export.Report{}, sandbox.CanceledOr(ctx, err)
	}
	defer v.Close()
	report, err := write(export.Source{Tree: v.tree, Path: path, Root: api.WorkspacePath})
	if err != nil {
		return report, sandbox.CanceledOr(ctx, err)
	}
	return report, nil
}
