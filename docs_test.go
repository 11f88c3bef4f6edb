package pyro_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// runnable is a block of a document that the test runs as it stands, marked by a
// comment that readers do not see.
var runnable = regexp.MustCompile("(?s)<!-- run -->\n+```(sh|python)\n(.*?)```")

// documentsWithExamples must have such a block.
var documentsWithExamples = []string{
	"README.md", "docs/first-run.md", "docs/host-requirements.md", "docs/install.md", "docs/integrations.md",
	"docs/public-contract.md", "docs/troubleshooting.md",
}

// docPrelude is what an example may rely on: pyro on PATH, a project, and a shell
// that stops at the first command that fails. The ids in the documents stand
// for those that pyro has just printed.
const docPrelude = `set -eu
newest() { pyro "$1" list --json | tr -d ' \n' | grep -o "\"$2\":\"[^\"]*\"" | tail -n 1 | cut -d '"' -f 4; }
`

var (
	shownWorkspace = regexp.MustCompile(`\bws-0123456789ab\b`)
	shownVM        = regexp.MustCompile(`\bvm-0123456789ab\b`)
)

// TestDocuments runs the examples of each document, in its order.
func TestDocuments(t *testing.T) {
	if _, err := os.Stat("docs"); err != nil {
		t.Skip("needs the folder docs of the checkout beside the test")
	}
	documents, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t)
	if err := h.install("debian:12"); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(documents, "README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		blocks := runnable.FindAllStringSubmatch(string(text), -1)
		if marks := strings.Count(string(text), "<!-- run -->"); marks != len(blocks) {
			t.Errorf("%s has %d marks and %d blocks of sh or python behind them", name, marks, len(blocks))
		}
		if len(blocks) == 0 {
			if slices.Contains(documentsWithExamples, name) {
				t.Errorf("%s has no example that is run", name)
			}
			continue
		}
		t.Run(filepath.Base(name), func(t *testing.T) { h.examples(t, blocks) })
	}
}

// examples runs the blocks of one document one after the other, in a folder of
// their own with a small project.
func (h *harness) examples(t *testing.T, blocks [][]string) {
	dir, err := h.scriptDir()
	if err != nil {
		t.Fatal(err)
	}
	sdk, err := filepath.Abs("sdk/python")
	if err != nil {
		t.Fatal(err)
	}
	env := append(h.env(dir), "PYTHONPATH="+sdk, "PYRO_BIN="+filepath.Join(h.dir, "bin", "pyro"), "PYTHONDONTWRITEBYTECODE=1")
	t.Cleanup(func() { h.finish(t, dir, env) })
	t.Cleanup(func() { // what examples install is no leftover of pyro's
		if err := os.RemoveAll(filepath.Join(dir, "home")); err != nil {
			t.Error(err)
		}
	})
	work := t.TempDir()
	write(t, filepath.Join(work, "my-project", "hello.txt"), "hello\n")
	write(t, filepath.Join(work, "my-project", "src", "main.c"), "int main(void) { return 0; }\n")
	write(t, filepath.Join(work, "fix.patch"), "--- a/src/main.c\n+++ b/src/main.c\n@@ -1 +1,2 @@\n+/* fixed */\n int main(void) { return 0; }\n")
	write(t, filepath.Join(work, "bin", "README"), "")
	if err := os.Symlink(filepath.Join(h.dir, "bin", "pyro"), filepath.Join(work, "bin", "pyro")); err != nil {
		t.Fatal(err)
	}
	for _, block := range blocks {
		var cmd *exec.Cmd
		if block[1] == "python" {
			cmd = exec.Command(findPython(t), "-c", block[2])
		} else {
			script := shownWorkspace.ReplaceAllString(block[2], "$$(newest workspace workspace_id)")
			script = shownVM.ReplaceAllString(script, "$$(newest vm vm_id)")
			cmd = exec.Command("sh", "-c", docPrelude+script)
		}
		cmd.Env, cmd.Dir = env, work
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v:\n%s\n%s", err, block[2], out)
		}
	}
}
