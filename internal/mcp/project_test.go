package mcp

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/client/clienttest"
)

// checkout is a Git checkout for a test.
type checkout struct {
	testing.TB
	dir string
}

// newCheckout makes one with two commits' worth of everything.
func newCheckout(t *testing.T) checkout {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git")
	}
	c := checkout{t, t.TempDir()}
	c.git("init", "-q")
	c.write("main.c", "int main;\n")
	c.write("src/a.c", "a\n")
	c.write("gone.c", "gone\n")
	c.write("odd name\n.c", "odd\n")
	c.write("not-utf8-\xff.c", "x\n")
	if err := os.Symlink("main.c", filepath.Join(c.dir, "link.c")); err != nil {
		t.Fatal(err)
	}
	c.write(".gitignore", "ignored\n")
	c.git("add", ".")
	c.git("update-index", "--add", "--cacheinfo", "160000,4b825dc642cb6eb9a060e54bf8d69288fbee4904,sub")
	c.write("ignored", "secret\n")
	c.write("untracked.c", "secret\n")
	return c
}

func (c checkout) git(args ...string) {
	c.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		c.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func (c checkout) write(name, text string) {
	c.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		c.Fatal(err)
	}
}

var tracked = []string{".gitignore", "gone.c", "link.c", "main.c", "odd name\n.c", "src/a.c"}

func TestTrackedFiles(t *testing.T) {
	c := newCheckout(t)
	t.Setenv("GIT_DIR", "/nowhere") // as in a hook that starts the server
	files, warnings, err := trackedFiles(t.Context(), c.dir, c.dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tracked, files); diff != "" {
		t.Error(diff)
	}
	want := []api.Warning{
		{Path: "not-utf8-�.c", Reason: "has a name that is not UTF-8, and is not copied"},
		{Path: "sub", Reason: "is a submodule, which is not copied"},
	}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Error(diff)
	}
	if files, _, err := trackedFiles(t.Context(), c.dir, filepath.Join(c.dir, "src")); err != nil || strings.Join(files, " ") != "a.c" {
		t.Errorf("of a part: %q, %v", files, err)
	}
}

