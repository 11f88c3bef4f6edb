package secret

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

const value = "ghp_0123456789abcdef"

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	got, err := Read([]api.Secret{
		{Name: "API_TOKEN", Value: value},
		{Name: "_KEY2", FilePath: write(t, "line one\nline two\r\n\n")},
		{Name: "SPACES", Value: "  four words\tand a tab\n"},
	})
	want := []Secret{
		{"API_TOKEN", api.SecretLiteral, value},
		{"_KEY2", api.SecretFile, "line one\nline two"},
		{"SPACES", api.SecretLiteral, "  four words\tand a tab\n"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if none, err := Read(nil); none != nil || err != nil {
		t.Errorf("nothing: %v, %v", none, err)
	}
}

// TestReadRefuses, in errors that tell the name at most.
func TestReadRefuses(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	var many, large []api.Secret
	for i := range MaxCount + 1 {
		many = append(many, api.Secret{Name: "N" + strings.Repeat("X", i), Value: value})
	}
	for _, name := range []string{"A", "B", "C", "D", "E"} {
		large = append(large, api.Secret{Name: name, Value: strings.Repeat("x", MaxBytes)})
	}
	for name, test := range map[string]struct {
		asked []api.Secret
		says  string
	}{
		"no name":           {[]api.Secret{{Value: value}}, "name"},
		"lower case":        {[]api.Secret{{Name: "token", Value: value}}, "name"},
		"a value as name":   {[]api.Secret{{Name: value}}, "name"},
		"long name":         {[]api.Secret{{Name: strings.Repeat("A", 129), Value: value}}, "name"},
		"digit first":       {[]api.Secret{{Name: "1A", Value: value}}, "name"},
		"twice":             {[]api.Secret{{Name: "A", Value: value}, {Name: "A", Value: value}}, "twice"},
		"both":              {[]api.Secret{{Name: "A", Value: value, FilePath: "/x"}}, "a value and a file"},
		"empty":             {[]api.Secret{{Name: "A"}}, "is empty"},
		"short":             {[]api.Secret{{Name: "A", Value: "abc"}}, "fewer than 4 bytes"},
		"long":              {[]api.Secret{{Name: "A", Value: strings.Repeat("x", MaxBytes+1)}}, "more than 65536 bytes"},
		"NUL":               {[]api.Secret{{Name: "A", Value: value + "\x00"}}, "not text"},
		"binary":            {[]api.Secret{{Name: "A", FilePath: write(t, value+"\xff")}}, "not text"},
		"relative":          {[]api.Secret{{Name: "A", FilePath: "secret"}}, "not an absolute path"},
		"no file":           {[]api.Secret{{Name: "A", FilePath: "/nowhere/secret"}}, "no such file"},
		"folder":            {[]api.Secret{{Name: "A", FilePath: t.TempDir()}}, "not a regular file"},
		"fifo":              {[]api.Secret{{Name: "A", FilePath: fifo}}, "not a regular file"},
		"descriptor":        {[]api.Secret{{Name: "A", FilePath: "/dev/fd/0"}}, ""},
		"device":            {[]api.Secret{{Name: "A", FilePath: "/dev/zero"}}, "not a regular file"},
		"empty file":        {[]api.Secret{{Name: "A", FilePath: write(t, "\n")}}, "is empty"},
		"long file":         {[]api.Secret{{Name: "A", FilePath: write(t, strings.Repeat("x", MaxBytes+100))}}, "more than 65536 bytes"},
		"too many":          {many, "65 secrets are too many"},
		"too much together": {large, "327680 bytes together"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Read(test.asked)
			e := api.AsError(err)
			if got != nil || e == nil || e.Kind != api.KindUsage || e.Hint == "" || !strings.Contains(e.Message, test.says) {
				t.Fatalf("got %d secrets, %v, want kind usage and %q", len(got), err, test.says)
			}
			if strings.Contains(e.Message+e.Hint, value) {
				t.Errorf("the error shows the value: %s; %s", e.Message, e.Hint)
			}
		})
	}
}

