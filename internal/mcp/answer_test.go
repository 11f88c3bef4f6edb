package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"pyro/api"
	"pyro/client/clienttest"
)

// TestErrors: an error of pyro is a result that a model sees, in the words of
// its tools.
func TestErrors(t *testing.T) {
	daemon := &clienttest.Server{
		Call: map[string]func(context.Context, []byte) (any, error){
			api.StatusWorkspace.Name: func(context.Context, []byte) (any, error) {
				return nil, api.Errorf(api.KindNotFound, "workspace ws-9 does not exist").WithHint("pyro workspace logs ws-1, or pyro workspace list")
			},
		},
		Events: map[string]func(context.Context, []byte, func(any)) (any, error){
			api.CreateWorkspace.Name: func(context.Context, []byte, func(any)) (any, error) {
				return nil, api.Errorf(api.KindNetwork, "the mirror does not answer")
			},
		},
		Exec: map[string]func(context.Context, []byte, clienttest.Stream){
			api.ExecWorkspace.Name: func(_ context.Context, _ []byte, s clienttest.Stream) {
				s.WriteJSON(api.FrameError, api.Errorf(api.KindReset, "workspace ws-1 was reset"))
			},
		},
	}
	session := connect(t, newServer(t, daemon, Options{}), nil)
	offered := tools(t, session)
	for _, c := range []struct {
		tool      string
		arguments any
		want      api.Error
	}{
		{"workspace_status", map[string]any{"workspace_id": "ws-9"}, api.Error{Kind: api.KindNotFound, Message: "workspace ws-9 does not exist", Hint: `workspace_logs(workspace_id="ws-1"), or workspace_list`}},
		{"workspace_create", map[string]any{"environment": "debian:12"}, api.Error{Kind: api.KindNetwork, Message: "the mirror does not answer"}},
		{"workspace_exec", execArguments(), api.Error{Kind: api.KindReset, Message: "workspace ws-1 was reset"}},
		{"workspace_status", nil, api.Error{Kind: api.KindUsage, Message: `field "workspace_id" is missing or empty`}},
		{"workspace_status", map[string]any{"workspace_id": 7}, api.Error{Kind: api.KindUsage, Message: `field "workspace_id" must be a string, got a number`}},
		{"workspace_status", map[string]any{"workspace_id": "ws-1", "id": 1}, api.Error{Kind: api.KindUsage, Message: `workspace_status takes no argument "id"`, Hint: "it takes: workspace_id"}},
		{"workspace_status", []string{"ws-1"}, api.Error{Kind: api.KindUsage, Message: "the arguments of workspace_status are not a JSON object"}},
		{"vm_run", map[string]any{"environment": "debian:12", "command": []string{"true"}, "allow_host_compat": true}, api.Error{
			Kind: api.KindUsage, Message: `vm_run takes no argument "allow_host_compat"`, Hint: "it takes: environment, mem_mib, network, timeout_seconds, command",
		}},
		{"vm_run", map[string]any{"environment": "debian:12", "command": "make test"}, api.Error{
			Kind: api.KindUsage, Message: `field "command" must be an array of strings, got a string`, Hint: `command is a list of words; for a line of shell: ["sh", "-c", "cd src && make"]`,
		}},
		{"workspace_export", map[string]any{"workspace_id": "ws-1", "path": "a", "output_path": "-"}, api.Error{Kind: api.KindUsage, Message: "output_path is -, a path is needed"}},
	} {
		res := call(t, session, c.tool, c.arguments)
		if got := content[api.Error](t, res); !res.IsError || got.Kind != c.want.Kind || got.Message != c.want.Message || got.Hint != c.want.Hint {
			t.Errorf("%s %v: got %+v, want %+v", c.tool, c.arguments, got, c.want)
		}
		if got := text(t, res); !strings.HasPrefix(got, string(c.want.Kind)+": "+c.want.Message) || c.want.Hint != "" && !strings.HasSuffix(got, "hint: "+c.want.Hint) {
			t.Errorf("%s: the text is %q", c.tool, got)
		}
		fits(t, offered[c.tool], res) // some clients check errors too
	}
	if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "vm_exec"}); err == nil {
		t.Error("a tool that the profile lacks can be called")
	}
}

