package cli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pyro/client/clienttest"
	"pyro/internal/cli"
)

// TestMCPStdio: stdout holds messages and nothing else, and the end of stdin is
// the end.
func TestMCPStdio(t *testing.T) {
	in, input := io.Pipe()
	output, out := io.Pipe()
	var stderr bytes.Buffer
	env, exited := clienttest.Env(scene(t)), make(chan int, 1)
	go func() {
		exited <- cli.Main([]string{"mcp", "serve", "--profile", "vm-run"}, cli.Program{
			Stdin: in, Stdout: out, Stderr: &stderr, Env: env, Signals: make(chan os.Signal),
		})
	}()
	io.WriteString(input, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"vm_list_environments"}}
`)
	lines := bufio.NewScanner(output)
	for _, want := range []string{`"name":"pyro"`, `debian:12-base`} {
		if !lines.Scan() || !json.Valid(lines.Bytes()) || !strings.Contains(lines.Text(), want) {
			t.Errorf("got %q, want %s", lines.Text(), want)
		}
	}
	input.Close()
	if code := <-exited; code != 0 || stderr.Len() > 0 {
		t.Errorf("exit code %d, stderr %q", code, stderr.String())
	}
}

// TestMCPHTTP: the URL is told, and a signal ends the server.
func TestMCPHTTP(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("a-long-enough-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	talk, stderr := io.Pipe()
	signals := make(chan os.Signal)
	env, exited := clienttest.Env(scene(t)), make(chan int, 1)
	go func() {
		exited <- cli.Main([]string{"mcp", "serve", "--http", "127.0.0.1:0", "--token-file", file}, cli.Program{
			Stdout: io.Discard, Stderr: stderr, Env: env, Signals: signals,
		})
		stderr.Close()
	}()
	first := bufio.NewReader(talk)
	line, err := first.ReadString('\n')
	_, url, ok := strings.Cut(strings.TrimSpace(line), "[mcp-serve] url=")
	if err != nil || !ok {
		t.Fatalf("got %q, %v", line, err)
	}
	go io.Copy(io.Discard, first)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the token: %v, %v", res, err)
	}
	res.Body.Close()
	signals <- syscall.SIGTERM
	if code := <-exited; code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d", code)
	}
}

func TestMCPUsage(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dirs := clienttest.Dirs(t)
	for args, want := range map[string]string{
		"mcp serve --profile all":                               "use one of: vm-run, workspace-core, workspace-full",
		"mcp serve --answer-within-seconds 0":                   "at least 1",
		"mcp serve --http 0.0.0.0:0":                            "there is no token",
		"mcp serve --http 127.0.0.1":                            "not HOST:PORT",
		"mcp serve --token-file " + empty:                       "--token-file is for --http",
		"mcp serve --http 127.0.0.1:0 --token-file " + empty:    "is empty",
		"mcp serve --http 127.0.0.1:0 --token-file /nowhere/at": "no such file",
		"mcp serve now":                                         "unexpected argument",
	} {
		if got := pyro(t, dirs, nil, strings.Fields(args)...); got.code != 2 || !strings.Contains(got.stderr, want) || got.stdout != "" {
			t.Errorf("%s: got %+v, want %q", args, got, want)
		}
	}
}
