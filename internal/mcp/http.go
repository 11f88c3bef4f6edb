package mcp

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"pyro/api"
)

const (
	// sessionIdle is how long a session is kept that hears nothing.
	sessionIdle = 12 * time.Hour
	// minToken is how short a token may be, in bytes.
	minToken = 16
	// closeTime is how long the answers that are being written may take when
	// the server ends.
	closeTime = 500 * time.Millisecond
	// maxEvents is how much of what was sent is kept for clients whose connection
	// breaks, and who ask for the rest, in bytes.
	maxEvents = 16 << 20
	// firstWithoutSessions is the first version of the protocol whose requests
	// stand each for themselves.
	firstWithoutSessions = "2026-07-28"
)

// HTTPOptions configure ServeHTTP.
type HTTPOptions struct {
	// Address is HOST:PORT; port 0 takes any that is free. Required.
	Address string
	// Token is what clients must send as "Authorization: Bearer TOKEN".
	// Required unless the address is a loopback one.
	Token string
	// Ready, if not nil, is told the URL once the server listens.
	Ready func(url string)
}

// ServeHTTP listens and serves sessions until ctx ends, and closes the server.
func (s *Server) ServeHTTP(ctx context.Context, opts HTTPOptions) error {
	defer s.Close()
	l, err := listen(ctx, opts)
	if err != nil {
		return err
	}
	if opts.Ready != nil {
		opts.Ready("http://" + l.Addr().String() + "/mcp")
	}
	server := &http.Server{Handler: s.Handler(opts.Token), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		s.end()
		closing, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		if server.Shutdown(closing) != nil { // streams of notifications never end by themselves
			_ = server.Close()
		}
	})
	err = server.Serve(l)
	if !stop() {
		<-closed // only now the last answers are written
		return ctx.Err()
	}
	return api.Errorf(api.KindInternal, "HTTP: %w", err)
}

// listen opens the socket, unless it would be open to others without a token.
func listen(ctx context.Context, opts HTTPOptions) (net.Listener, error) {
	if opts.Token != "" && len(opts.Token) < minToken {
		return nil, api.Errorf(api.KindUsage, "the token has %d characters, at least %d are needed", len(opts.Token), minToken).
			WithHint("openssl rand -hex 32")
	}
	if _, _, err := net.SplitHostPort(opts.Address); err != nil {
		return nil, api.Errorf(api.KindUsage, "address %q is not HOST:PORT", opts.Address).WithHint("pyro mcp serve --http 127.0.0.1:8765")
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", opts.Address)
	if err != nil {
		return nil, api.Errorf(api.KindUnavailable, "address %s: %w", opts.Address, err).WithHint("pyro mcp serve --http 127.0.0.1:0")
	}
	if !isLoopback(l.Addr().String()) && opts.Token == "" {
		l.Close()
		return nil, api.Errorf(api.KindUsage, "%s can be reached by others, and there is no token", opts.Address).
			WithHint("set PYRO_MCP_TOKEN to a long random text, or use 127.0.0.1")
	}
	return l, nil
}

// Handler answers requests at /mcp. It refuses those that name a host which is
// not meant, come from a page of another origin, or lack the token.
func (s *Server) Handler(token string) http.Handler {
	server := func(*http.Request) *mcp.Server { return s.server }
	events := mcp.NewMemoryEventStore(nil)
	events.SetMaxBytes(maxEvents)
	sessions := mcp.NewStreamableHTTPHandler(server, &mcp.StreamableHTTPOptions{
		Logger: s.Log, SessionTimeout: sessionIdle, MaxRequestBodyBytes: maxRequest, EventStore: events,
	})
	single := mcp.NewStreamableHTTPHandler(server, &mcp.StreamableHTTPOptions{
		Logger: s.Log, Stateless: true, MaxRequestBodyBytes: maxRequest, PropagateRequestCancellation: true,
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Protocol-Version") >= firstWithoutSessions {
			single.ServeHTTP(w, r)
			return
		}
		if r.Method == http.MethodDelete {
			s.calls.endSession(r.Header.Get("Mcp-Session-Id"))
		}
		sessions.ServeHTTP(w, r)
	})
	return guard(token, mux)
}

// guard refuses requests before anything reads them.
func guard(token string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !hostMeant(r):
			http.Error(w, fmt.Sprintf("host %q is not this server", r.Host), http.StatusForbidden)
		case !originMeant(r):
			http.Error(w, fmt.Sprintf("pages of %q may not talk to this server", r.Header.Get("Origin")), http.StatusForbidden)
		case !tokenMeant(r, token):
			w.Header().Set("WWW-Authenticate", `Bearer realm="pyro"`)
			http.Error(w, "the token is missing or wrong: send Authorization: Bearer TOKEN", http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// hostMeant refuses requests that came to a loopback address under another
// name: a web site whose name was made to lead here sends its own.
func hostMeant(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && (!isLoopback(local.String()) || isLoopback(r.Host))
}

// originMeant lets programs pass, which send no origin, and pages of this
// server's own host, or on a loopback address of any loopback one.
func originMeant(r *http.Request) bool {
	values, sent := r.Header["Origin"]
	if !sent {
		return true
	}
	origin, err := url.Parse(strings.Join(values, ","))
	if err != nil || origin.Scheme != "http" && origin.Scheme != "https" {
		return false
	}
	return origin.Host == r.Host || isLoopback(r.Host) && isLoopback(origin.Host)
}

func tokenMeant(r *http.Request, token string) bool {
	if token == "" {
		return true
	}
	scheme, sent, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare([]byte(strings.TrimSpace(sent)), []byte(token)) == 1
}

// isLoopback reports whether HOST or HOST:PORT is this machine, seen from
// itself.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