// TestHostPaths: the background process lives in another folder.
func TestHostPaths(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	var got api.ExportRequest
	daemon := &clienttest.Server{Call: map[string]func(context.Context, []byte) (any, error){
		api.ExportWorkspace.Name: func(_ context.Context, body []byte) (any, error) {
			return api.ExportResult{}, json.Unmarshal(body, &got)
		},
	}}
	session := connect(t, newServer(t, daemon, Options{}), nil)
	call(t, session, "workspace_export", map[string]any{"workspace_id": "ws-1", "path": "a/../b", "output_path": "out/b"})
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if got.OutputPath != filepath.Join(here, "out/b") || got.Path != "a/../b" {
		t.Errorf("got %+v", got)
	}
}

// TestLongOutput: ten megabytes, binary and not UTF-8 among them, become a
// bounded answer that says what is missing and where it is.
func TestLongOutput(t *testing.T) {
	for name, piece := range map[string]string{
		"text": "0123456789abcde\n", "binary": "\x00\x01\x02\x1b[31m\xff\xfe\x80", "wide": "äöü€𝄞", "broken": "\xf0\x9f\x92 broken",
	} {
		t.Run(name, func(t *testing.T) {
			block := []byte(strings.Repeat(piece, 32<<10/len(piece)))
			const blocks = 320
			daemon := execServer(api.ExecWorkspace.Operation, func(s clienttest.Stream) {
				s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "execute", WorkspaceID: "ws-1", Sequence: 2})
				for range blocks {
					s.Write(api.FrameStdout, block)
				}
				s.Write(api.FrameStderr, []byte("done"))
				s.WriteJSON(api.FrameResult, api.ExecResult{WorkspaceID: "ws-1", Sequence: 2})
			})
			daemon.Call = map[string]func(context.Context, []byte) (any, error){
				api.LogsWorkspace.Name: func(_ context.Context, body []byte) (any, error) {
					return api.CommandLog{Commands: []api.Command{{Sequence: 2, StdoutPath: "/state/2.stdout"}}}, nil
				},
			}
			session := connect(t, newServer(t, daemon, Options{}), nil)
			res := call(t, session, "workspace_exec", execArguments())
			got := content[commandAnswer](t, res)
			total := int64(len(block) * blocks)
			if len(got.Stdout) > DefaultMaxText+100 || !utf8.ValidString(got.Stdout) || !got.StdoutTruncated || got.StdoutBytes != total || got.Stderr != "done" || got.StderrTruncated {
				t.Errorf("%d bytes of stdout, truncated %t, of %d; stderr %q", len(got.Stdout), got.StdoutTruncated, got.StdoutBytes, got.Stderr)
			}
			if got.StdoutPath != "/state/2.stdout" || !strings.Contains(got.Stdout, "bytes left out ...]") {
				t.Errorf("the way to all of it is missing: %q, %q", got.StdoutPath, got.Stdout[:min(len(got.Stdout), 100)])
			}
			if out := text(t, res); len(out) > DefaultMaxText+2000 || !strings.Contains(out, "[omitted: stdout: ") || !strings.Contains(out, "/state/2.stdout") {
				t.Errorf("%d bytes of text, its end: %q", len(out), out[max(0, len(out)-300):])
			}
			more := readKept(t, session, res)
			if stdout := more["stdout"].(string); len(stdout) < api.MaxOutput/2 || !strings.Contains(stdout, "bytes left out ...]") {
				t.Errorf("%d bytes are kept", len(stdout))
			}
		})
	}
}

