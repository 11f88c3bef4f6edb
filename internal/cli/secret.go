package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pyro/api"
)

// secretFlags are those of the creation of a workspace. No error of theirs shows
// a value, or what may have been meant as one.
type secretFlags struct {
	app     *app
	secrets []api.Secret
	visible []string // names of those whose values stand on the command line
}

func (a *app) ownCreate(cmd *cobra.Command, req *api.CreateWorkspaceRequest) func(bool) (bool, error) {
	s := &secretFlags{app: a}
	cmd.Flags().Var(secretFlag{"NAME[=VALUE]", s.literal}, "secret",
		"a secret, taken from pyro's own variable NAME, or the value itself, which is visible in the host's list of processes; any number of times")
	cmd.Flags().Var(secretFlag{"NAME=PATH", s.file}, "secret-file", "a secret, taken from a file; any number of times")
	return func(bool) (bool, error) {
		req.Secrets = s.secrets
		s.warn(a.Stderr)
		return false, nil
	}
}

// secretFlag hands each use of a flag to add. It implements pflag.Value.
type secretFlag struct {
	form string
	add  func(text string) error
}

func (f secretFlag) String() string        { return "" }
func (f secretFlag) Type() string          { return f.form }
func (f secretFlag) Set(text string) error { return f.add(text) }

func (s *secretFlags) literal(text string) error {
	name, value, given := strings.Cut(text, "=")
	if name == "" {
		return api.Errorf(api.KindUsage, "--secret has no name").WithHint("for example --secret API_TOKEN")
	}
	if !given {
		if value = s.app.getenv(name); value == "" {
			return api.Errorf(api.KindUsage, "--secret names a variable that is not set, or empty").
				WithHint("export it first, or take the value from a file: --secret-file NAME=PATH")
		}
	} else if value != "" {
		s.visible = append(s.visible, name)
	}
	s.secrets = append(s.secrets, api.Secret{Name: name, Value: value})
	return nil
}

func (s *secretFlags) file(text string) error {
	name, path, _ := strings.Cut(text, "=")
	if name == "" || path == "" {
		return api.Errorf(api.KindUsage, "--secret-file is not NAME=PATH").WithHint("for example --secret-file DEPLOY_KEY=$HOME/.ssh/deploy")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return api.Errorf(api.KindUsage, "--secret-file: %w", err)
	}
	s.secrets = append(s.secrets, api.Secret{Name: name, FilePath: path})
	return nil
}

// warn tells which values other processes of the host could see.
func (s *secretFlags) warn(w io.Writer) {
	for _, name := range s.visible {
		fmt.Fprintf(w, "warning: --secret %s: its value was visible in the host's list of processes; take it from a variable, --secret %s, or a file, --secret-file %s=PATH\n",
			printable(name), printable(name), printable(name))
	}
}

// renderSecrets names the secrets of a workspace.
func renderSecrets(w io.Writer, secrets []api.SecretInfo) {
	var all []string
	for _, s := range secrets {
		all = append(all, fmt.Sprintf("%s (%s)", printable(s.Name), s.SourceKind))
	}
	if len(all) > 0 {
		field(w, "Secrets", strings.Join(all, ", "))
	}
}
