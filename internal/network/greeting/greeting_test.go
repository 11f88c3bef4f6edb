package greeting

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hello returns what Go's client says first.
func hello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	client, server := net.Pipe()
	config.InsecureSkipVerify = true
	go func() {
		tls.Client(client, config).Handshake()
		client.Close()
	}()
	defer server.Close()
	buf := make([]byte, MaxSize)
	n, err := server.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// request returns what Go's client writes.
func request(t testing.TB, url, host string) []byte {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// refragmented spreads the handshake of a record over records of n bytes.
func refragmented(record []byte, n int) []byte {
	var spread []byte
	for body := record[5:]; len(body) > 0; {
		part := body[:min(n, len(body))]
		body = body[len(part):]
		spread = append(spread, recordHandshake, 3, 1, byte(len(part)>>8), byte(len(part)))
		spread = append(spread, part...)
	}
	return spread
}

func TestRead(t *testing.T) {
	plain := hello(t, &tls.Config{ServerName: "example.com"})
	for name, tc := range map[string]struct {
		data string
		want Greeting
	}{
		"nothing":              {"", Greeting{More: true}},
		"TLS":                  {string(plain), Greeting{Protocol: TLS, Names: []string{"example.com"}}},
		"TLS and more":         {string(plain) + "\x17\x03\x03\x00\x01x", Greeting{Protocol: TLS, Names: []string{"example.com"}}},
		"TLS 1.2":              {string(hello(t, &tls.Config{ServerName: "example.com", MaxVersion: tls.VersionTLS12})), Greeting{Protocol: TLS, Names: []string{"example.com"}}},
		"TLS for an address":   {string(hello(t, &tls.Config{ServerName: "192.0.2.1"})), Greeting{Protocol: TLS}},
		"TLS in small records": {string(refragmented(plain, 3)), Greeting{Protocol: TLS, Names: []string{"example.com"}}},
		"TLS, empty record":    {"\x16\x03\x01\x00\x00" + string(plain), Greeting{Protocol: TLS, Broken: true}},
		"TLS, another message": {"\x16\x03\x01\x00\x04\x02\x00\x00\x00", Greeting{Protocol: TLS, Broken: true}},
		"TLS, too long":        {"\x16\x03\x01\x40\x00\x01\xff\xff\xff", Greeting{Protocol: TLS, Broken: true}},
		"TLS, then text":       {"\x16\x03\x01\x00\x01\x01GET / HTTP/1.1\r\n", Greeting{}},
		"not TLS":              {"\x16\x01\x00\x00\x00\x00", Greeting{}},
		"HTTP":                 {string(request(t, "http://example.com:8080/a", "")), Greeting{Protocol: HTTP, Names: []string{"example.com"}}},
		"HTTP, another host":   {string(request(t, "http://example.com/a", "other.example")), Greeting{Protocol: HTTP, Names: []string{"other.example"}}},
		"HTTP, body":           {"POST / HTTP/1.1\r\nHost: example.com\r\n\r\nHost: other.example\r\n", Greeting{Protocol: HTTP, Names: []string{"example.com"}}},
		"HTTP, odd":            {"\r\n\nget  / HTTP/1.0\nx:y\nHOST :\t user@example.com:80 \n\n", Greeting{Protocol: HTTP, Names: []string{"example.com"}}},
		"HTTP, an address":     {"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", Greeting{Protocol: HTTP, Names: []string{"2001:db8::1"}}},
		"HTTP, nobody":         {"GET / HTTP/1.0\r\n\r\n", Greeting{Protocol: HTTP}},
		"HTTP, two hosts":      {"GET / HTTP/1.1\r\nHost: example.com\r\nhost: other.example\r\n\r\n", Greeting{Protocol: HTTP, Names: []string{"example.com", "other.example"}}},
		"HTTP, whole URL":      {"GET http://other.example/?x HTTP/1.1\r\nHost: example.com\r\n\r\n", Greeting{Protocol: HTTP, Names: []string{"other.example", "example.com"}}},
		"HTTP, URL in a path":  {"GET /http://other.example/ HTTP/1.1\r\nHost: example.com\r\n\r\n", Greeting{Protocol: HTTP, Names: []string{"example.com"}}},
		"HTTP, CONNECT":        {"CONNECT other.example:443 HTTP/1.1\r\nHost: example.com\r\n\r\n", Greeting{Protocol: HTTP, Names: []string{"other.example", "example.com"}}},
		"HTTP, spaces in path": {"GET /a b HTTP/1.1\r\nHost: example.com\r\n\r\n", Greeting{Protocol: HTTP, Names: []string{"example.com"}}},
		"HTTP, folded":         {"GET / HTTP/1.1\r\nHost:\r\n other.example\r\n\r\n", Greeting{Protocol: HTTP, Broken: true}},
		"HTTP, NUL":            {"GET / HTTP/1.1\r\nHost: example.com\x00\r\n\r\n", Greeting{Protocol: HTTP, Broken: true}},
		"HTTP, unfinished":     {"GET / HTTP/1.1\r\nHost: example.com\r\n", Greeting{Protocol: HTTP, More: true}},
		"HTTP, endless":        {"GET / HTTP/1.1\r\n" + strings.Repeat("x: y\r\n", MaxSize/6), Greeting{Protocol: HTTP, Broken: true}},
		"HTTP, odd spaces":     {" \tGET\x1f/\xa0HTTP/1.1\nHost\x0b:\xa0example.com\x85\n\n", Greeting{Protocol: HTTP, Names: []string{"example.com"}}},
		"HTTP, odd method":     {"G3T!" + strings.Repeat("x", 300) + " / HTTP/1.1\nHost: example.com\n\n", Greeting{Protocol: HTTP, Names: []string{"example.com"}}},
		"HTTP, odd version":    {"GET / HTTP/01.99\nHost: example.com\n\n", Greeting{Protocol: HTTP, Names: []string{"example.com"}}},
		"HTTP, unclear URL":    {"GET http://example.com\xa3.other.example/ HTTP/1.1\r\nHost: example.com\r\n\r\n", Greeting{Protocol: HTTP, Broken: true}},
		"HTTP, unclear target": {"CONNECT example.com\xa0.other.example:443 HTTP/1.1\r\nHost: example.com\r\n\r\n", Greeting{Protocol: HTTP, Broken: true}},
		"HTTP, URL after odd":  {"GET\xa0/ http://other.example/ HTTP/1.1\r\nHost: example.com\r\n\r\n", Greeting{Protocol: HTTP, Broken: true}},
		"HTTP, Latin-1 path":   {"GET /\xe4/http://other.example HTTP/1.1\r\nHost: example.com\r\n\r\n", Greeting{Protocol: HTTP, Names: []string{"example.com"}}},
		"HTTP/0.9":             {"GET /\r\n\r\n", Greeting{Protocol: HTTP}},
		"HTTP/0.9 with a host": {"GET /\r\nHost: example.com\r\n\r\n", Greeting{Protocol: HTTP, Names: []string{"example.com"}}},
		"Redis":                {"*1\r\n$4\r\nPING\r\n", Greeting{}},
		"LDAP":                 {"0\x0c\x02\x01\x01`\x07", Greeting{}},
		"AMQP":                 {"AMQP\x00\x00\x09\x01", Greeting{}},
		"MongoDB":              {":\x01\x00\x00", Greeting{}},
		"HTTP/2":               {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Greeting{}},
		"SSH":                  {"SSH-2.0-OpenSSH_9.2\r\n", Greeting{}},
		"PostgreSQL":           {"\x00\x00\x00\x08\x04\xd2\x16\x2f", Greeting{}},
		"SMTP":                 {"EHLO example.com\r\n", Greeting{}},
	} {
		if diff := cmp.Diff(tc.want, Read([]byte(tc.data))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// What a client leaves unfinished before it ends its side.
func TestLast(t *testing.T) {
	plain := hello(t, &tls.Config{ServerName: "example.com"})
	for name, tc := range map[string]struct {
		data string
		want Greeting
	}{
		"nothing":               {"", Greeting{}},
		"a greeting":            {string(plain), Greeting{Protocol: TLS, Names: []string{"example.com"}}},
		"half a greeting":       {string(plain[:len(plain)-1]), Greeting{Protocol: TLS, Broken: true}},
		"no empty line":         {"GET / HTTP/1.1\r\nHost: other.example\r\n", Greeting{Protocol: HTTP, Names: []string{"other.example"}}},
		"half a line":           {"GET / HTTP/1.1\r\nHost: other.example", Greeting{Protocol: HTTP, Names: []string{"other.example"}}},
		"half the first line":   {"GET http://other.example/ HTTP/1.1", Greeting{Protocol: HTTP, Names: []string{"other.example"}}},
		"a request of HTTP/0.9": {"GET /", Greeting{Protocol: HTTP}},
		"a word":                {"hello", Greeting{}},
		"empty lines":           {"\r\n", Greeting{Protocol: HTTP, Broken: true}},
	} {
		if diff := cmp.Diff(tc.want, Last([]byte(tc.data))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// However the bytes arrive, the answer is the same once there is one.
func TestPieces(t *testing.T) {
	for _, data := range [][]byte{
		hello(t, &tls.Config{ServerName: "example.com"}),
		refragmented(hello(t, &tls.Config{ServerName: "example.com"}), 100),
		request(t, "http://example.com/", ""),
		[]byte("SSH-2.0-OpenSSH_9.2\r\n"),
	} {
		want := Read(data)
		for n := range len(data) {
			if g := Read(data[:n]); !g.More && !cmp.Equal(g, want) {
				t.Errorf("%d of %d bytes: %+v, want %+v", n, len(data), g, want)
			}
		}
	}
}

// A real server and Read agree on whom a request means.
func FuzzHTTP(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"))
	f.Add([]byte("GET http://a.example/ HTTP/1.1\r\nHost: b.example:80\r\nX: y\r\n\r\n"))
	f.Add([]byte("\r\nGET / HTTP/1.0\nhost:x\n\n"))
	f.Add([]byte("T p://.example\xa3\xa3\xa3\xa3\xa3\xa3/ HTTP/1.1\r\nHost: b.example:80\r\nX: y\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		g := Read(data)
		if g.More && g.Broken || len(g.Names) > 0 && (g.More || g.Broken) {
			t.Errorf("%+v", g)
		}
		if last := Last(data); last.More || !g.More && !cmp.Equal(last, g) && len(data) > 0 {
			t.Errorf("%+v, at the end %+v", g, last)
		}
		r, err := http.ReadRequest(newReader(data))
		if err != nil || r.ProtoMajor != 1 || len(data) >= MaxSize {
			return
		}
		if host := hostOf(r.Host); !g.Broken && host != "" && !strings.ContainsAny(host, "[]@") && !contains(g.Names, host) {
			t.Errorf("a server reads %q, Read %+v", r.Host, g)
		}
	})
}

// FuzzTLS: Go's server and Read agree on whom a ClientHello means.
func FuzzTLS(f *testing.F) {
	f.Add(hello(f, &tls.Config{ServerName: "example.com"}))
	f.Add(refragmented(hello(f, &tls.Config{ServerName: "a.example", MaxVersion: tls.VersionTLS12}), 50))
	f.Add(hello(f, &tls.Config{}))
	f.Fuzz(func(t *testing.T, data []byte) {
		g := Read(data)
		if g.More && g.Broken || len(g.Names) > 0 && (g.More || g.Broken) {
			t.Errorf("%+v", g)
		}
		var said *string
		config := &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			said = &h.ServerName
			return nil, fmt.Errorf("enough")
		}}
		tls.Server(&silent{Reader: bytes.NewReader(data)}, config).Handshake()
		if said != nil && *said != "" && !g.Broken && !contains(g.Names, *said) && !contains(g.Names, *said+".") {
			t.Errorf("a server reads %q, Read %+v", *said, g)
		}
	})
}
