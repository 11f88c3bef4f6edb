package pyro_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the documents anew that tests derive")

// conformanceVersions are the versions of the protocol that the suite tests.
var conformanceVersions = []string{"2025-06-18", "2025-11-25"}

// knownWarnings are recommendations that the suite does not see followed, and
// why that is right.
var knownWarnings = map[string]string{
	"server-sse-priming-event": primingReason,
	"server-sse-retry-field":   primingReason,
}

const primingReason = "the scenario says in its requests that it speaks 2025-03-26, which has no such events; clients of 2025-11-25 get them and resume"

// conformanceCheck is what the suite says about one requirement.
type conformanceCheck struct{ ID, Description, Status, ErrorMessage string }

// TestMCPConformance runs the protocol's own suite against the program. What is
// neither a success nor a known warning fails it.
func TestMCPConformance(t *testing.T) {
	programs := programsOfNode(t)
	w := newMCPWorld(t)
	target := w.http(t, "", "--conformance")
	var doc strings.Builder
	fmt.Fprintf(&doc, conformanceHead, pinned(t, "@modelcontextprotocol/conformance"))
	for _, version := range conformanceVersions {
		results := t.TempDir()
		cmd := programs.script("@modelcontextprotocol/conformance/dist/index.js", "server",
			"--url", target.URL, "--spec-version", version, "--suite", "all", "--output-dir", results)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", version, err, out)
		}
		conformanceTable(t, &doc, version, results)
	}
	fmt.Fprintf(&doc, "\n*: %s.\n", primingReason)
	compareDoc(t, "docs/mcp-conformance.md", doc.String())
}

const conformanceHead = `# MCP conformance

What the Model Context Protocol's own suite, npm's ` + "`@modelcontextprotocol/conformance` %s" + `, says about
` + "`pyro mcp serve`" + `. Continuous integration runs it against every commit, over HTTP, with nothing expected to fail, and fails
when this page is not what it says: ` + "`go test -run TestMCPConformance -update .`" + ` writes it.

pyro's tools need only a part of the protocol. So that the suite can go through all of it, a flag that ` + "`--help`" + ` does not show
adds the tools, resources and prompts that the suite asks for; transports, sessions, guards and the protocol library are the ones
that serve pyro's own tools.
`

// resultName is a folder of results: server-SCENARIO-TIME.
var resultName = regexp.MustCompile(`^server-(.+)-\d{4}-\d\d-\d\dT`)

// conformanceTable writes what the suite found in one version of the protocol.
func conformanceTable(t *testing.T, doc *strings.Builder, version, results string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(results, "*", "checks.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no results: %v", version, err)
	}
	var rows []string
	passed := 0
	for _, file := range files {
		m := resultName.FindStringSubmatch(filepath.Base(filepath.Dir(file)))
		if m == nil {
			t.Fatalf("%s is no folder of results", file)
		}
		good, warned := conformanceScenario(t, version, m[1], file)
		passed += good
		row := fmt.Sprintf("| %s | %d passed", m[1], good)
		if warned > 0 {
			row += fmt.Sprintf(", %d recommendations not seen *", warned)
		}
		rows = append(rows, row+" |")
	}
	slices.Sort(rows)
	fmt.Fprintf(doc, "\n## %s\n\n%d scenarios, %d checks passed, 0 failed.\n\n| scenario | checks |\n|---|---|\n%s\n",
		version, len(rows), passed, strings.Join(rows, "\n"))
}

// conformanceScenario counts the checks of one scenario.
func conformanceScenario(t *testing.T, version, scenario, file string) (passed, warned int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var checks []conformanceCheck
	if err := json.Unmarshal(text, &checks); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, c := range checks {
		switch {
		case c.Status == "SUCCESS":
			passed++
		case c.Status == "INFO":
		case c.Status == "WARNING" && knownWarnings[c.ID] != "":
			warned++
		default:
			t.Errorf("%s %s %s: %s: %s %s", version, scenario, c.ID, c.Status, c.Description, c.ErrorMessage)
		}
	}
	if passed+warned == 0 {
		t.Errorf("%s %s: nothing was checked", version, scenario)
	}
	return passed, warned
}

// pinned is the version of a package of npm in the tests.
func pinned(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(mcpClientsDir + "/package.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Dependencies map[string]string }
	if err := json.Unmarshal(text, &doc); err != nil || doc.Dependencies[name] == "" {
		t.Fatalf("%s is not pinned: %v", name, err)
	}
	return doc.Dependencies[name]
}

// compareDoc compares a document with what it should be.
func compareDoc(t *testing.T, name, want string) {
	t.Helper()
	if _, err := os.Stat("docs"); err != nil {
		t.Logf("%s is not beside the test", name)
		return
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is stale; if that is meant: go test -run %s -update .\n%s", name, t.Name(), diff)
	}
}
