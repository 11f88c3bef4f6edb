package pyro_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// mcpClientsDir has the versions of the foreign programs, and our scripts for them.
const mcpClientsDir = "testdata/mcp-clients"

// nodePrograms are the installed programs of mcpClientsDir. None of their own
// scripts runs when they are installed.
type nodePrograms struct {
	dir  string // with node_modules
	node string
}

// installPrograms installs them once and keeps them in bin, as the tools of
// development are kept.
var installPrograms = sync.OnceValues(func() (nodePrograms, error) {
	dir, err := filepath.Abs("bin/mcp-clients")
	if err != nil {
		return nodePrograms{}, err
	}
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	p := nodePrograms{dir: dir, node: filepath.Join(dir, "node_modules", "node-linux-"+arch, "bin", "node")}
	if sameFile(mcpClientsDir+"/package-lock.json", dir+"/package-lock.json") {
		return p, nil
	}
	return p, p.install()
})

func sameFile(a, b string) bool {
	one, err := os.ReadFile(a)
	if err != nil {
		return false
	}
	two, err := os.ReadFile(b)
	return err == nil && bytes.Equal(one, two)
}

// install puts the programs in place with one rename.
func (p nodePrograms) install() error {
	if err := os.MkdirAll(filepath.Dir(p.dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(p.dir), "mcp-clients.")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join(mcpClientsDir, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(tmp, name), text, 0o644); err != nil {
			return err
		}
	}
	cmd := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci for %s: %w\n%s", mcpClientsDir, err, out)
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(p.dir); err != nil {
		return err
	}
	return os.Rename(tmp, p.dir)
}

// programsOfNode returns the foreign programs, or skips the test.
func programsOfNode(t *testing.T) nodePrograms {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil && !sameFile(mcpClientsDir+"/package-lock.json", "bin/mcp-clients/package-lock.json") {
		t.Skip("needs npm, which installs the programs of " + mcpClientsDir)
	}
	p, err := installPrograms()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// script is the command of a program's JavaScript file.
func (p nodePrograms) script(name string, args ...string) *exec.Cmd {
	return exec.Command(p.node, append([]string{filepath.Join(p.dir, "node_modules", filepath.FromSlash(name))}, args...)...)
}

// pythonWithMCP returns a Python that has the package mcp of PyPI, or skips the
// test.
func pythonWithMCP(t *testing.T) string {
	t.Helper()
	for _, python := range []string{"bin/python/bin/python", "python3"} {
		out, err := exec.Command(python, "-c", "import mcp, importlib.metadata as m; print(m.version('mcp'))").Output()
		if err == nil && strings.Contains(pythonRequirements(t), "mcp=="+strings.TrimSpace(string(out))+"\n") {
			if abs, err := filepath.Abs(python); err == nil && strings.Contains(python, "/") {
				return abs
			}
			return python
		}
	}
	t.Skip("needs the package mcp of PyPI in the version of sdk/python/requirements.txt: make bin/python/ready")
	return ""
}

func pythonRequirements(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("sdk/python/requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
