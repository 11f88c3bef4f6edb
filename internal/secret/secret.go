// Package secret keeps values that nobody shall see but the commands they are for.
//
// # Terms
//
// A [Secret] is a name and a value. The secrets of one owner are sealed together:
// encrypted with the installation's [Key], which is a file of its own, so that no
// file of the owner's shows a value, in a backup or to a search. Whoever can read
// the key's file can read all of them: against that the files' mode stands alone.
//
//	KEY     32 random bytes, mode 0600, made with the first secret
//	SEALED  {"secrets": [{name, source_kind}], "sealed": BASE64}, mode 0600
//
// What is sealed is the values, as a JSON list in the order of the names, with
// AES-256-GCM (NIST SP 800-38D) and a random nonce before it. The owner's id and
// the names are authenticated with it: a file that was moved to another owner, or
// whose names were changed, does not open.
package secret

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// The bounds of secrets.
const (
	MaxCount = 64
	// MinBytes is the shortest value: a shorter one would be found in all kinds of
	// output, and hidden there.
	MinBytes = 4
	MaxBytes = 64 << 10
	// MaxTotal bounds all values of one owner together, and with them the memory
	// that hiding them takes.
	MaxTotal = 256 << 10
)

// Secret is one value with its name.
type Secret struct {
	Name   string
	Source api.SecretSource
	Value  string
}

var (
	validName     = regexp.MustCompile(`^[A-Z_][A-Z0-9_]{0,127}$`)
	validVariable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
)

// Read takes the secrets of a request, and their values from files. No error
// shows a value, or what may have been meant as one.
func Read(asked []api.Secret) ([]Secret, error) {
	if len(asked) > MaxCount {
		return nil, api.Errorf(api.KindUsage, "%d secrets are too many, at most %d are possible", len(asked), MaxCount).
			WithHint("put several values into one, as a JSON document for example")
	}
	var all []Secret
	seen, total := map[string]bool{}, 0
	for i, a := range asked {
		switch {
		case !validName.MatchString(a.Name):
			return nil, api.Errorf(api.KindUsage, "the name of secret %d cannot be one", i+1).
				WithHint("use 1 to 128 capital letters, digits and underscores, the first no digit: API_TOKEN")
		case seen[a.Name]:
			return nil, api.Errorf(api.KindUsage, "secret %s is given twice", a.Name).WithHint("give it once")
		case a.Value != "" && a.FilePath != "":
			return nil, api.Errorf(api.KindUsage, "secret %s has a value and a file", a.Name).WithHint("give one of them")
		}
		s := Secret{Name: a.Name, Source: api.SecretLiteral, Value: a.Value}
		if a.FilePath != "" {
			value, err := readFile(a.Name, a.FilePath)
			if err != nil {
				return nil, err
			}
			s.Source, s.Value = api.SecretFile, value
		}
		if err := check(s); err != nil {
			return nil, err
		}
		seen[a.Name] = true
		total += len(s.Value)
		all = append(all, s)
	}
	if total > MaxTotal {
		return nil, api.Errorf(api.KindUsage, "the secrets have %d bytes together, at most %d are possible", total, MaxTotal).
			WithHint("push what is large as a file: pyro workspace sync push")
	}
	return all, nil
}

func check(s Secret) error {
	switch {
	case s.Value == "":
		return api.Errorf(api.KindUsage, "secret %s is empty", s.Name).WithHint("is the variable set, does the file hold it?")
	case len(s.Value) < MinBytes:
		return api.Errorf(api.KindUsage, "secret %s has fewer than %d bytes, which stand in all kinds of output", s.Name, MinBytes).
			WithHint("what is so short is no secret; pass it in the command")
	case len(s.Value) > MaxBytes:
		return tooLong(s.Name)
	case strings.ContainsRune(s.Value, 0) || !utf8.ValidString(s.Value):
		return api.Errorf(api.KindUsage, "secret %s is not text, which a variable must be", s.Name).WithHint("encode it, for example with base64")
	}
	return nil
}

func tooLong(name string) error {
	return api.Errorf(api.KindUsage, "secret %s has more than %d bytes", name, MaxBytes).
		WithHint("push what is large as a file: pyro workspace sync push")
}

// readFile reads a value, without the line ends at its end, as $(cat FILE) does.
func readFile(name, path string) (string, error) {
	if !strings.HasPrefix(path, "/") {
		return "", api.Errorf(api.KindUsage, "the file of secret %s is not an absolute path", name).
			WithHint("give the whole path: the background process has another working directory")
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0) // a fifo must not hold us up
	if err != nil {
		return "", fileError(name, path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fileError(name, path, err)
	}
	if !info.Mode().IsRegular() || ownDescriptor(path) {
		return "", api.Errorf(api.KindUsage, "the file of secret %s, %s, is not a regular file", name, path).
			WithHint("pass what a program prints in a variable: %s=$(PROGRAM) pyro workspace create ENV --secret %s", name, name)
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxBytes+3)) // with a line end
	if err != nil {
		return "", fileError(name, path, err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// ownDescriptor says whether a path leads to what this process, and not the
// caller, has open under a number.
func ownDescriptor(path string) bool {
	for _, dir := range []string{"/dev/fd/", "/proc/self/", "/proc/thread-self/"} {
		if strings.HasPrefix(path, dir) {
			return true
		}
	}
	return path == "/dev/stdin"
}

func fileError(name, path string, err error) error {
	kind := api.KindUsage
	if os.IsPermission(err) {
		kind = api.KindPermission
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return api.Errorf(kind, "the file of secret %s, %s, cannot be read: %w", name, path, err).WithHint("check the path and who may read it")
}

// Infos is what may be told of secrets.
func Infos(all []Secret) []api.SecretInfo {
	infos := make([]api.SecretInfo, len(all))
	for i, s := range all {
		infos[i] = api.SecretInfo{Name: s.Name, SourceKind: s.Source}
	}
	return infos
}

// Environ returns the variables of a call, as KEY=VALUE, in the order of the
// names. what is the owner, for errors.
func Environ(what string, all []Secret, asked api.SecretEnv) ([]string, error) {
	var env []string
	known, taken := map[string]bool{}, map[string]bool{}
	for _, s := range all {
		known[s.Name] = true
		variable, wanted := asked[s.Name]
		if !wanted {
			continue
		}
		if variable == "" {
			variable = s.Name
		}
		if !validVariable.MatchString(variable) {
			return nil, api.Errorf(api.KindUsage, "the variable for secret %s is no name of one", s.Name).
				WithHint("it is the name of a variable, not a value: %s, or %s=GITHUB_TOKEN for example", s.Name, s.Name)
		}
		if taken[variable] {
			return nil, api.Errorf(api.KindUsage, "two secrets want the variable %s", variable).WithHint("give each its own: NAME=VARIABLE")
		}
		taken[variable] = true
		env = append(env, variable+"="+s.Value)
	}
	for name := range asked {
		if !known[name] {
			return nil, unknown(what, name, all)
		}
	}
	return env, nil
}

func unknown(what, name string, all []Secret) error {
	shown := "that is asked for"
	if validName.MatchString(name) { // else it may be a value in the wrong place
		shown = name
	}
	e := api.Errorf(api.KindNotFound, "%s has no secret %s", what, shown)
	if len(all) == 0 {
		return e.WithHint("secrets are given at creation: pyro workspace create ENV --secret NAME")
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	return e.WithHint("it has: %s", strings.Join(names, ", "))
}
