package api

import "strings"

// Secret is a value for the commands of a workspace that no answer, log or disk
// of pyro's shows.
type Secret struct {
	Name     string `json:"name" doc:"what it is called: capital letters, digits and underscores, the first no digit"`
	Value    string `json:"value,omitempty" doc:"the value, 4 bytes to 64 KiB of text"`
	FilePath string `json:"file_path,omitempty" doc:"instead of value: absolute path of a host file that holds it; line ends at its end are left out"`
}

// SecretSource says where the value of a secret came from.
type SecretSource string

// The sources of secrets.
const (
	SecretLiteral SecretSource = "literal" // the request
	SecretFile    SecretSource = "file"
)

// SecretInfo is what pyro tells of a secret.
type SecretInfo struct {
	Name       string       `json:"name" doc:"what it is called"`
	SourceKind SecretSource `json:"source_kind" doc:"where the value came from: literal or file"`
}

// SecretEnv says which secrets a call gets, by name, and in which variable of its
// environment; an empty one is called as the secret is.
type SecretEnv map[string]string

// Placeholder stands for the value of a flag.
func (SecretEnv) Placeholder() string { return "NAME[=VARIABLE]" }

// SetText adds NAME or NAME=VARIABLE.
func (e *SecretEnv) SetText(text string) error {
	name, variable, given := strings.Cut(text, "=")
	if name == "" || given && variable == "" {
		return Errorf(KindUsage, "not NAME or NAME=VARIABLE").WithHint("for example API_TOKEN, or API_TOKEN=GITHUB_TOKEN")
	}
	if _, twice := (*e)[name]; twice {
		return Errorf(KindUsage, "secret %s is given twice", name).WithHint("give it once; the command can set other variables from it")
	}
	if *e == nil {
		*e = SecretEnv{}
	}
	(*e)[name] = variable
	return nil
}
