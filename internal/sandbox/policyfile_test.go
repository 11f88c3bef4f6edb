package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// What is given for a policy file and is none.
func TestReadPolicyRefuses(t *testing.T) {
	dir := t.TempDir()
	fifo, bad := filepath.Join(dir, "fifo"), filepath.Join(dir, "bad.json")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bad, []byte(`{"version": 1, "rules": [{}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file",
		dir:                        "is not a file",
		fifo:                       "is not a file",
		"/dev/zero":                "is not a file",
		bad:                        "network policy " + bad + ": rule 1: it has neither a name nor an address",
	} {
		if p, err := ReadPolicy(true, path); p != nil || api.KindOf(err) != api.KindUsage || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", path, p, err)
		}
	}
}
