package lint

import (
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// allowed is the list of modules that may be imported; see its head.
//
//go:embed dependencies.txt
var allowed string

// goMod is what the tests read of `go mod edit -json`.
type goMod struct {
	Require []struct{ Path, Version string }
	Replace []any
	Exclude []any
	Tool    []any
}

func readGoMod(t *testing.T, file string) goMod {
	t.Helper()
	cmd := exec.Command("go", "mod", "edit", "-json", file)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go mod edit -json %s: %v", file, err)
	}
	var mod goMod
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	return mod
}

// TestGoMod: what is built here is built the same everywhere.
func TestGoMod(t *testing.T) {
	for _, file := range []string{"go.mod", "tools/go.mod"} {
		mod := readGoMod(t, file)
		if len(mod.Replace) > 0 || len(mod.Exclude) > 0 {
			t.Errorf("%s replaces or excludes modules: then `go install` and other people's builds are not this one", file)
		}
	}
	if mod := readGoMod(t, "go.mod"); len(mod.Tool) > 0 {
		t.Error("go.mod names tools: they belong into tools/go.mod, so that their dependencies are not pyro's")
	}
}

// TestDependencies: each dependency is a decision that one can see.
func TestDependencies(t *testing.T) {
	listed := map[string]string{} // module to reason
	for line := range strings.Lines(allowed) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		path, reason, _ := strings.Cut(line, " ")
		if listed[path] = strings.TrimSpace(reason); listed[path] == "" {
			t.Errorf("dependencies.txt gives no reason for %s", path)
		}
	}
	required := readGoMod(t, "go.mod").Require
	moduleOf := func(imported string) string {
		best := ""
		for _, r := range required {
			if within(imported, []string{r.Path + "/..."}) && len(r.Path) > len(best) {
				best = r.Path
			}
		}
		return best
	}
	used := map[string]bool{} // module to whether more than tests import it
	for _, p := range packages(t) {
		for name, file := range p.files {
			for _, imported := range imports(file) {
				if isStd(imported) || within(imported, []string{module + "/..."}) {
					continue
				}
				m := moduleOf(imported)
				if _, ok := listed[m]; !ok {
					t.Errorf("%s imports %s, whose module %s is not in dependencies.txt", name, imported, m)
				}
				used[m] = used[m] || !isTest(name) && !strings.Contains(p.path, "runtimetest")
			}
		}
	}
	for m, reason := range listed {
		inProduct, imported := used[m]
		switch {
		case !imported:
			t.Errorf("dependencies.txt lists %s, which nothing imports", m)
		case inProduct && strings.HasPrefix(reason, "test:"):
			t.Errorf("dependencies.txt says that only tests import %s, but the product does", m)
		case !inProduct && !strings.HasPrefix(reason, "test:"):
			t.Errorf("only tests import %s: say test: in dependencies.txt", m)
		}
	}
}
