package pyro_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pyro/api"
)

// mcpCreated is what the tests read of the answer about a new workspace.
type mcpCreated struct {
	api.Workspace
	ProjectSource string `json:"project_source"`
}

// TestMCPProject: a server that is started in a checkout seeds what git tracks
// there, as it is in the working tree.
func TestMCPProject(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git")
	}
	w := newMCPWorld(t)
	project := filepath.Join(w.work, "project")
	write(t, filepath.Join(project, "main.txt"), "committed\n")
	write(t, filepath.Join(project, "src", "a.txt"), "a\n")
	write(t, filepath.Join(project, "gone.txt"), "gone\n")
	if err := os.Symlink("main.txt", filepath.Join(project, "link")); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "first"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = project
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	write(t, filepath.Join(project, "main.txt"), "changed since\n")
	write(t, filepath.Join(project, "secret.env"), "TOKEN=1\n")
	if err := os.Remove(filepath.Join(project, "gone.txt")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.work, "plain", "all.txt"), "all\n")
	outside := w.work
	w.work = filepath.Join(project, "src")

	for name, test := range map[string]struct {
		args  []string
		given map[string]any
		dir   string
		want  string
	}{
		"checkout":    {want: "link main.txt src src/a.txt"},
		"part":        {args: []string{"--project-path", "."}, want: "a.txt"},
		"no checkout": {args: []string{"--project-path", filepath.Join(outside, "plain")}, want: "all.txt"},
		"none":        {args: []string{"--no-project-source"}},
		"no seed":     {given: map[string]any{"seed_path": ""}},
		"outside":     {dir: outside},
	} {
		t.Run(name, func(t *testing.T) {
			there := *w
			if test.dir != "" {
				there.work = test.dir
			}
			s := there.connect(t, test.args...)
			arguments := map[string]any{"environment": "debian:12"}
			for k, v := range test.given {
				arguments[k] = v
			}
			var ws mcpCreated
			s.call(t, "workspace_create", arguments, &ws)
			defer s.call(t, "workspace_delete", map[string]any{"workspace_id": ws.WorkspaceID}, &api.DeletedWorkspace{})
			got := s.exec(t, ws.WorkspaceID, "find . -mindepth 1 | sort | cut -c 3-; cat main.txt 2>/dev/null")
			words := strings.Join(strings.Fields(got.Stdout), " ")
			want := test.want
			if strings.Contains(want, "main.txt") {
				want += " changed since"
				if len(ws.Warnings) != 1 || ws.Warnings[0].Path != "gone.txt" || !strings.Contains(ws.ProjectSource, project+" (4 files)") {
					t.Errorf("the answer says %q, %+v", ws.ProjectSource, ws.Warnings)
				}
			}
			if words != want {
				t.Errorf("the workspace has %q, want %q", words, want)
			}
			if said := ws.ProjectSource != ""; said != (test.want != "") {
				t.Errorf("project_source is %q", ws.ProjectSource)
			}
		})
	}
}
