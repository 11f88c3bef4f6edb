package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

func TestGeneratedFilesAreFresh(t *testing.T) {
	for name, want := range files(api.Operations()) {
		got, err := os.ReadFile(filepath.Join("..", "..", "sdk", "python", "pyro_mcp", name))
		if err != nil {
			t.Error(err)
		} else if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is stale, run make generate:\n%s", name, diff)
		}
	}
}

// request and result have every kind of field there is.
type (
	request struct {
		ID      string            `json:"id" cli:"ID,arg" doc:"which"`
		From    string            `json:"from,omitempty" cli:"from" default:"here" doc:"a keyword"`
		Runtime api.Runtime       `json:"runtime,omitempty" cli:"runtime" default:"auto" doc:"an enumeration"`
		Command []string          `json:"command" cli:"CMD,rest" doc:"what"`
		Output  string            `json:"output" cli:"output,hostpath" doc:"required, a flag"`
		Seed    string            `json:"seed,omitempty" cli:"seed,hostpath" doc:"optional path"`
		Count   int               `json:"count,omitempty" cli:"count" default:"3" doc:"with a default"`
		Cursor  int64             `json:"cursor,omitempty" doc:"without one"`
		Tail    *int              `json:"tail,omitempty" doc:"may be absent"`
		Newline *bool             `json:"newline,omitempty" default:"true" doc:"true"`
		Either  *bool             `json:"either,omitempty" doc:"neither"`
		Force   bool              `json:"force,omitempty" cli:"force" doc:"false"`
		Env     []string          `json:"env,omitempty" cli:"env" doc:"a list"`
		Labels  map[string]string `json:"labels,omitempty" doc:"a map"`
		Names   []string          `json:"names" cli:"names" doc:"required list"`
		Probe   *api.Progress     `json:"probe,omitempty" doc:"a struct"`
	}
	result struct {
		api.Cleanup
		From    string             `json:"from" doc:"a keyword"`
		Count   *int64             `json:"count" doc:"or null"`
		At      time.Time          `json:"at,omitzero" doc:"a time"`
		Sizes   map[string]float64 `json:"sizes" doc:"a map"`
		Error   *api.Error         `json:"error,omitempty" doc:"a struct"`
		Ignored string             `json:"-"`
	}
)