// readKept reads the resource that a cut answer names.
func readKept(t *testing.T, session *mcp.ClientSession, res *mcp.CallToolResult) map[string]any {
	t.Helper()
	notes := content[struct{ Omitted []string }](t, res).Omitted
	if len(notes) < 2 {
		t.Fatalf("omitted is %q", notes)
	}
	_, uri, ok := strings.Cut(notes[len(notes)-1], "resource ")
	if !ok {
		t.Fatalf("no resource in %q", notes)
	}
	read, err := session.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: uri})
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(read.Contents[0].Text), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// longDiff is a diff of n files whose patches have size bytes each.
func longDiff(n, size int) api.Diff {
	d := api.Diff{WorkspaceID: "ws-1", Changed: true, Entries: []api.DiffEntry{}}
	var all strings.Builder
	for i := range n {
		patch := fmt.Sprintf("--- a/%d\n+++ b/%d\n%s\n", i, i, strings.Repeat("+", size))
		all.WriteString(patch)
		d.Entries = append(d.Entries, api.DiffEntry{Path: fmt.Sprintf("dir/file-%d", i), Status: "modified", ArtifactType: "file", TextPatch: &patch})
	}
	d.Patch = all.String()
	return d
}

// TestLongLists: an answer of many parts keeps the first and the last of them,
// and first of all does without what is there twice.
func TestLongLists(t *testing.T) {
	for name, c := range map[string]struct {
		res  any
		tool string
		keep string
	}{
		"a small diff":        {longDiff(3, 100), "workspace_diff", `"text_patch":"---`},
		"a repeating diff":    {longDiff(10, 1000), "workspace_diff", strings.Repeat("+", 1000)},
		"a diff of megabytes": {longDiff(100, 20_000), "workspace_diff", "bytes left out"},
		"a diff of files":     {longDiff(20_000, 1), "workspace_diff", "dir/file-19999"},
		"many commands":       {manyCommands(3000), "workspace_logs", `"sequence":3000`},
	} {
		t.Run(name, func(t *testing.T) {
			size := textSize(reflect.ValueOf(c.res))
			daemon := &clienttest.Server{Call: map[string]func(context.Context, []byte) (any, error){
				api.DiffWorkspace.Name: func(context.Context, []byte) (any, error) { return c.res, nil },
				api.LogsWorkspace.Name: func(context.Context, []byte) (any, error) { return c.res, nil },
			}}
			session := connect(t, newServer(t, daemon, Options{}), nil)
			res := call(t, session, c.tool, map[string]any{"workspace_id": "ws-1"})
			fits(t, tools(t, session)[c.tool], res)
			doc, err := marshal(res.StructuredContent)
			if err != nil {
				t.Fatal(err)
			}
			if len(doc) > 3*DefaultMaxText || len(text(t, res)) > 2*DefaultMaxText {
				t.Errorf("%d bytes of text became %d bytes of JSON and %d of text", size, len(doc), len(text(t, res)))
			}
			if !bytes.Contains(doc, []byte(c.keep)) {
				t.Errorf("%q is missing in %d bytes", c.keep, len(doc))
			}
			notes := content[struct{ Omitted []string }](t, res).Omitted
			if (len(notes) > 0) != (size > DefaultMaxText) || len(notes) > 10 {
				t.Errorf("omitted is %q", notes)
			}
		})
	}
}

func manyCommands(n int) api.CommandLog {
	log := api.CommandLog{WorkspaceID: "ws-1", Count: n}
	for i := range n {
		log.Commands = append(log.Commands, api.Command{Sequence: i + 1, Command: []string{"make"}, Stdout: strings.Repeat("x", 512), StdoutBytes: 512})
	}
	return log
}

