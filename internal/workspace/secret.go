package workspace

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pyro/api"
	"pyro/internal/redact"
	"pyro/internal/sandbox"
	"pyro/internal/secret"
)

// secrets are those of a workspace. They do not change.
type secrets struct {
	all   []secret.Secret
	infos []api.SecretInfo // known even if the values are not
	hide  *redact.Set      // nil without secrets
	err   *api.Error       // why the values cannot be read
}

func newSecrets(all []secret.Secret) secrets {
	values := make([]string, len(all))
	for i, s := range all {
		values[i] = s.Value
	}
	return secrets{all: all, infos: secret.Infos(all), hide: redact.New(values...)}
}

func (in *instance) secretsPath() string { return filepath.Join(in.dir, secretsFile) }

// sealSecrets writes the secrets into the workspace's folder, where they stay as
// long as it does. describeSeed notes that there are some, and syncs the folder.
func (m *Manager) sealSecrets(in *instance) error {
	if len(in.secrets.all) == 0 {
		return nil
	}
	m.keyMaking.Lock()
	key, err := secret.OpenKey(m.key, true)
	m.keyMaking.Unlock()
	if err != nil {
		return err
	}
	b, err := key.Seal(in.id, in.secrets.all)
	if err != nil {
		return err
	}
	return storageErrorOrNil(in.what(), writeSynced(in.secretsPath(), b))
}

// loadSecrets reads what sealSecrets wrote. Without the values nothing can be
// hidden, so whatever gives output of the guest fails with the reason.
func (m *Manager) loadSecrets(in *instance) {
	err := m.openSecrets(in)
	if err == nil {
		return
	}
	in.secrets.err = api.Errorf(api.KindOf(err), "the secrets of %s cannot be read: %w", in.what(), err).
		WithHint("without them no output of it can be shown; take out what you need and create it anew: pyro workspace export %s . --output DIR", in.id)
	m.log.Error("secrets cannot be read", "workspace", in.id, "error", in.secrets.err)
}

func (m *Manager) openSecrets(in *instance) error {
	b, err := os.ReadFile(in.secretsPath())
	switch {
	case errors.Is(err, fs.ErrNotExist) && !in.shouldHaveSecrets():
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return api.Errorf(api.KindVerification, "%s is gone", in.secretsPath())
	case err != nil:
		return storageError(in.what(), err)
	}
	if in.secrets.infos, err = secret.Names(b); err != nil {
		return err
	}
	key, err := secret.OpenKey(m.key, false)
	if err != nil {
		return err
	}
	all, err := key.Open(in.id, b)
	if err != nil {
		return err
	}
	in.secrets = newSecrets(all)
	return nil
}

// shouldHaveSecrets asks the description of the seed.
func (in *instance) shouldHaveSecrets() bool {
	var mf manifest
	b, err := os.ReadFile(filepath.Join(in.dir, seedInfoFile))
	return err == nil && json.Unmarshal(b, &mf) == nil && mf.Secrets
}

// hidden returns what must not be in any output, nil if there is nothing.
func (in *instance) hidden() (*redact.Set, error) {
	if in.secrets.err != nil {
		return nil, in.secrets.err
	}
	return in.secrets.hide, nil
}

// environ returns the variables that a call asks for.
func (in *instance) environ(asked api.SecretEnv) ([]string, error) {
	if in.secrets.err != nil {
		return nil, in.secrets.err
	}
	return secret.Environ(in.what(), in.secrets.all, asked)
}

// checkName refuses to call something by a secret: names are shown everywhere.
func (in *instance) checkName(what, name string) error {
	if in.secrets.hide.Text(name) == name {
		return nil
	}
	return api.Errorf(api.KindUsage, "the name of the %s holds a secret of %s", what, in.what()).WithHint("choose another name")
}

// text makes text of the guest's, or about it, that an answer can have.
func (in *instance) text(s string) string { return in.secrets.hide.Text(validText(s)) }

// hideOutput makes the streams of a command such that no secret gets through
// them. flush is called when the command has ended.
func (in *instance) hideOutput(stdio sandbox.Stdio) (_ sandbox.Stdio, flush func()) {
	if in.secrets.hide == nil {
		return stdio, func() {}
	}
	stdout, stderr := in.secrets.hide.Writer(stdio.Stdout), in.secrets.hide.Writer(stdio.Stderr)
	stdio.Stdout, stdio.Stderr = stdout, stderr
	return stdio, func() {
		_, _ = stdout.Close(), stderr.Close() // a caller that is gone does not need it
	}
}

// leastCut is the shortest beginning of a secret that is hidden where a command
// line was cut, in bytes.
const leastCut = 4

// words is text for a command line of the agent's telling. Of a long one it tells
// only the beginning and "...", and may have cut it within a secret.
func (in *instance) words(words []string) []string {
	out := in.secrets.hide.Words(validWords(words))
	if len(out) == 0 {
		return out
	}
	last := &out[len(out)-1]
	if begin, cut := strings.CutSuffix(*last, "..."); cut {
		if _, open := in.secrets.hide.Find([]byte(begin)); len(begin)-open >= leastCut {
			*last = begin[:open] + redact.Mark + "..."
		}
	}
	return out
}

// hideError returns err without secrets.
func (s *secrets) hideError(err error) error {
	if err == nil || s.hide == nil {
		return err
	}
	return s.hideIn(api.AsError(err))
}

// hideIn is hideError for an error of pyro's own, which may be nil.
func (s *secrets) hideIn(e *api.Error) *api.Error {
	if e == nil || s.hide == nil {
		return e
	}
	message, hint := s.hide.Text(e.Message), s.hide.Text(e.Hint)
	if message == e.Message && hint == e.Hint {
		return e
	}
	return &api.Error{Kind: e.Kind, Message: message, Hint: hint}
}

// Hider returns a function that takes the secrets of a workspace out of an error.
// It is for calls that may outlive the workspace.
func (m *Manager) Hider(id string) func(error) error {
	in, err := m.lookup(id)
	if err != nil {
		return func(err error) error { return err }
	}
	return in.secrets.hideError
}

// Hide takes the secrets of all workspaces out of a text, for the log.
func (m *Manager) Hide(text string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, in := range m.workspaces {
		text = in.secrets.hide.Text(text)
	}
	return text
}
