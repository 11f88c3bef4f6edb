package mcp

import (
	"context"
	"encoding/json"
	"flag"
	"reflect"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"pyro/api"
	"pyro/client"
	"pyro/client/clienttest"
)

var update = flag.Bool("update", false, "write testdata anew")

// newServer makes a server whose operations a fake background process answers.
func newServer(t *testing.T, daemon *clienttest.Server, opts Options) *Server {
	t.Helper()
	dirs := clienttest.Dirs(t)
	daemon.Start(t, dirs)
	c, err := client.New(client.Options{Dirs: dirs, NoStart: true})
	if err != nil {
		t.Fatal(err)
	}
	opts.Client = c
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// connect gives the server a session in memory.
func connect(t *testing.T, s *Server, opts *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	ours, theirs := mcp.NewInMemoryTransports()
	if _, err := s.server.Connect(t.Context(), ours, nil); err != nil {
		t.Fatal(err)
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, opts).Connect(t.Context(), theirs, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

// call calls a tool and returns its result, which may be an error of pyro's.
func call(t *testing.T, session *mcp.ClientSession, name string, arguments any) *mcp.CallToolResult {
	t.Helper()
	res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: arguments})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return res
}

// content reads the structured content of a result into a T.
func content[T any](t *testing.T, res *mcp.CallToolResult) T {
	t.Helper()
	var v T
	doc, err := json.Marshal(res.StructuredContent)
	if err == nil {
		err = json.Unmarshal(doc, &v)
	}
	if err != nil {
		t.Fatalf("structured content %s: %v", doc, err)
	}
	return v
}

// text is the text of a result.
func text(t *testing.T, res *mcp.CallToolResult) string {
	t.Helper()
	if len(res.Content) != 1 {
		t.Fatalf("%d contents", len(res.Content))
	}
	return res.Content[0].(*mcp.TextContent).Text
}

// fits checks structured content against a tool's output schema as a client
// sees it.
func fits(t *testing.T, tool *mcp.Tool, res *mcp.CallToolResult) {
	t.Helper()
	var schema jsonschema.Schema
	doc, err := json.Marshal(tool.OutputSchema)
	if err == nil {
		err = json.Unmarshal(doc, &schema)
	}
	if err != nil {
		t.Fatal(err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatalf("%s: the output schema is no schema: %v", tool.Name, err)
	}
	if err := resolved.Validate(res.StructuredContent); err != nil {
		t.Errorf("%s: %v\n%v", tool.Name, err, res.StructuredContent)
	}
}

// tools lists what a session offers, by name.
func tools(t *testing.T, session *mcp.ClientSession) map[string]*mcp.Tool {
	t.Helper()
	byName := map[string]*mcp.Tool{}
	for tool, err := range session.Tools(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		byName[tool.Name] = tool
	}
	return byName
}

// sample makes a value of a type in which everything is there once.
func sample(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.Pointer:
		v.Set(sample(t.Elem()).Addr())
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.String:
		v.SetString("x")
		if values, ok := v.Interface().(interface{ Values() []string }); ok {
			v.SetString(values.Values()[0])
		}
	case reflect.Slice:
		v.Set(reflect.Append(v, sample(t.Elem())))
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1_700_000_000, 0).UTC()))
			break
		}
		for i := range t.NumField() {
			if t.Field(i).IsExported() && t.Field(i).Type.Kind() != reflect.Interface {
				v.Field(i).Set(sample(t.Field(i).Type))
			}
		}
	}
	return v
}

// echo is a background process that answers every operation with res(op) and
// tells seen which request it got.
func echo(res func(op *api.Operation) any, seen func(op *api.Operation, body []byte)) *clienttest.Server {
	daemon := &clienttest.Server{
		Call:   map[string]func(context.Context, []byte) (any, error){},
		Events: map[string]func(context.Context, []byte, func(any)) (any, error){},
		Exec:   map[string]func(context.Context, []byte, clienttest.Stream){},
	}
	for _, op := range api.Operations() {
		switch op.Mode {
		case api.ModeCall:
			daemon.Call[op.Name] = func(_ context.Context, body []byte) (any, error) {
				seen(op, body)
				return res(op), nil
			}
		case api.ModeEvents:
			daemon.Events[op.Name] = func(_ context.Context, body []byte, emit func(any)) (any, error) {
				seen(op, body)
				emit(api.Progress{Phase: "download", Environment: "debian:12", Done: 1, Total: 2, Unit: "packages"})
				return res(op), nil
			}
		case api.ModeExec:
			daemon.Exec[op.Name] = func(_ context.Context, body []byte, s clienttest.Stream) {
				seen(op, body)
				s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "execute"})
				s.Write(api.FrameStdout, []byte("out\n"))
				s.Write(api.FrameStderr, []byte("err\n"))
				s.WriteJSON(api.FrameResult, res(op))
			}
		}
	}
	return daemon
}