// TestTrackedFilesOfConflict: a file in conflict is there once.
func TestTrackedFilesOfConflict(t *testing.T) {
	c := newCheckout(t)
	blob := strings.Repeat("1", 40)
	cmd := exec.Command("git", "update-index", "--index-info")
	cmd.Dir = c.dir
	cmd.Stdin = strings.NewReader("0 " + strings.Repeat("0", 40) + "\tmain.c\n100644 " + blob + " 1\tmain.c\n100644 " + blob + " 2\tmain.c\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files, _, err := trackedFiles(t.Context(), c.dir, c.dir)
	if diff := cmp.Diff(tracked, files); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// TestHostileCheckout: nothing that a checkout configures is started, followed
// or believed.
func TestHostileCheckout(t *testing.T) {
	c := newCheckout(t)
	touched := filepath.Join(t.TempDir(), "touched")
	hook := filepath.Join(c.dir, "hook")
	c.write("hook", "#!/bin/sh\ntouch "+touched+"\n")
	if err := os.Chmod(hook, 0o755); err != nil {
		t.Fatal(err)
	}
	c.git("config", "core.fsmonitor", hook)
	c.git("config", "core.hooksPath", c.dir)
	c.git("config", "core.sshCommand", hook)
	c.git("config", "core.pager", hook)
	c.git("config", "alias.ls-files", "!"+hook)
	c.git("config", "core.worktree", "/")
	files, _, err := trackedFiles(t.Context(), c.dir, c.dir)
	if diff := cmp.Diff(tracked, files); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, err := os.Stat(touched); err == nil {
		t.Error("a program of the checkout ran")
	}
	c.write(".git/index", "damaged")
	if _, _, err := trackedFiles(t.Context(), c.dir, c.dir); api.KindOf(err) != api.KindUnavailable || !strings.Contains(api.AsError(err).Hint, `""`) {
		t.Errorf("of a damaged index: %v", err)
	}
	t.Setenv("PATH", "")
	if _, _, err := trackedFiles(t.Context(), c.dir, c.dir); api.KindOf(err) != api.KindUnavailable || !strings.Contains(err.Error(), "not on PATH") {
		t.Errorf("without git: %v", err)
	}
}

// TestProject: what a workspace is made of, with and without a project, and what
// the answer and the tool say about it.
func TestProject(t *testing.T) {
	c := newCheckout(t)
	plain := t.TempDir()
	empty := filepath.Join(c.dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		project   string
		arguments map[string]any
		want      api.CreateWorkspaceRequest // SeedPath and SeedFiles
		source    string
	}{
		"none":          {project: ""},
		"checkout":      {project: c.dir, want: api.CreateWorkspaceRequest{SeedPath: c.dir, SeedFiles: tracked}, source: "what git tracks in " + c.dir + " (6 files)"},
		"part":          {project: filepath.Join(c.dir, "src"), want: api.CreateWorkspaceRequest{SeedPath: filepath.Join(c.dir, "src"), SeedFiles: []string{"a.c"}}, source: "what git tracks in "},
		"nothing there": {project: empty, source: "nothing: git tracks no file in " + empty},
		"no checkout":   {project: plain, want: api.CreateWorkspaceRequest{SeedPath: plain}, source: "the folder " + plain},
		"another seed":  {project: c.dir, arguments: map[string]any{"seed_path": plain}, want: api.CreateWorkspaceRequest{SeedPath: plain}},
		"no seed":       {project: c.dir, arguments: map[string]any{"seed_path": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			var got api.CreateWorkspaceRequest
			daemon := &clienttest.Server{Events: map[string]func(context.Context, []byte, func(any)) (any, error){
				api.CreateWorkspace.Name: func(_ context.Context, body []byte, _ func(any)) (any, error) {
					return api.Workspace{WorkspaceID: "ws-1", Warnings: []api.Warning{{Path: "gone.c", Reason: "is not there"}}}, json.Unmarshal(body, &got)
				},
			}}
			session := connect(t, newServer(t, daemon, Options{Project: test.project}), nil)
			arguments := map[string]any{"environment": "debian:12"}
			for k, v := range test.arguments {
				arguments[k] = v
			}
			res := call(t, session, "workspace_create", arguments)
			if res.IsError {
				t.Fatal(text(t, res))
			}
			answer := content[createAnswer](t, res)
			if !strings.HasPrefix(answer.ProjectSource, test.source) || (test.source == "") != (answer.ProjectSource == "") {
				t.Errorf("project_source %q, want %q", answer.ProjectSource, test.source)
			}
			if n := len(answer.Warnings); answer.Warnings[n-1].Path != "gone.c" || name == "checkout" && n != 3 {
				t.Errorf("warnings %+v", answer.Warnings)
			}
			if diff := cmp.Diff(test.want.SeedFiles, got.SeedFiles); diff != "" || got.SeedPath != test.want.SeedPath {
				t.Errorf("seed_path %q, want %q; seed_files %s", got.SeedPath, test.want.SeedPath, diff)
			}
			about, err := json.Marshal(tools(t, session)["workspace_create"].InputSchema)
			if says := strings.Contains(string(about)+session.InitializeResult().Instructions, "if absent the project "+test.project); err != nil || says != (test.project != "") {
				t.Errorf("the tool says %s, %v", about, err)
			}
		})
	}
}

// FuzzTrackedFiles: whatever a checkout's index makes git print, the names can
// be sent, and each is there once.
func FuzzTrackedFiles(f *testing.F) {
	f.Add([]byte("100644 1234 0\ta.c\x00160000 1234 0\tsub\x00120000 1234 0\tlink\x00100644 1 1\ta.c\x00"))
	f.Add([]byte("100644 1234 0\t\xff\x00\x00\t\x00no tab"))
	f.Fuzz(func(t *testing.T, out []byte) {
		files, warnings := parseFiles(out)
		doc, err := json.Marshal(files)
		var back []string
		if err == nil {
			err = json.Unmarshal(doc, &back)
		}
		if err != nil || cmp.Diff(files, back) != "" {
			t.Errorf("%q: %v", files, err)
		}
		for i, name := range files {
			if i > 0 && files[i-1] >= name {
				t.Errorf("%q after %q", name, files[i-1])
			}
		}
		if n := len(files) + len(warnings); n > strings.Count(string(out), "\t") {
			t.Errorf("%d names of %d", n, strings.Count(string(out), "\t"))
		}
	})
}

func TestCheckout(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := Checkout(filepath.Join(dir, "a", "b")); got != "" {
		t.Errorf("without a checkout: %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "a", ".git"), []byte("gitdir: elsewhere"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := Checkout(filepath.Join(dir, "a", "b")); got != filepath.Join(dir, "a") {
		t.Errorf("got %q", got)
	}
}
