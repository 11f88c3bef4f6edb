package service

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"pyro/internal/agent/wire"
)

func TestCheckProbe(t *testing.T) {
	for _, good := range []*wire.Probe{
		nil,
		{Type: "file", Path: ".ready"},
		{Type: "tcp", Address: "127.0.0.1:80"},
		{Type: "tcp", Address: "[::1]:80"},
		{Type: "http", URL: "http://localhost:8080/health?x=1"},
		{Type: "http", URL: "http://[::1]"},
		{Type: "command", Command: "true"},
	} {
		if err := checkProbe(good); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, bad := range []*wire.Probe{
		{},
		{Type: "file"},
		{Type: "file", Command: "true"},
		{Type: "tcp", Address: "127.0.0.1"},
		{Type: "tcp", Address: "127.0.0.1:"},
		{Type: "http", URL: "https://localhost/"},
		{Type: "http", URL: "http://"},
		{Type: "http", URL: "localhost:80"},
		{Type: "command"},
		{Type: "grpc", Command: "true"},
	} {
		if err := checkProbe(bad); err == nil {
			t.Errorf("%+v gave no error", bad)
		}
	}
}

func TestReadStatus(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for answer, want := range map[string]int{
		"HTTP/1.1 200 OK\r\n":                                          200,
		"HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\n":                  404,
		"HTTP/1.1 302\r\n":                                             302,
		"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 204 No\r\n\r\n": 204,
		"HTTP/1.1 100 \r\n\r\nHTTP/1.1 103 \r\n\r\nHTTP/1.1 503 x\n":   503,
		strings.Repeat("HTTP/1.1 100 \r\n\r\n", 20):                    0,
		"HTTP/2 200\r\n":                                               0,
		"HTTP/1.1 20 OK\r\n":                                           0,
		"HTTP/1.1 2000 OK\r\n":                                         0,
		"HTTP/1.1 +20 OK\r\n":                                          0,
		"HTTP/1.1 099 OK\r\n":                                          0,
		"HTTP/1.1 200 OK":                                              0,
		"SSH-2.0-OpenSSH_9.2\r\n":                                      0,
		"HTTP/1.1 200 " + long + "\r\n":                                0,
		"":                                                             0,
	} {
		got, err := readStatus(bufio.NewReader(strings.NewReader(answer)))
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%.60q: status %d, %v; want %d", answer, got, err, want)
		}
	}
}

func FuzzReadStatus(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\n")
	f.Add("HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 204 No\r\n\r\n")
	f.Fuzz(func(t *testing.T, answer string) {
		status, err := readStatus(bufio.NewReader(strings.NewReader(answer)))
		if err == nil && (status < 200 || status > 999) {
			t.Errorf("status %d", status)
		}
	})
}

// answerWith is a server that answers everything with the same bytes; it
// returns its address and a channel that gets what was asked.
func answerWith(t *testing.T, answer string) (string, <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	asked := make(chan string, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n')
			asked <- strings.TrimSpace(line)
			fmt.Fprint(conn, answer)
			conn.Close()
		}
	}()
	return l.Addr().String(), asked
}

func TestGet(t *testing.T) {
	address, asked := answerWith(t, "HTTP/1.1 301 Moved\r\n\r\n")
	if err := get(t.Context(), "http://"+address+"/a%20b?c=d#e"); err != nil {
		t.Error(err)
	}
	if got := <-asked; got != "GET /a%20b?c=d HTTP/1.1" {
		t.Errorf("asked %q", got)
	}
	address, _ = answerWith(t, "HTTP/1.1 500 Oh\r\n\r\n")
	if err := get(t.Context(), "http://"+address); err == nil || err.Error() != "status 500" {
		t.Errorf("error %v", err)
	}
	address, _ = answerWith(t, "")
	if err := get(t.Context(), "http://"+address); err == nil {
		t.Error("no error for no answer")
	}
}

// TestGetEndsWithItsTime: a server that never answers.
func TestGetEndsWithItsTime(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := get(ctx, "http://"+l.Addr().String()); err == nil {
		t.Error("no error")
	}
}
