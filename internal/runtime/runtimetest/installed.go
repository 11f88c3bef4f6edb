package runtimetest

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// Program returns the pyro under test, PYRO_BIN. Without one the test is skipped.
func Program(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("PYRO_BIN")
	if bin == "" {
		t.Skip("needs PYRO_BIN, a built pyro; make test sets it")
	}
	return bin
}

// Installed installs an environment or a kernel with the pyro under test and
// returns the path of its image. The cache is PYRO_TEST_CACHE_DIR, or one for
// the test alone.
func Installed(t *testing.T, name string) string {
	t.Helper()
	bin := Program(t)
	cache := os.Getenv("PYRO_TEST_CACHE_DIR")
	if cache == "" {
		cache = t.TempDir()
	}
	env := append(os.Environ(), "PYRO_CACHE_DIR="+cache, "PYRO_STATE_DIR="+t.TempDir(), "PYRO_CONFIG_DIR="+t.TempDir())
	run := func(args ...string) []byte {
		cmd := exec.Command(bin, args...)
		cmd.Env, cmd.Stderr = env, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
		return out
	}
	defer run("daemon", "stop", "--force")
	run("env", "pull", name)
	var installed struct{ Path string }
	if err := json.Unmarshal(run("env", "inspect", name, "--json"), &installed); err != nil {
		t.Fatal(err)
	}
	return installed.Path
}
