package mcp

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"pyro/api"
	"pyro/client/clienttest"
)

// TestEveryTool calls every tool of every profile with all its arguments; the
// operation must get them, and its result must come back and fit the schema,
// with everything in it and with nothing.
func TestEveryTool(t *testing.T) {
	for _, profile := range Profiles() {
		for name, res := range map[string]func(*api.Operation) any{
			"full":  func(op *api.Operation) any { return sample(op.Result).Interface() },
			"empty": func(op *api.Operation) any { return reflect.Zero(op.Result).Interface() },
		} {
			t.Run(profile.Name+"/"+name, func(t *testing.T) {
				var mu sync.Mutex
				requests := map[string][]byte{}
				s := newServer(t, echo(res, func(op *api.Operation, body []byte) {
					mu.Lock()
					defer mu.Unlock()
					requests[op.Name] = body
				}), Options{Profile: profile.Name})
				session := connect(t, s, nil)
				offered := tools(t, session)
				for _, op := range profile.rows() {
					answer := call(t, session, op.MCP, arguments(op, profile))
					if answer.IsError {
						t.Errorf("%s: %s", op.MCP, text(t, answer))
						continue
					}
					fits(t, offered[op.MCP], answer)
					mu.Lock()
					body := requests[op.Name]
					mu.Unlock()
					checkRequest(t, op, profile, body)
					checkResult(t, op, res(op), answer)
				}
				if len(offered) != len(profile.rows()) {
					t.Errorf("%d tools, want %d", len(offered), len(profile.rows()))
				}
			})
		}
	}
}

// arguments are all arguments that a tool of the profile takes.
func arguments(op *api.Operation, profile Profile) map[string]any {
	given := map[string]any{}
	for _, p := range api.Params(op.Request) {
		if profile.takes(op, p.Name) {
			given[p.Name] = sample(p.Type).Interface()
		}
	}
	return given
}

