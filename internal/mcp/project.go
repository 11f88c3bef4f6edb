package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"pyro/api"
)

const (
	// maxProject bounds what git may print about the files it tracks, in bytes:
	// some hundred thousand files. The request with their names must be smaller
	// than what the background process takes.
	maxProject = 12 << 20
	// gitlink is the mode that git's index has for a submodule.
	gitlink = "160000"
	// seedPath is the argument of workspace_create that names another seed.
	seedPath = "seed_path"
)

// Checkout returns the folder of the Git checkout that dir is in, or "".
func Checkout(dir string) string {
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

// createAnswer is the structured content about a new workspace.
type createAnswer struct {
	api.Workspace

	ProjectSource string `json:"project_source,omitempty" doc:"what /workspace begins with, if no seed_path was given: the tracked files of the project that this server is for"`
}

// create makes a workspace, of the project if nothing else is named.
func (s *Server) create(ctx context.Context, t tool, req *api.CreateWorkspaceRequest, arguments json.RawMessage, progress *progress) (any, error) {
	note, warnings, err := s.seedProject(ctx, arguments, req)
	if err != nil {
		return nil, err
	}
	res := &createAnswer{ProjectSource: note}
	if err := s.watch(ctx, t, req, &res.Workspace, progress); err != nil {
		return nil, err
	}
	res.Warnings = append(warnings, res.Warnings...)
	return res, nil
}

// seedProject completes a request without seed_path: its seed is the project.
// note says what that is, "" if the request stays as it is.
func (s *Server) seedProject(ctx context.Context, arguments json.RawMessage, req *api.CreateWorkspaceRequest) (note string, warnings []api.Warning, err error) {
	var given map[string]json.RawMessage
	if len(arguments) > 0 {
		if err := json.Unmarshal(arguments, &given); err != nil {
			return "", nil, api.Errorf(api.KindUsage, "the arguments are not a JSON object")
		}
	}
	if _, chosen := given[seedPath]; chosen || s.Project == "" || req.SeedFiles != nil {
		return "", nil, nil
	}
	checkout := Checkout(s.Project)
	if checkout == "" {
		req.SeedPath = s.Project
		return "the folder " + s.Project + ", which is in no Git checkout, with all it holds", nil, nil
	}
	files, warnings, err := trackedFiles(ctx, checkout, s.Project)
	if err != nil {
		return "", nil, err
	}
	if len(files) == 0 {
		return "nothing: git tracks no file in " + s.Project, warnings, nil
	}
	req.SeedPath, req.SeedFiles = s.Project, files
	return fmt.Sprintf("what git tracks in %s (%d files), as it is in the working tree; untracked files are not copied", s.Project, len(files)), warnings, nil
}

// trackedFiles lists what git tracks below the folder dir of a checkout,
// relative to dir, and warns of what cannot be copied that way.
func trackedFiles(ctx context.Context, checkout, dir string) ([]string, []api.Warning, error) {
	out, err := lsFiles(ctx, checkout, dir)
	if err != nil {
		return nil, nil, err
	}
	files, warnings := parseFiles(out)
	return files, warnings, nil
}

// parseFiles reads what git ls-files -z --stage prints: "MODE HASH STAGE\tNAME",
// each with a NUL behind it.
func parseFiles(out []byte) (files []string, warnings []api.Warning) {
	for entry := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
		about, name, ok := strings.Cut(string(entry), "\t")
		switch {
		case !ok:
		case strings.HasPrefix(about, gitlink+" "):
			warnings = append(warnings, api.Warning{Path: strings.ToValidUTF8(name, "�"), Reason: "is a submodule, which is not copied"})
		case !utf8.ValidString(name):
			warnings = append(warnings, api.Warning{Path: strings.ToValidUTF8(name, "�"), Reason: "has a name that is not UTF-8, and is not copied"})
		default:
			files = append(files, name)
		}
	}
	slices.Sort(files) // a file in conflict is there several times
	return slices.Compact(files), warnings
}

// lsFiles lets git read its index, and nothing else. The checkout is as
// untrusted as any: git is told where everything is, so that it asks nobody
// whose it is and takes no folder from the checkout's configuration; it starts no
// program that is named there; and it reaches for no network.
func lsFiles(ctx context.Context, checkout, dir string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", "--git-dir="+filepath.Join(checkout, ".git"), "--work-tree="+checkout,
		"-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false", "ls-files", "-z", "--stage")
	cmd.Dir = dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GIT_") }),
		"GIT_OPTIONAL_LOCKS=0", "GIT_ALLOW_PROTOCOL=none", "GIT_NO_LAZY_FETCH=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	var stdout, stderr limited
	stdout.limit, stderr.limit = maxProject, 4<<10
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	switch {
	case stdout.over:
		return nil, api.Errorf(api.KindUsage, "git tracks too many files in %s to be named in a request", dir).
			WithHint("give seed_path, or start the server with --project-path for a part of the checkout")
	case ctx.Err() != nil:
		return nil, api.Errorf(api.KindCanceled, "listing the files of %s was stopped", dir)
	case errors.Is(err, exec.ErrNotFound):
		return nil, api.Errorf(api.KindUnavailable, "which files of %s are tracked is known to git, which is not on PATH", checkout).
			WithHint(`give seed_path, "" for an empty workspace; or install git`)
	case err != nil:
		return nil, api.Errorf(api.KindUnavailable, "git cannot list the files of %s: %s", checkout, strings.TrimSpace(stderr.String())).
			WithHint(`give seed_path, "" for an empty workspace; or see: git -C %s status`, checkout)
	}
	return stdout.Bytes(), nil
}

// limited keeps the beginning of what a program prints.
type limited struct {
	bytes.Buffer
	limit int
	over  bool
}

func (l *limited) Write(p []byte) (int, error) {
	if room := l.limit - l.Len(); len(p) > room {
		l.over = true
		l.Buffer.Write(p[:max(room, 0)])
		return len(p), nil
	}
	return l.Buffer.Write(p)
}
