package api_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"pyro/api"
)

// contractTools are the MCP tools of the public contract that concern one-shot
// VMs and environments.
var contractTools = []string{
	"vm_run", "vm_list_environments", "vm_create", "vm_start", "vm_exec", "vm_stop",
	"vm_delete", "vm_status", "vm_network_info", "vm_reap_expired",
}

// contractMethods are the Python methods of the public contract, likewise.
var contractMethods = []string{
	"list_environments", "pull_environment", "inspect_environment", "prune_environments",
	"create_vm", "start_vm", "exec_vm", "stop_vm", "delete_vm", "status_vm", "network_info_vm", "reap_expired", "run_in_vm",
}

// contractCommands are the commands of the public contract, likewise.
var contractCommands = []string{"doctor", "env list", "env pull", "env inspect", "env prune", "run"}

func names(of func(*api.Operation) string) []string {
	var out []string
	for _, op := range api.Operations() {
		if name := of(op); name != "" {
			out = append(out, name)
		}
	}
	return out
}

func TestNamesAreUniqueAndComplete(t *testing.T) {
	for _, surface := range []struct {
		name     string
		of       func(*api.Operation) string
		contract []string
	}{
		{"name", func(op *api.Operation) string { return op.Name }, nil},
		{"command", func(op *api.Operation) string { return op.CLI }, contractCommands},
		{"MCP tool", func(op *api.Operation) string { return op.MCP }, contractTools},
		{"Python method", func(op *api.Operation) string { return op.Python }, contractMethods},
	} {
		got := names(surface.of)
		sorted := slices.Sorted(slices.Values(got))
		if len(slices.Compact(slices.Clone(sorted))) != len(got) {
			t.Errorf("a %s stands for two operations: %q", surface.name, sorted)
		}
		for _, want := range surface.contract {
			if !slices.Contains(got, want) {
				t.Errorf("%s %q of the contract is missing", surface.name, want)
			}
		}
	}
}

func TestRowsAreComplete(t *testing.T) {
	for _, op := range api.Operations() {
		if op.Summary == "" || op.Group == "" || op.Name == "" || strings.HasSuffix(op.Summary, ".") {
			t.Errorf("%s: name, group or summary is missing, or the summary ends with a full stop", op.Name)
		}
		if !strings.HasPrefix(op.Example, "pyro "+op.CLI) {
			t.Errorf("%s: example %q does not show its command", op.Name, op.Example)
		}
		if !slices.Contains([]api.Effect{api.Reads, api.Changes, api.Destroys}, op.Effect) {
			t.Errorf("%s: effect %q", op.Name, op.Effect)
		}
		if (op.Mode == api.ModeEvents) != (op.Event != nil) {
			t.Errorf("%s: mode %s with event type %v", op.Name, op.Mode, op.Event)
		}
		if op.Mode == api.ModeExec && op.Result != reflect.TypeFor[api.ExecResult]() {
			t.Errorf("%s: mode exec with result %v", op.Name, op.Result)
		}
		if api.Lookup(op.Name) != op {
			t.Errorf("%s: Lookup finds another row", op.Name)
		}
		for _, k := range op.Errors {
			if k.Info().Kind != k || k.Info().Meaning == "" {
				t.Errorf("%s: error kind %q is not documented", op.Name, k)
			}
		}
	}
}

func TestEveryRequestFieldIsDescribed(t *testing.T) {
	for _, op := range api.Operations() {
		for _, p := range api.Params(op.Request) {
			where := op.Name + "." + p.Name
			if p.Name == "" || p.Doc == "" || strings.HasSuffix(p.Doc, ".") {
				t.Errorf("%s: name or doc is missing, or doc ends with a full stop", where)
			}
			field := reflect.New(op.Request).Elem().FieldByIndex(p.Index)
			if p.Default != "" {
				if err := p.Set(field, p.Default); err != nil {
					t.Errorf("%s: default: %v", where, err)
				} else if err := p.Check(field); err != nil {
					t.Errorf("%s: default: %v", where, err)
				}
			}
			if p.Required && p.Default != "" {
				t.Errorf("%s is required and has a default", where)
			}
		}
	}
}

func TestEveryResultFieldIsDescribed(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for typ != nil && (typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice) {
			typ = typ.Elem()
		}
		if typ == nil || typ.Kind() != reflect.Struct || typ.PkgPath() != "pyro/api" || seen[typ] {
			return
		}
		seen[typ] = true
		for _, f := range reflect.VisibleFields(typ) {
			if tag := f.Tag.Get("json"); f.Anonymous || tag == "-" {
				continue
			}
			if f.Tag.Get("json") == "" || f.Tag.Get("doc") == "" {
				t.Errorf("%s.%s has no json name or no doc", typ.Name(), f.Name)
			}
			walk(f.Type)
		}
	}
	for _, op := range api.Operations() {
		walk(op.Result)
		walk(op.Event)
	}
}

func TestRunHasTheFlagsOfTheContract(t *testing.T) {
	want := map[string]string{
		"vcpu-count": "1", "mem-mib": "1024", "timeout-seconds": "30", "ttl-seconds": "600",
		"network": "", "runtime": "auto", "allow-host-compat": "",
	}
	for _, p := range api.Params(api.RunInVM.Request) {
		if dflt, ok := want[p.Flag]; ok {
			if dflt != p.Default {
				t.Errorf("--%s has default %q, want %q", p.Flag, p.Default, dflt)
			}
			delete(want, p.Flag)
		}
		if p.Flag == "runtime" && !slices.Equal(p.Enum, []string{"auto", "vm", "gvisor"}) {
			t.Errorf("--runtime takes %q", p.Enum)
		}
	}
	if len(want) > 0 {
		t.Errorf("flags are missing: %v", want)
	}
}

func TestKindsAreComplete(t *testing.T) {
	seen := map[api.Kind]bool{}
	for _, k := range api.Kinds {
		if seen[k.Kind] || k.Meaning == "" || k.ExitCode == 0 || k.HTTPStatus < 400 {
			t.Errorf("kind %q is there twice or incomplete: %+v", k.Kind, k)
		}
		seen[k.Kind] = true
	}
	if info := api.Kind("made_up").Info(); info.Kind != api.KindInternal {
		t.Errorf("an unknown kind counts as %s", info.Kind)
	}
}
