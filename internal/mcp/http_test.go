package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"pyro/api"
	"pyro/client/clienttest"
)

const testToken = "0123456789abcdef0123456789abcdef"

// serve serves HTTP until the test ends and returns the URL.
func serve(t *testing.T, s *Server, address, token string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	url := make(chan string, 1)
	served := make(chan error, 1)
	go func() {
		err := s.ServeHTTP(ctx, HTTPOptions{Address: address, Token: token, Ready: func(u string) { url <- u }})
		close(url)
		served <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-served; !errors.Is(err, context.Canceled) {
			t.Errorf("ServeHTTP: %v", err)
		}
	})
	u, ok := <-url
	if !ok {
		t.Fatal("the server does not listen")
	}
	return u
}

// withHeader sends a header with every request.
type withHeader struct{ key, value string }

func (h withHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(h.key, h.value)
	return http.DefaultTransport.RoundTrip(r)
}

func dial(t *testing.T, url string, opts *mcp.ClientSessionOptions, header withHeader) *mcp.ClientSession {
	t.Helper()
	transport := &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: &http.Client{Transport: header}}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), transport, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

// TestHTTP calls a tool over HTTP, with and without a token, in a version of
// the protocol that has sessions and in one that has none.
func TestHTTP(t *testing.T) {
	for _, version := range []string{"2025-06-18", "2025-11-25", firstWithoutSessions} {
		for _, token := range []string{"", testToken} {
			daemon := echo(func(op *api.Operation) any { return api.ExecResult{ExitCode: 4} }, func(*api.Operation, []byte) {})
			url := serve(t, newServer(t, daemon, Options{}), "127.0.0.1:0", token)
			session := dial(t, url, &mcp.ClientSessionOptions{ProtocolVersion: version}, withHeader{"Authorization", "Bearer " + token})
			res := call(t, session, "workspace_exec", execArguments())
			if got := content[commandAnswer](t, res); res.IsError || *got.ExitCode != 4 || got.Stdout != "out\n" {
				t.Errorf("%s: got %+v", version, got)
			}
			if got := session.InitializeResult().ProtocolVersion; got != version {
				t.Errorf("asked for %s, got %s", version, got)
			}
		}
	}
}

// TestHTTPCancel: a call that its client cancels ends the command.
func TestHTTPCancel(t *testing.T) {
	for _, version := range []string{"2025-06-18", firstWithoutSessions} {
		t.Run(version, func(t *testing.T) {
			begun, gone := make(chan struct{}), make(chan struct{})
			s := newServer(t, endless(begun, gone), Options{})
			session := dial(t, serve(t, s, "127.0.0.1:0", ""), &mcp.ClientSessionOptions{ProtocolVersion: version}, withHeader{"X", "y"})
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-begun
				cancel()
			}()
			if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "workspace_exec", Arguments: execArguments()}); err == nil {
				t.Error("the cancelled call succeeded")
			}
			<-gone
		})
	}
}

// endless answers workspace_exec with a command that only its caller ends.
func endless(begun, gone chan struct{}) *clienttest.Server {
	return execServer(api.ExecWorkspace.Operation, func(s clienttest.Stream) {
		close(begun)
		untilClosed(s)
		close(gone)
	})
}

// TestHTTPSessionEnds: a session that its client ends takes its commands along.
func TestHTTPSessionEnds(t *testing.T) {
	begun, gone := make(chan struct{}), make(chan struct{})
	url := serve(t, newServer(t, endless(begun, gone), Options{}), "127.0.0.1:0", "")
	session := dial(t, url, &mcp.ClientSessionOptions{ProtocolVersion: "2025-06-18"}, withHeader{"X", "y"})
	var deleted sync.WaitGroup
	deleted.Go(func() {
		<-begun
		req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, url, http.NoBody)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Mcp-Session-Id", session.ID())
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != http.StatusNoContent {
			t.Errorf("got %v, %v", res, err)
			return
		}
		res.Body.Close()
	})
	res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "workspace_exec", Arguments: execArguments()})
	if err == nil && !res.IsError {
		t.Errorf("got %+v", res)
	}
	<-gone
	deleted.Wait()
}

// TestHTTPResumes: a client whose connection breaks in the middle of a call comes
// again and gets the answer.
func TestHTTPResumes(t *testing.T) {
	s := newServer(t, &clienttest.Server{}, Options{Conformance: true})
	session := dial(t, serve(t, s, "127.0.0.1:0", ""), &mcp.ClientSessionOptions{ProtocolVersion: "2025-11-25"}, withHeader{"X", "y"})
	res := call(t, session, "test_reconnection", nil)
	if got := text(t, res); !strings.Contains(got, "completed") {
		t.Errorf("got %q", got)
	}
}

