package cli_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/client/clienttest"
)

// TestSecretFlags: what of them reaches the operation, and what of them is shown.
func TestSecretFlags(t *testing.T) {
	for _, test := range []struct {
		name   string
		args   []string
		want   []api.Secret
		code   int
		stderr string // part of it
	}{
		{"none", nil, nil, 0, ""},
		{"variable", []string{"--secret", "API_TOKEN"}, []api.Secret{{Name: "API_TOKEN", Value: "from the environment"}}, 0, ""},
		{"value", []string{"--secret", "A=b=hunter22"}, []api.Secret{{Name: "A", Value: "b=hunter22"}}, 0, "warning: --secret A: its value was visible"},
		{
			"several",
			[]string{"--secret", "API_TOKEN", "--secret-file", "F=/etc/../secret=hunter22", "--secret=B=two words"},
			[]api.Secret{{Name: "API_TOKEN", Value: "from the environment"}, {Name: "F", FilePath: "/secret=hunter22"}, {Name: "B", Value: "two words"}},
			0, "--secret-file B=PATH",
		},
		{"empty value", []string{"--secret", "A="}, []api.Secret{{Name: "A"}}, 0, ""}, // the background process refuses it
		{"not set", []string{"--secret", "NOT_SET"}, nil, 2, "not set"},
		{"empty variable", []string{"--secret", "EMPTY"}, nil, 2, "or empty"},
		{"no name", []string{"--secret", "=hunter22"}, nil, 2, "has no name"},
		{"no file", []string{"--secret-file", "hunter22"}, nil, 2, "not NAME=PATH"},
		{"no file name", []string{"--secret-file", "A="}, nil, 2, "not NAME=PATH"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []api.Secret
			s := &clienttest.Server{Events: map[string]func(context.Context, []byte, func(any)) (any, error){
				"create_workspace": func(_ context.Context, body []byte, _ func(any)) (any, error) {
					var req api.CreateWorkspaceRequest
					err := api.DecodeRequest(body, &req)
					got = req.Secrets
					return workspace, err
				},
			}}
			dirs := clienttest.Dirs(t)
			s.Start(t, dirs)
			env := append(clienttest.Env(dirs), "API_TOKEN=from the environment", "EMPTY=")
			r := pyroWith(t, env, nil, append([]string{"workspace", "create", "debian:12"}, test.args...)...)
			if r.code != test.code || !strings.Contains(r.stderr, test.stderr) || test.code == 0 && test.stderr == "" && r.stderr != "" {
				t.Errorf("got %+v, want exit code %d and %q", r, test.code, test.stderr)
			}
			if strings.Contains(r.stdout+r.stderr, "hunter22") {
				t.Errorf("a value is shown: %+v", r)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSecretEnvFlags(t *testing.T) {
	for _, test := range []struct {
		args   string
		want   api.SecretEnv
		stderr string
	}{
		{"--secret-env API_TOKEN --secret-env A=B", api.SecretEnv{"API_TOKEN": "", "A": "B"}, ""},
		{"--secret-env =hunter22", nil, "--secret-env: not NAME or NAME=VARIABLE"},
		{"--secret-env A=", nil, "--secret-env: not NAME or NAME=VARIABLE"},
		{"--secret-env A=hunter22 --secret-env A", nil, "--secret-env: secret A is given twice"},
	} {
		var got api.SecretEnv
		s := &clienttest.Server{Call: map[string]func(context.Context, []byte) (any, error){
			"start_service": func(_ context.Context, body []byte) (any, error) {
				var req api.StartServiceRequest
				err := api.DecodeRequest(body, &req)
				got = req.SecretEnv
				return service, err
			},
		}}
		dirs := clienttest.Dirs(t)
		s.Start(t, dirs)
		args := append(strings.Fields("workspace service start ws-1 web "+test.args), "--", "true")
		if r := pyro(t, dirs, nil, args...); (r.code == 2) != (test.stderr != "") || !strings.Contains(r.stderr, test.stderr) || strings.Contains(r.stderr, "hunter22") {
			t.Errorf("%s: got %+v", test.args, r)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", test.args, diff)
		}
	}
}

func TestSecretsAreNamed(t *testing.T) {
	ws := workspace
	ws.Secrets = []api.SecretInfo{{Name: "API_TOKEN", SourceKind: api.SecretLiteral}, {Name: "KEY", SourceKind: api.SecretFile}}
	s := &clienttest.Server{Call: map[string]func(context.Context, []byte) (any, error){"status_workspace": reply(ws)}}
	dirs := clienttest.Dirs(t)
	s.Start(t, dirs)
	if r := pyro(t, dirs, nil, "workspace", "status", "ws-1"); !strings.Contains(r.stdout, "\nSecrets: API_TOKEN (literal), KEY (file)\n") {
		t.Errorf("got %+v", r)
	}
}