// TestAskedSize: the arguments that say how long an answer may be default to
// the server's bound, and can raise it.
func TestAskedSize(t *testing.T) {
	var got api.LogsWorkspaceRequest
	daemon := &clienttest.Server{Call: map[string]func(context.Context, []byte) (any, error){
		api.LogsWorkspace.Name: func(_ context.Context, body []byte) (any, error) {
			err := json.Unmarshal(body, &got)
			return api.CommandLog{Commands: []api.Command{{Stdout: strings.Repeat("x", 100_000), StdoutBytes: 100_000}}}, err
		},
	}}
	session := connect(t, newServer(t, daemon, Options{}), nil)
	for _, c := range []struct{ asked, request, length int }{{0, DefaultMaxText, DefaultMaxText}, {100, 100, DefaultMaxText}, {200_000, 200_000, 100_000}} {
		arguments := map[string]any{"workspace_id": "ws-1"}
		if c.asked > 0 {
			arguments["max_bytes"] = c.asked
		}
		log := content[api.CommandLog](t, call(t, session, "workspace_logs", arguments))
		stdout := log.Commands[0].Stdout
		if got.MaxBytes != c.request || len(stdout) < c.length*9/10 || len(stdout) > c.length+100 || log.Commands[0].StdoutTruncated != (c.length < 100_000) {
			t.Errorf("asked for %d: requested %d, got %d bytes", c.asked, got.MaxBytes, len(stdout))
		}
	}
}

// TestKept: what is kept is bounded, the oldest goes first, and nobody can read
// what he was not told of.
func TestKept(t *testing.T) {
	k := newKept()
	var uris []string
	for i := range 10 {
		v := reflect.ValueOf(&api.Command{Sequence: i, Stdout: strings.Repeat("x", 3<<20)}).Elem()
		uris = append(uris, k.keep(v))
	}
	if k.docs[uris[0]] != "" || k.docs[uris[9]] == "" || k.size > maxKeptAll || len(k.docs) != len(k.ids) {
		t.Errorf("%d documents, %d bytes", len(k.docs), k.size)
	}
	if uri := k.keep(reflect.ValueOf(&api.Command{Stdout: strings.Repeat("\x01", 1<<20)}).Elem()); uri != "" {
		t.Error("6 MiB of JSON are kept")
	}
	session := connect(t, newServer(t, &clienttest.Server{}, Options{}), nil)
	for _, uri := range []string{uris[9], keptPrefix, keptPrefix + "../x", "file:///etc/passwd"} {
		if res, err := session.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: uri}); err == nil {
			t.Errorf("%s: %+v", uri, res)
		}
	}
}

func TestRender(t *testing.T) {
	code := 0
	for want, v := range map[string]any{
		"state=exited workspace_id=ws-1 sequence=3 execution_mode=guest_gvisor command=sh,-c,\"echo hi, you\" stdout_bytes=5 stderr_bytes=0 duration_ms=12 exit_code=0\n" +
			"limit: kind=timeout message=\"too slow\"\nstdout:\na\nb": &commandAnswer{
			State: api.CommandExited, ExitCode: &code, Stdout: "a\nb\n",
			ExecResult: api.ExecResult{WorkspaceID: "ws-1", Sequence: 3, ExecutionMode: api.GuestGVisor, Command: []string{"sh", "-c", "echo hi, you"}, StdoutBytes: 5, DurationMS: 12, Limit: api.Errorf(api.KindTimeout, "too slow")},
		},
		"workspace_id=ws-1 count=1\nsnapshots:\n- workspace_id=ws-1 snapshot_name=baseline kind=baseline created_at=2023-11-14T22:13:20Z size_bytes=0": &api.SnapshotList{
			WorkspaceID: "ws-1", Count: 1, Snapshots: []api.Snapshot{{WorkspaceID: "ws-1", SnapshotName: "baseline", Kind: "baseline", CreatedAt: sample(reflect.TypeFor[api.Snapshot]()).Interface().(api.Snapshot).CreatedAt}},
		},
		"done": &api.Empty{},
	} {
		if got := render(reflect.ValueOf(v).Elem()); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}
