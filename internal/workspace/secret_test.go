package workspace

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/redact"
	"pyro/internal/sandbox"
)

const (
	token    = "ghp_0123456789abcdef"
	password = "hunter22"
)

// createSecret makes a workspace with the secrets API_TOKEN and PASSWORD, the
// second one from a file.
func (w *world) createSecret() string {
	w.t.Helper()
	req := request()
	req.Secrets = []api.Secret{
		{Name: "API_TOKEN", Value: token},
		{Name: "PASSWORD", FilePath: filepath.Join(w.folder("host", "password", password+"\n"), "password")},
	}
	made, err := w.Create(w.t.Context(), req, func(api.Progress) {})
	if err != nil {
		w.t.Fatal(err)
	}
	return made.WorkspaceID
}

// execWith runs a command with secrets and returns what it was given and wrote.
func (w *world) execWith(id string, env api.SecretEnv, argv ...string) (api.ExecResult, string, error) {
	var out strings.Builder
	res, err := w.Exec(w.t.Context(), api.ExecWorkspaceRequest{
		WorkspaceID: id, Command: argv, SecretEnv: env, Cwd: api.WorkspacePath, TimeoutSeconds: 3600,
	}, sandbox.Stdio{Stdout: &out})
	return res, out.String(), err
}

// assertSilent wants no answer and no file of the records to show a secret.
func (w *world) assertSilent(id string) {
	w.t.Helper()
	log, err := w.Logs(w.t.Context(), api.LogsWorkspaceRequest{WorkspaceID: id, MaxBytes: 1 << 16})
	if err != nil {
		w.t.Fatal(err)
	}
	diff, err := w.Diff(w.t.Context(), api.DiffRequest{WorkspaceID: id, From: api.Baseline})
	if err != nil {
		w.t.Fatal(err)
	}
	list, _ := w.List(w.t.Context(), api.ListWorkspacesRequest{})
	snapshots, _ := w.ListSnapshots(w.t.Context(), id)
	for _, answer := range []any{log, diff, list, snapshots, w.status(id)} {
		b, err := json.Marshal(answer)
		if err != nil {
			w.t.Fatal(err)
		}
		if strings.Contains(string(b), token) || strings.Contains(string(b), password) {
			w.t.Errorf("%T shows a secret: %s", answer, b)
		}
	}
	err = filepath.WalkDir(w.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || strings.Contains(path, "/disks/") { // the guest's own files
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), token) || strings.Contains(string(b), password) {
			w.t.Errorf("%s shows a secret", path)
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
}

func TestSecrets(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.createSecret()
		want := []api.SecretInfo{{Name: "API_TOKEN", SourceKind: api.SecretLiteral}, {Name: "PASSWORD", SourceKind: api.SecretFile}}
		for _, stage := range []string{"created", "reset", "crashed", "stopped"} {
			switch stage {
			case "reset":
				w.reset(id, api.Baseline)
			case "crashed":
				w = w.crash()
			case "stopped":
				if _, err := w.Stop(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(want, w.status(id).Secrets); diff != "" {
				t.Errorf("%s: (-want +got):\n%s", stage, diff)
			}
			res, out, err := w.execWith(id, api.SecretEnv{"API_TOKEN": "", "PASSWORD": "PW"}, "env")
			if err != nil || out != "API_TOKEN=[REDACTED]\nPW=[REDACTED]" || res.StdoutBytes != int64(len(out)) {
				t.Errorf("%s: %q of %d bytes, %v", stage, out, res.StdoutBytes, err)
			}
			if _, out, err := w.execWith(id, nil, "env"); err != nil || out != "" {
				t.Errorf("%s: without asking: %q, %v", stage, out, err)
			}
		}
		w.assertSilent(id)
		if info, err := os.Stat(filepath.Join(w.ownFolder(id), secretsFile)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	})
}

func (w *world) ownFolder(id string) string { return w.Manager.folder(id) }

// TestSecretsInWhatCallersWrote: command lines, folders and errors.
func TestSecretsInWhatCallersWrote(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.createSecret()
		res, _, err := w.execWith(id, nil, "write", "file", "user:"+password)
		if err != nil || !cmp.Equal(res.Command, []string{"write", "file", "user:" + redact.Mark}) {
			t.Errorf("%q, %v", res.Command, err)
		}
		if got, _ := w.machine(id).read("/workspace/file"); got != "user:"+password {
			t.Errorf("the command wrote %q", got)
		}
		res, _, err = w.execWith(id, nil, token)
		if err != nil || res.Limit == nil || !strings.Contains(res.Limit.Message, `"[REDACTED]"`) {
			t.Errorf("%+v, %v", res.Limit, err)
		}
		w.exec(id, "write", token, "x")
		diff, err := w.Diff(t.Context(), api.DiffRequest{WorkspaceID: id, From: api.Baseline})
		if err != nil || !diff.Redacted || len(diff.Entries) != 2 || !diff.Entries[0].Redacted || !diff.Entries[1].Redacted || diff.Entries[1].Path != redact.Mark {
			t.Errorf("%+v, %v", diff, err)
		}
		w.snapshot(id, "one")
		if _, err := w.CreateSnapshot(t.Context(), api.SnapshotRequest{WorkspaceID: id, SnapshotName: token}); api.KindOf(err) != api.KindUsage {
			t.Errorf("a snapshot called by a secret: %v", err)
		}
		if _, err := w.StartService(t.Context(), api.StartServiceRequest{WorkspaceID: id, ServiceName: token, Command: []string{"env"}}); api.KindOf(err) != api.KindUsage {
			t.Errorf("a service called by a secret: %v", err)
		}
		w.assertSilent(id)
		why := w.Hider(id)(api.Errorf(api.KindExec, "no %s", token).WithHint("try %s", password))
		if e := api.AsError(why); e.Message != "no [REDACTED]" || e.Hint != "try [REDACTED]" || e.Kind != api.KindExec {
			t.Errorf("%+v", e)
		}
		if got := w.Hide("a " + token + " b"); got != "a [REDACTED] b" {
			t.Errorf("for the log: %q", got)
		}
	})
}

