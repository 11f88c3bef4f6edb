package pyro_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pythonTests are the tests of the Python package, for unittest.
const pythonTests = "sdk/python/tests"

// skippedPython is a line of unittest about a test that is not run:
// test_x (module.Class.test_x) ... skipped 'reason', or the same of a class.
var skippedPython = regexp.MustCompile(`(?m)^(\w+) \(.*\) \.\.\. skipped ['"](.*)['"]$`)

// TestPython runs the tests of the Python package, file by file, against the
// program under test and real sandboxes. What they leave behind fails them, as
// it does the scripts.
func TestPython(t *testing.T) {
	modules, err := filepath.Glob(pythonTests + "/test_*.py")
	if err != nil {
		t.Fatal(err)
	}
	if len(modules) == 0 {
		t.Skipf("needs the folder %s of the checkout beside the test", pythonTests)
	}
	python := findPython(t)
	h := newHarness(t)
	before := cgroups(t)
	t.Cleanup(func() { checkShared(t, h, before) })
	if err := h.install("debian:12"); err != nil {
		t.Fatal(err)
	}
	for _, module := range modules {
		name := strings.TrimSuffix(filepath.Base(module), ".py")
		t.Run(name, func(t *testing.T) { h.python(t, python, name) })
	}
}

// findPython returns the path of a Python that is new enough.
func findPython(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("python3", "-c", "import sys; print(sys.executable if sys.version_info >= (3, 10) else '')").Output()
	path := strings.TrimSpace(string(out))
	if err != nil || path == "" {
		t.Skip("needs python3, 3.10 or newer")
	}
	return path
}

// python runs the tests of one module. Those that skip themselves show up as
// skipped tests here.
func (h *harness) python(t *testing.T, python, module string) {
	dir, err := h.scriptDir()
	if err != nil {
		t.Fatal(err)
	}
	env := h.env(dir)
	t.Cleanup(func() { h.finish(t, dir, env) })
	cmd := exec.Command(python, "-W", "error::ResourceWarning", "-m", "unittest", "-v", module)
	cmd.Dir = filepath.FromSlash(pythonTests)
	cmd.Env = append(env, "PYRO_BIN="+filepath.Join(h.dir, "bin", "pyro"), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("python3 -m unittest %s: %v\n%s", module, err, out)
	}
	for _, m := range skippedPython.FindAllStringSubmatch(string(out), -1) {
		t.Run(m[1], func(t *testing.T) { t.Skip(m[2]) })
	}
}