// TestHTTPGuard: nobody talks to the server by accident or through a browser.
func TestHTTPGuard(t *testing.T) {
	open := serve(t, newServer(t, &clienttest.Server{}, Options{}), "127.0.0.1:0", "")
	locked := serve(t, newServer(t, &clienttest.Server{}, Options{}), "127.0.0.1:0", testToken)
	public := serve(t, newServer(t, &clienttest.Server{}, Options{}), "0.0.0.0:0", testToken)
	public = strings.Replace(public, "0.0.0.0", "127.0.0.1", 1)
	public = strings.Replace(public, "[::]", "127.0.0.1", 1)
	bearer := map[string]string{"Authorization": "Bearer " + testToken}
	for _, c := range []struct {
		name, url string
		header    map[string]string
		want      int
	}{
		{"as a program does", open, nil, 200},
		{"localhost", open, map[string]string{"Host": "localhost:1234"}, 200},
		{"IPv6", open, map[string]string{"Host": "[::1]:1234"}, 200},
		{"a name made to lead here", open, map[string]string{"Host": "evil.example"}, 403},
		{"such a name with a port", open, map[string]string{"Host": "evil.example:8765"}, 403},
		{"a name that begins well", open, map[string]string{"Host": "127.0.0.1.evil.example"}, 403},
		{"another origin", open, map[string]string{"Origin": "https://evil.example"}, 403},
		{"no origin's origin", open, map[string]string{"Origin": "null"}, 403},
		{"an empty origin", open, map[string]string{"Origin": ""}, 403},
		{"a file's origin", open, map[string]string{"Origin": "file://"}, 403},
		{"an origin that begins well", open, map[string]string{"Origin": "http://localhost.evil.example"}, 403},
		{"two origins", open, map[string]string{"Origin": "http://localhost,http://evil.example"}, 403},
		{"a page of this machine", open, map[string]string{"Origin": "http://localhost:6274"}, 200},
		{"with a token that nobody asks for", open, bearer, 200},
		{"without the token", locked, nil, 401},
		{"with another token", locked, map[string]string{"Authorization": "Bearer " + testToken + "0"}, 401},
		{"with the token as a password", locked, map[string]string{"Authorization": "Basic " + testToken}, 401},
		{"with the token", locked, bearer, 200},
		{"with the token, from a page", locked, map[string]string{"Authorization": "Bearer " + testToken, "Origin": "https://evil.example"}, 403},
		{"from afar without the token", public, nil, 401},
		{"from afar", public, bearer, 200},
		{"another path", strings.TrimSuffix(open, "/mcp") + "/", nil, 404},
	} {
		if got, body := post(t, c.url, c.header, strings.Split(initialize, "\n")[0]); got != c.want {
			t.Errorf("%s: got %d, want %d: %s", c.name, got, c.want, body)
		}
	}
}

func post(t *testing.T, url string, header map[string]string, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	for k, v := range header {
		if k == "Host" {
			req.Host = v
			continue
		}
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(answer)
}

// TestHTTPGarbage: what is no message, or too large a one, is refused, and the
// server lives on.
func TestHTTPGarbage(t *testing.T) {
	url := serve(t, newServer(t, &clienttest.Server{}, Options{}), "127.0.0.1:0", "")
	for name, body := range map[string]string{
		"nothing": "", "text": "hello", "half a document": `{"jsonrpc":"2.0",`, "an empty batch": "[]", "deep": strings.Repeat("[", 100_000),
		"large": `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"` + strings.Repeat("x", maxRequest) + `"}}`,
	} {
		for _, version := range []string{"2025-06-18", firstWithoutSessions} {
			if got, answer := post(t, url, map[string]string{"Mcp-Protocol-Version": version}, body); got < 400 || got >= 500 {
				t.Errorf("%s in %s: got %d: %.200s", name, version, got, answer)
			}
		}
	}
	dial(t, url, nil, withHeader{"X", "y"})
}

// TestListen: an address that others reach needs a token.
func TestListen(t *testing.T) {
	for _, c := range []struct {
		address, token string
		want           api.Kind
	}{
		{"0.0.0.0:0", "", api.KindUsage},
		{":0", "", api.KindUsage},
		{"[::]:0", "", api.KindUsage},
		{"8765", "", api.KindUsage},
		{"127.0.0.1:0", "short", api.KindUsage},
		{"192.0.2.1:0", testToken, api.KindUnavailable},
		{"127.0.0.1:99999", "", api.KindUnavailable},
		{"127.0.0.1:0", "", ""},
		{"localhost:0", "", ""},
		{":0", testToken, ""},
	} {
		l, err := listen(t.Context(), HTTPOptions{Address: c.address, Token: c.token})
		if api.KindOf(err) != c.want || err != nil && api.AsError(err).Hint == "" {
			t.Errorf("%s with token %q: %v", c.address, c.token, err)
		}
		if err == nil {
			l.Close()
		}
	}
}

// FuzzArguments: whatever a model gives as arguments becomes a request or an
// error of kind usage.
func FuzzArguments(f *testing.F) {
	profile, err := findProfile("workspace-full")
	if err != nil {
		f.Fatal(err)
	}
	for _, op := range profile.rows() {
		doc, err := json.Marshal(arguments(op, profile))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(op.MCP, doc)
	}
	f.Add("workspace_exec", []byte(`{"workspace_id":null,"command":"x","timeout_seconds":1e9}`))
	f.Add("vm_run", []byte(`{"environment":"a","environment":"b","command":[""]}`))
	words := profile.words()
	f.Fuzz(func(t *testing.T, name string, doc []byte) {
		for _, op := range profile.rows() {
			if op.MCP != name {
				continue
			}
			req, limit, err := newTool(op, profile, words, "").request(doc, DefaultMaxText)
			if err != nil && api.KindOf(err) != api.KindUsage {
				t.Errorf("%s %q: %v", name, doc, err)
			}
			if err == nil && (req == nil || limit < DefaultMaxText || limit > api.MaxOutput) {
				t.Errorf("%s %q: %v, limit %d", name, doc, req, limit)
			}
		}
	})
}