// TestSecretsThatAreNotThere: nothing is run, and nothing changes.
func TestSecretsThatAreNotThere(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.createSecret()
		for want, env := range map[api.Kind]api.SecretEnv{
			api.KindNotFound: {"API_TOKEN": "", "OTHER": ""},
			api.KindUsage:    {"API_TOKEN": "1", "PASSWORD": ""},
		} {
			if _, _, err := w.execWith(id, env, "env"); api.KindOf(err) != want {
				t.Errorf("exec: %v, want kind %s", err, want)
			}
			if _, err := w.OpenShell(t.Context(), api.OpenShellRequest{WorkspaceID: id, SecretEnv: env, Cols: 1, Rows: 1}); api.KindOf(err) != want {
				t.Errorf("shell: %v, want kind %s", err, want)
			}
			if _, err := w.StartService(t.Context(), api.StartServiceRequest{WorkspaceID: id, ServiceName: "s", Command: []string{"env"}, SecretEnv: env}); api.KindOf(err) != want {
				t.Errorf("service: %v, want kind %s", err, want)
			}
		}
		if n := w.status(id).CommandCount; n != 0 {
			t.Errorf("%d commands are in the log", n)
		}
		req := request()
		req.Secrets = []api.Secret{{Name: "A", Value: "abc"}}
		if _, err := w.Create(t.Context(), req, func(api.Progress) {}); api.KindOf(err) != api.KindUsage {
			t.Errorf("create: %v", err)
		}
		if list, _ := w.List(t.Context(), api.ListWorkspacesRequest{}); len(list.Workspaces) != 1 {
			t.Errorf("%d workspaces", len(list.Workspaces))
		}
	})
}

// TestSecretsThatCannotBeRead: without the values nothing can be hidden, so there
// is no output; the files can still be taken out.
func TestSecretsThatCannotBeRead(t *testing.T) {
	for name, damage := range map[string]func(w *world, id string) error{
		"gone": func(w *world, id string) error { return os.Remove(filepath.Join(w.ownFolder(id), secretsFile)) },
		"damaged": func(w *world, id string) error {
			return os.WriteFile(filepath.Join(w.ownFolder(id), secretsFile), []byte("{"), 0o600)
		},
		"key gone":     func(w *world, _ string) error { return os.Remove(w.key) },
		"another key":  func(w *world, _ string) error { return os.WriteFile(w.key, make([]byte, 32), 0o600) },
		"key too long": func(w *world, _ string) error { return os.WriteFile(w.key, make([]byte, 33), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				id := w.createSecret()
				w.exec(id, "write", "file", "content")
				if err := damage(w, id); err != nil {
					t.Fatal(err)
				}
				w = w.crash()
				_, out, err := w.execWith(id, nil, "read", "file")
				e := api.AsError(err)
				if e == nil || e.Kind != api.KindVerification || out != "" || !strings.Contains(e.Hint, "pyro workspace export "+id) {
					t.Errorf("exec: %q, %v", out, err)
				}
				if _, err := w.Diff(t.Context(), api.DiffRequest{WorkspaceID: id, From: api.Baseline}); api.KindOf(err) != api.KindVerification {
					t.Errorf("diff: %v", err)
				}
				if _, err := w.Export(t.Context(), api.ExportRequest{WorkspaceID: id, Path: "file", OutputPath: filepath.Join(t.TempDir(), "out")}); err != nil {
					t.Errorf("export: %v", err)
				}
				w.delete(id)
			})
		})
	}
}

// TestSecretsGoWithTheWorkspace, and with one that could not be created.
func TestSecretsGoWithTheWorkspace(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.delete(w.createSecret())
		w.failAt("create-seeded")
		req := request()
		req.Secrets = []api.Secret{{Name: "API_TOKEN", Value: token}}
		if _, err := w.Create(t.Context(), req, func(api.Progress) {}); err == nil {
			t.Error("the creation did not fail")
		}
		synctest.Wait()
		if left, _ := os.ReadDir(w.Manager.dir); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}