func TestEnviron(t *testing.T) {
	all := []Secret{{"A", api.SecretLiteral, "value of a"}, {"B", api.SecretFile, "value\nof b"}, {"C", api.SecretLiteral, "value of c"}}
	got, err := Environ("workspace ws-1", all, api.SecretEnv{"B": "other_Name", "A": ""})
	if diff := cmp.Diff([]string{"A=value of a", "other_Name=value\nof b"}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := Environ("workspace ws-1", nil, nil); got != nil || err != nil {
		t.Errorf("nothing: %v, %v", got, err)
	}
	for want, asked := range map[string]api.SecretEnv{
		"workspace ws-1 has no secret D":              {"A": "", "D": ""},
		"workspace ws-1 has no secret that is asked":  {value: ""},
		"the variable for secret A is no name of one": {"A": "value of a"},
		"two secrets want the variable B":             {"A": "B", "B": ""},
	} {
		_, err := Environ("workspace ws-1", all, asked)
		e := api.AsError(err)
		if e == nil || !strings.HasPrefix(e.Message, want) || strings.Contains(e.Message+e.Hint, "value of a") || strings.Contains(e.Message+e.Hint, value) {
			t.Errorf("%v: got %v, want %q", asked, err, want)
		}
	}
}

func openKey(t *testing.T, path string) *Key {
	t.Helper()
	k, err := OpenKey(path, true)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSeal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	all := []Secret{{"A", api.SecretLiteral, value}, {"B", api.SecretFile, "line one\nline two"}}
	file, err := openKey(t, path).Seal("ws-1", all)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 || info.Size() != 32 {
		t.Errorf("the key: %v, %v", info, err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("files left beside the key: %v", left)
	}
	if strings.Contains(string(file), value) || strings.Contains(string(file), "line") {
		t.Errorf("the file shows a value: %s", file)
	}
	got, err := openKey(t, path).Open("ws-1", file)
	if diff := cmp.Diff(all, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	names, err := Names(file)
	if diff := cmp.Diff([]api.SecretInfo{{Name: "A", SourceKind: api.SecretLiteral}, {Name: "B", SourceKind: api.SecretFile}}, names); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}

	other := openKey(t, filepath.Join(t.TempDir(), "key"))
	for what, open := range map[string]func() ([]Secret, error){
		"of another owner": func() ([]Secret, error) { return openKey(t, path).Open("ws-2", file) },
		"with another key": func() ([]Secret, error) { return other.Open("ws-1", file) },
		"with other names": func() ([]Secret, error) {
			return openKey(t, path).Open("ws-1", []byte(strings.Replace(string(file), `"name":"A"`, `"name":"Z"`, 1)))
		},
		"cut":   func() ([]Secret, error) { return openKey(t, path).Open("ws-1", file[:len(file)/2]) },
		"empty": func() ([]Secret, error) { return openKey(t, path).Open("ws-1", nil) },
	} {
		if got, err := open(); got != nil || api.KindOf(err) != api.KindVerification {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
}

func TestKeyThatIsGoneOrDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if _, err := OpenKey(path, false); api.KindOf(err) != api.KindVerification {
		t.Errorf("gone: %v", err)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKey(path, true); api.KindOf(err) != api.KindVerification {
		t.Errorf("damaged: %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "short" {
		t.Error("the damaged key was replaced")
	}
}

// FuzzOpen: a damaged file is an error, and never other values.
func FuzzOpen(f *testing.F) {
	k, err := OpenKey(filepath.Join(f.TempDir(), "key"), true)
	if err != nil {
		f.Fatal(err)
	}
	all := []Secret{{"A", api.SecretLiteral, value}}
	file, err := k.Seal("ws-1", all)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add([]byte(`{"secrets":[{"name":"A","source_kind":"literal"}],"sealed":"AAAA"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := k.Open("ws-1", b)
		if err != nil && api.KindOf(err) != api.KindVerification {
			t.Errorf("error %v", err)
		}
		if err == nil && !cmp.Equal(all, got) {
			t.Errorf("opened as %v", got)
		}
	})
}
