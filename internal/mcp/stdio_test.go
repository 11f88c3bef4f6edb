package mcp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"pyro/api"
	"pyro/client/clienttest"
)

func send(t *testing.T, conn mcp.Connection, doc string) {
	t.Helper()
	message, err := jsonrpc.DecodeMessage([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Write(t.Context(), message); err != nil {
		t.Fatal(err)
	}
}

const initialize = `{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
`

// answer is a line of stdout.
type answer struct {
	ID     any
	Result json.RawMessage
	Error  *struct {
		Code    int
		Message string
	}
}

// TestStdioGarbage: what is no message is answered with an error, and the next
// message with what it asks for.
func TestStdioGarbage(t *testing.T) {
	const ping = `{"jsonrpc":"2.0","id":"p","method":"ping"}`
	long := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + strings.Repeat("x", 100<<20) + `"}}`
	for name, c := range map[string]struct {
		input string
		code  int // of the answer without an id, 0 if there is none
	}{
		"text":            {"hello", -32700},
		"half a document": {`{"jsonrpc":"2.0","id":1`, -32700},
		"two documents":   {ping + ping, -32700},
		"binary":          {"\x00\xff\xfe", -32700},
		"a number":        {"42", -32600},
		"another object":  {`{"a":1}`, -32600},
		"version 1":       {`{"id":1,"method":"ping"}`, -32600},
		"an odd id":       {`{"jsonrpc":"2.0","id":{},"method":"ping"}`, -32600},
		"an empty batch":  {"[]", -32600},
		"a broken batch":  {"[" + ping, -32700},
		"a strange batch": {`[1]`, -32600},
		"deep":            {strings.Repeat("[", 100_000), -32700},
		"100 MB":          {long, -32600},
		"empty lines":     {"\n \r\n\t", 0},
		"a stray answer":  {`{"jsonrpc":"2.0","id":77,"result":{}}`, 0},
		"a notification":  {`{"jsonrpc":"2.0","method":"notifications/nonsense"}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, &clienttest.Server{}, Options{})
			in, input := io.Pipe()
			output, out := io.Pipe()
			served := make(chan error, 1)
			go func() {
				served <- s.ServeStdio(t.Context(), in, out)
				out.Close()
			}()
			go func() {
				io.WriteString(input, initialize+c.input+"\n"+ping)
				io.WriteString(input, "\n")
			}()
			code := 0
			lines := bufio.NewScanner(output)
			for ponged := false; !ponged && lines.Scan(); {
				var a answer
				if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
					t.Fatalf("%q: %v", lines.Text(), err)
				}
				switch {
				case a.ID == nil && a.Error != nil:
					code = a.Error.Code
				case a.ID == "p":
					ponged = a.Error == nil
				}
			}
			if err := lines.Err(); err != nil || code != c.code {
				t.Errorf("got code %d, want %d, %v", code, c.code, err)
			}
			input.Close()
			if err := <-served; err != nil {
				t.Errorf("at the end of the input: %v", err)
			}
		})
	}
}

// TestStdioDeafClient: a client that does not read cannot keep the server alive.
func TestStdioDeafClient(t *testing.T) {
	s := newServer(t, &clienttest.Server{}, Options{})
	in, input := io.Pipe()
	defer input.Close()
	writing := make(chan struct{})
	output, out := io.Pipe()
	defer output.Close() // lets the last write go
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.ServeStdio(ctx, in, told{out, writing}) }()
	io.WriteString(input, initialize)
	<-writing
	cancel()
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// told says that it is written to.
type told struct {
	io.Writer
	writing chan struct{}
}

func (w told) Write(p []byte) (int, error) {
	close(w.writing)
	return w.Writer.Write(p)
}

// TestStdioBatch: a version of the protocol has batches.
func TestStdioBatch(t *testing.T) {
	s := newServer(t, &clienttest.Server{}, Options{})
	in, input := io.Pipe()
	output, out := io.Pipe()
	go s.ServeStdio(t.Context(), in, out)
	defer input.Close()
	go io.WriteString(input, initialize+`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"tools/list"}]`+"\n")
	answered := map[any]bool{}
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for !(answered[1.0] && answered[2.0]) && lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil || a.Error != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		answered[a.ID] = true
	}
	if !answered[1.0] || !answered[2.0] {
		t.Errorf("answered: %v", answered)
	}
}

// TestStdioEnds: the end of the context ends the server, with a command under
// way and while it waits for input.
func TestStdioEnds(t *testing.T) {
	begun := make(chan struct{})
	s := newServer(t, execServer(api.ExecWorkspace.Operation, func(s clienttest.Stream) {
		close(begun)
		untilClosed(s)
	}), Options{})
	in, input := io.Pipe()
	defer input.Close()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.ServeStdio(ctx, in, io.Discard) }()
	io.WriteString(input, initialize+`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"workspace_exec","arguments":{"workspace_id":"ws-1","command":["sleep","100"]}}}`+"\n")
	<-begun
	cancel()
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestStdioVersions: the newest version that both know is spoken.
func TestStdioVersions(t *testing.T) {
	for asked, want := range map[string]string{"2025-11-25": "2025-11-25", "2025-06-18": "2025-06-18", "2024-11-05": "2024-11-05", "1999-01-01": "2025-11-25"} {
		s := newServer(t, &clienttest.Server{}, Options{})
		in, input := io.Pipe()
		output, out := io.Pipe()
		go s.ServeStdio(t.Context(), in, out)
		io.WriteString(input, strings.Replace(initialize, "2025-03-26", asked, 1))
		line, err := bufio.NewReader(output).ReadString('\n')
		var got struct {
			Result struct{ ProtocolVersion string }
		}
		if err == nil {
			err = json.Unmarshal([]byte(line), &got)
		}
		if err != nil || got.Result.ProtocolVersion != want {
			t.Errorf("asked for %s: got %q, %v", asked, line, err)
		}
		input.Close()
	}
}

// FuzzLines: whatever a client sends, the server answers with whole lines of
// JSON and lives on.
func FuzzLines(f *testing.F) {
	for _, seed := range []string{initialize, "[]", "{", `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, "\x00\n\n", `{"jsonrpc":"2.0","id":1.5,"method":null}`, `{"jsonrpc":"2.0","id":1,"error":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		var out strings.Builder
		c := &lineConn{out: &out, in: make(chan incoming), closed: make(chan struct{})}
		go c.read(bufio.NewReader(strings.NewReader(string(input) + "\n" + `{"jsonrpc":"2.0","id":"last","method":"ping"}`)))
		var last jsonrpc.Message
		for {
			m, err := c.Read(t.Context())
			if err == io.EOF {
				break
			}
			if err != nil || m == nil {
				t.Fatalf("Read: %v, %v", m, err)
			}
			last = m
		}
		if r, ok := last.(*jsonrpc.Request); !ok || r.ID.Raw() != "last" {
			t.Errorf("the last message is %v", last)
		}
		for line := range strings.Lines(out.String()) {
			if !json.Valid([]byte(line)) || !strings.HasSuffix(line, "\n") {
				t.Errorf("wrote %q", line)
			}
		}
	})
}
