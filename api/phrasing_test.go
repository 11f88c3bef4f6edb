package api

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// routes says mentions by the names of rows, and flags by those of parameters.
var routes = Phrasing{
	Command: func(m Mention) (string, bool) {
		words := []string{m.Name}
		for _, a := range m.Args {
			value, ok := a.JSON()
			if !ok {
				return "", false
			}
			words = append(words, a.Name+"="+value)
		}
		return strings.Join(words, " "), m.Group != "Host"
	},
	Flag: func(_ *Operation, p Param) (string, bool) { return p.Name, true },
}

func TestPhrasing(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "",
		"try again":          "try again",
		"pyro vm list":       "list_vms",
		"see pyro env list.": "see list_environments.",
		"did you mean debian:12? All names: pyro env list":                             "did you mean debian:12? All names: list_environments",
		"choose another name; pyro env list shows those taken":                         "choose another name; list_environments shows those taken",
		"pyro workspace logs ws-1, or pyro workspace list":                             `logs_workspace workspace_id="ws-1", or list_workspaces`,
		"as git diff and pyro workspace diff write it":                                 "as git diff and diff_workspace write it",
		"pyro workspace file list ws-1 --recursive":                                    `list_workspace_files workspace_id="ws-1" recursive=true`,
		"pyro workspace snapshot delete ws-1 before":                                   `delete_snapshot workspace_id="ws-1" snapshot_name="before"`,
		"pyro workspace export ws-1 . --output DIR":                                    `export_workspace workspace_id="ws-1" path="." output_path=DIR`,
		"pyro workspace exec ID -- ls -l":                                              `exec_workspace workspace_id=ID command=["ls","-l"]`,
		"start it: pyro vm exec vm-1 -- COMMAND":                                       `start it: exec_vm vm_id="vm-1" command=COMMAND`,
		"pyro workspace shell write ws-1 --input 'make test'; more":                    `write_shell workspace_id="ws-1" input="make test"; more`,
		"create it anew: pyro workspace create debian:12 --mem-mib 2048":               `create it anew: create_workspace environment="debian:12" mem_mib=2048`,
		"create it anew: pyro workspace create debian:12 --mem-mib=2048":               `create it anew: create_workspace environment="debian:12" mem_mib=2048`,
		"for an image of a registry: pyro env pull docker://localhost:5000/a":          `for an image of a registry: pull_environment environment="docker://localhost:5000/a"`,
		"free some: pyro workspace delete ID, pyro env prune":                          "free some: delete_workspace workspace_id=ID, prune_environments",
		"give it more with --timeout-seconds 60":                                       "give it more with timeout_seconds 60",
		"leave out --network-policy, or --kernel":                                      "leave out network_policy, or kernel",
		"make it with git diff --binary; or write the file: pyro workspace file write": "make it with git diff --binary; or write the file: write_workspace_file",
		"pyro daemon stop --force, which removes the VMs":                              "pyro daemon stop --force, which removes the VMs", // refused
		"ask for less: pyro workspace logs --help":                                     "ask for less: pyro workspace logs --help",        // has no such flag
		"secrets are given at creation: pyro workspace create ENV --secret NAME":       "secrets are given at creation: pyro workspace create ENV --secret NAME",
		"use the version of pyro that made it, or pyro vm list":                        "use the version of pyro that made it, or list_vms",
		"pyro mcp serve --http 127.0.0.1:0":                                            "pyro mcp serve --http 127.0.0.1:0",
		"pyro workspace":                                                               "pyro workspace",
		"pyro vm listing":                                                              "pyro vm listing",
	} {
		if got := routes.Text(text); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", text, got, want)
		}
	}
}

func TestPhrasingOfErrors(t *testing.T) {
	cause := Errorf(KindNotFound, "workspace ws-1 does not exist").WithHint("pyro workspace list")
	got := AsError(routes.Error(cause))
	if got.Hint != "list_workspaces" || got.Message != cause.Message || got.Kind != cause.Kind || cause.Hint != "pyro workspace list" {
		t.Errorf("got %+v of %+v", got, cause)
	}
	if routes.Error(nil) != nil {
		t.Error("no error became one")
	}
}

func TestPhrasingOfResults(t *testing.T) {
	stored := Errorf(KindMemoryLimit, "too much").WithHint("pyro vm list")
	log := CommandLog{Commands: []Command{{}, {Limit: stored}}}
	routes.Result(&log)
	if d := cmp.Diff("list_vms", log.Commands[1].Limit.Hint); d != "" {
		t.Error(d)
	}
	if stored.Hint != "pyro vm list" {
		t.Error("the error was changed where it is kept")
	}
}

// FuzzPhrasing: hints quote names that users chose. What is refused stays
// untouched, and what is said is a command that stands in the text.
func FuzzPhrasing(f *testing.F) {
	for _, seed := range []string{
		"pyro workspace logs ws-1, or pyro workspace list", "pyro workspace exec ID -- ls -l", "pyro vm exec -- ' -- ", "(pyro env list)", "pyro run --mem-mib",
		"pyro workspace shell write 'a b' --input='", "pyro pyro vm list --", "pyro workspace export ws-1 . --output DIR.",
	} {
		f.Add(seed)
	}
	nothing := Phrasing{Command: func(Mention) (string, bool) { return "", false }}
	f.Fuzz(func(t *testing.T, text string) {
		if got := nothing.Text(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
		said := 0
		Phrasing{Command: func(m Mention) (string, bool) {
			said++
			for _, a := range m.Args {
				for _, w := range a.Words {
					if w != "true" && !strings.Contains(text, w) {
						t.Errorf("%q: argument %q of %s", text, w, m.Name)
					}
				}
				_, _ = a.JSON()
			}
			return m.Name, true
		}}.Text(text)
		if said > strings.Count(text, "pyro ") {
			t.Errorf("%q has %d mentions", text, said)
		}
	})
}