// checkRequest compares what arrived with what was given; paths of the host
// become absolute on the way.
func checkRequest(t *testing.T, op *api.Operation, profile Profile, body []byte) {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("%s got %q: %v", op.Name, body, err)
	}
	given := arguments(op, profile)
	for _, p := range api.Params(op.Request) {
		want, ok := given[p.Name]
		if !ok {
			continue
		}
		if p.HostPath {
			want, _ = filepath.Abs(want.(string))
		}
		if a, b := asJSON(t, got[p.Name]), asJSON(t, want); a != b {
			t.Errorf("%s: %s is %s, want %s", op.Name, p.Name, a, b)
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var generic any
	if err := json.Unmarshal(b, &generic); err != nil {
		t.Fatal(err)
	}
	b, _ = marshal(generic)
	return string(b)
}

// checkResult compares the structured content with what the operation gave. A
// command has more to say, and its output came as a stream.
func checkResult(t *testing.T, op *api.Operation, gave any, answer *mcp.CallToolResult) {
	t.Helper()
	if op.Mode == api.ModeExec {
		got := content[commandAnswer](t, answer)
		if got.State != api.CommandExited || got.Stdout != "out\n" || got.Stderr != "err\n" || got.StdoutBytes != 4 || *got.ExitCode != gave.(api.ExecResult).ExitCode {
			t.Errorf("%s: got %+v", op.MCP, got)
		}
		return
	}
	v := reflect.New(op.Result)
	v.Elem().Set(reflect.ValueOf(gave))
	fillLists(v)
	if diff := cmp.Diff(asJSON(t, v.Interface()), asJSON(t, answer.StructuredContent)); diff != "" {
		t.Errorf("%s: %s", op.MCP, diff)
	}
}

// TestSnapshots: what a model reads of each tool is checked in, so that a change
// of the table shows what it does here.
func TestSnapshots(t *testing.T) {
	for _, profile := range Profiles() {
		s := newServer(t, &clienttest.Server{}, Options{Profile: profile.Name})
		session := connect(t, s, nil)
		want := map[string]string{"instructions.txt": session.InitializeResult().Instructions + "\n"}
		for name, tool := range tools(t, session) {
			var b bytes.Buffer
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			if err := enc.Encode(tool); err != nil {
				t.Fatal(err)
			}
			want[name+".json"] = b.String()
		}
		compareFolder(t, filepath.Join("testdata", profile.Name), want)
	}
}

// compareFolder compares a folder with what should be in it.
func compareFolder(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	if *update {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range want {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	const remedy = "; if that is meant: go test ./internal/mcp -run TestSnapshots -update"
	for _, e := range entries {
		got, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text, ok := want[e.Name()]
		if diff := cmp.Diff(text, string(got)); !ok || diff != "" {
			t.Errorf("%s/%s is stale%s:\n%s", dir, e.Name(), remedy, diff)
		}
		delete(want, e.Name())
	}
	for name := range want {
		t.Errorf("%s/%s is missing%s", dir, name, remedy)
	}
}

// TestSize: a model reads the list of tools in every conversation.
func TestSize(t *testing.T) {
	for profile, most := range map[string]int{"vm-run": 600, DefaultProfile: 3000} {
		s := newServer(t, &clienttest.Server{}, Options{Profile: profile, Project: "/home/somebody/src/a-project"})
		session := connect(t, s, nil)
		list, err := session.ListTools(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d tools, %d bytes, %d tokens; instructions %d bytes", profile, len(list.Tools), len(doc), len(doc)/4, len(s.instructions()))
		if tokens := len(doc) / 4; tokens > most {
			t.Errorf("%s: tools/list takes %d tokens, at most %d are allowed", profile, tokens, most)
		}
	}
}

// TestProfiles: the lists name what there is, and the full profile has what the
// contract names.
func TestProfiles(t *testing.T) {
	byName := map[string]*api.Operation{}
	for _, op := range api.Operations() {
		if op.MCP != "" {
			byName[op.MCP] = op
		}
	}
	for _, profile := range Profiles() {
		for _, name := range profile.Tools {
			if byName[name] == nil {
				t.Errorf("%s: there is no tool %q", profile.Name, name)
			}
		}
		for name, fields := range profile.Fields {
			if !slices.Contains(profile.Tools, name) {
				t.Errorf("%s narrows %s, which it does not offer", profile.Name, name)
			}
			for _, p := range api.Params(byName[name].Request) {
				if p.Required && !slices.Contains(fields, p.Name) {
					t.Errorf("%s: %s does not take %s, which must be given", profile.Name, name, p.Name)
				}
				fields = slices.DeleteFunc(slices.Clone(fields), func(f string) bool { return f == p.Name })
			}
			if len(fields) > 0 {
				t.Errorf("%s: %s has no %q", profile.Name, name, fields)
			}
		}
	}
	for typ, names := range briefly {
		for _, name := range names {
			if !slices.ContainsFunc(jsonFields(typ), func(f jsonField) bool { return f.json == name }) {
				t.Errorf("%s has no field %s", typ, name)
			}
		}
	}
	// Names are the contract: these are all that it has in version 2.8.
	for name := range strings.FieldsSeq(`vm_run vm_list_environments vm_create vm_start vm_exec vm_stop vm_delete vm_status vm_network_info vm_reap_expired
		workspace_create workspace_sync_push workspace_exec workspace_status workspace_logs workspace_delete workspace_export workspace_diff workspace_reset
		shell_open shell_read shell_write shell_signal shell_close
		service_start service_list service_status service_logs service_stop
		snapshot_create snapshot_list snapshot_delete`) {
		if byName[name] == nil {
			t.Errorf("no row has the tool %s", name)
		}
	}
	if _, err := findProfile("all"); api.KindOf(err) != api.KindUsage || !strings.Contains(api.AsError(err).Hint, DefaultProfile) {
		t.Errorf("an unknown profile: %v", err)
	}
}

// TestInstructionsNameTools: a model must not be told of tools that it has not.
func TestInstructionsNameTools(t *testing.T) {
	for _, profile := range Profiles() {
		s := newServer(t, &clienttest.Server{}, Options{Profile: profile.Name})
		for word := range strings.FieldsFuncSeq(s.instructions(), func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }) {
			prefix, _, _ := strings.Cut(word, "_")
			isTool := slices.ContainsFunc(api.Operations(), func(op *api.Operation) bool { return op.MCP == word })
			named := strings.Contains(word, "_") && slices.Contains([]string{"vm", "workspace", "snapshot", "shell", "service"}, prefix)
			if (isTool || named) && !slices.ContainsFunc(profile.rows(), func(op *api.Operation) bool { return op.MCP == word }) {
				t.Errorf("%s: the instructions name %s", profile.Name, word)
			}
		}
	}
}

func TestAnnotations(t *testing.T) {
	s := newServer(t, &clienttest.Server{}, Options{Profile: "workspace-full"})
	offered := tools(t, connect(t, s, nil))
	for name, want := range map[string]string{
		"workspace_status": "read idempotent", "workspace_diff": "read idempotent", "workspace_exec": "", "workspace_create": "",
		"workspace_reset": "destroys idempotent", "workspace_delete": "destroys idempotent", "vm_exec": "destroys",
		"workspace_export": "", // it writes on the host
	} {
		a := offered[name].Annotations
		got := []string{}
		if a.ReadOnlyHint {
			got = append(got, "read")
		}
		if *a.DestructiveHint {
			got = append(got, "destroys")
		}
		if a.IdempotentHint {
			got = append(got, "idempotent")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