func TestDeclarations(t *testing.T) {
	want := []string{
		"id: str",
		`from_: str = "here"`,
		`runtime: types.Runtime = "auto"`,
		"command: Command",
		"output: HostPath",
		"seed: HostPath | None = None",
		"count: int = 3",
		"cursor: int = 0",
		"tail: int | None = None",
		"newline: bool = True",
		"either: bool | None = None",
		"force: bool = False",
		"env: Sequence[str] | None = None",
		"labels: Mapping[str, str] | None = None",
		"names: Sequence[str]",
		"probe: types.Progress | None = None",
	}
	var got, given []string
	for _, p := range api.Params(reflect.TypeFor[request]()) {
		got = append(got, declaration(p))
		given = append(given, sent(p))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantSent := []string{
		"id", "from_", "runtime", "arguments(command)", "host_path(output)", "host_path(seed)", "count", "cursor", "tail",
		"newline", "either", "force", "None if env is None else list(env)", "None if labels is None else dict(labels)",
		"list(names)", "probe",
	}
	if diff := cmp.Diff(wantSent, given); diff != "" {
		t.Error(diff)
	}
}

func TestTypedDict(t *testing.T) {
	var b strings.Builder
	typedDict(&b, reflect.TypeFor[result](), []string{"Pyro.m"})
	want := `
_resultReserved = TypedDict(
    "_resultReserved",
    {
        #: a keyword
        "from": "str",
    },
)


class _resultRequired(_resultReserved):
    #: whether the sandbox is gone
    deleted: bool
    #: why it was removed, for example post_exec_cleanup
    reason: str
    #: id of the VM
    vm_id: str
    #: or null
    count: int | None
    #: a map
    sizes: dict[str, float]


class result(_resultRequired, total=False):
    """Of Pyro.m."""

    #: a time
    at: str
    #: a struct
    error: Error
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

// TestEveryMethodIsThere compares with the public contract: these names, with
// these parameters in this order, are what programs call.
func TestEveryMethodIsThere(t *testing.T) {
	code := files(api.Operations())["_operations.py"]
	for _, signature := range []string{
		"list_environments(self)", "pull_environment(self, environment, *)", "inspect_environment(self, environment, *)", "prune_environments(self, *)",
		"create_vm(self, environment, *, vcpu_count=1, mem_mib=1024, ttl_seconds=600, network=False, allow_host_compat=False)",
		"start_vm(self, vm_id)", "exec_vm(self, vm_id, *, command, timeout_seconds=30)", "stop_vm(self, vm_id)", "delete_vm(self, vm_id)",
		"status_vm(self, vm_id)", "network_info_vm(self, vm_id)", "reap_expired(self)",
		"run_in_vm(self, environment, *, vcpu_count=1, mem_mib=1024, ttl_seconds=600, network=False, timeout_seconds=30, command)",
		"create_workspace(self, environment, *, seed_path=None, ttl_seconds=0)",
		`push_workspace_sync(self, workspace_id, source_path, *, dest="/workspace")`,
		"exec_workspace(self, workspace_id, *, command, timeout_seconds=30)",
		"status_workspace(self, workspace_id)", "logs_workspace(self, workspace_id, *)", "delete_workspace(self, workspace_id)",
		"export_workspace(self, workspace_id, path, *, output_path)", "diff_workspace(self, workspace_id, *)",
		`reset_workspace(self, workspace_id, *, snapshot="baseline")`,
		"create_snapshot(self, workspace_id, snapshot_name)", "list_snapshots(self, workspace_id)", "delete_snapshot(self, workspace_id, snapshot_name)",
		`open_shell(self, workspace_id, *, cwd="/workspace", cols=120, rows=30)`, "read_shell(self, workspace_id, shell_id, *, cursor=0, max_chars=65536)",
		"write_shell(self, workspace_id, shell_id, *, input, append_newline=True)",
		`signal_shell(self, workspace_id, shell_id, *, signal_name="INT")`, "close_shell(self, workspace_id, shell_id)",
		`start_service(self, workspace_id, service_name, *, command, cwd="/workspace", readiness=None, ready_timeout_seconds=30, ready_interval_ms=500)`,
		"list_services(self, workspace_id)", "status_service(self, workspace_id, service_name)",
		"logs_service(self, workspace_id, service_name, *, tail_lines=None)", "stop_service(self, workspace_id, service_name)",
	} {
		if !hasSignature(code, signature) {
			t.Errorf("no method has the signature %s", signature)
		}
	}
}

// hasSignature reports whether the method takes the parameters of the
// signature in this order; it may take others between them.
func hasSignature(code, signature string) bool {
	name, want, _ := strings.Cut(strings.TrimSuffix(signature, ")"), "(")
	_, rest, found := strings.Cut(code, "    def "+name+"(\n")
	declared, _, _ := strings.Cut(rest, "    ) ->")
	lines := strings.Split(declared, "\n")
	for param := range strings.SplitSeq(want, ", ") {
		at := slices.IndexFunc(lines, func(line string) bool { return param == untyped(line) })
		if at < 0 {
			return false
		}
		lines = lines[at+1:]
	}
	return found
}

// untyped takes the type out of a declaration: "a: int = 3," is "a=3".
func untyped(line string) string {
	line = strings.Trim(line, " ,")
	name, typ, _ := strings.Cut(line, ": ")
	if _, dflt, ok := strings.Cut(typ, " = "); ok {
		return name + "=" + dflt
	}
	return name
}

func TestWrap(t *testing.T) {
	got := wrap(strings.Repeat("word ", 30), "    ", "  ")
	for line := range strings.Lines(got) {
		if len(line) > width+1 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	if diff := cmp.Diff(strings.Fields(strings.Repeat("word ", 30)), strings.Fields(got)); diff != "" {
		t.Error(diff)
	}
	if got := docText(`a \u0003 """`); got != `a \\u0003 \"\"\"` {
		t.Error(got)
	}
}
