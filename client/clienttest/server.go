// Package clienttest is a background process for tests: it speaks the whole
// protocol on a real socket and leaves it to the test what the operations do.
package clienttest

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"pyro/api"
	"pyro/internal/buildid"
	"pyro/internal/frame"
	"pyro/internal/paths"
)

// Server answers requests. Its maps are by operation name; a name that is in
// none of them answers kind not_found. The zero value says it is the running
// program's own build.
type Server struct {
	Version, Build string
	// Call answers in mode call.
	Call map[string]func(ctx context.Context, body []byte) (any, error)
	// Events answers in mode events; emit sends one event.
	Events map[string]func(ctx context.Context, body []byte, emit func(any)) (any, error)
	// Exec gets the upgraded connection and writes all frames itself.
	Exec map[string]func(ctx context.Context, body []byte, s Stream)
	// Refuse, if set, answers a request for an upgrade with an error.
	Refuse map[string]error
}

// Stream is the server's end of an exec stream. Its Next plays a command that
// takes all stdin at once; a command that does not is played with Reader.Next
// and Taken.
type Stream struct {
	*frame.Reader
	*frame.Writer
	Conn net.Conn
}

// Next returns the next frame and tells the caller that its stdin was taken.
func (s Stream) Next() (frame.Type, []byte, error) {
	t, payload, err := s.Reader.Next()
	if err == nil && t == api.FrameStdin {
		err = s.Taken(len(payload))
	}
	return t, payload, err
}

// Taken tells the caller that the command has taken n more bytes of stdin.
func (s Stream) Taken(n int) error {
	return s.Write(api.FrameStdinTaken, binary.BigEndian.AppendUint32(nil, uint32(n)))
}

// Dirs returns fresh folders for a test.
func Dirs(t testing.TB) paths.Dirs {
	t.Helper()
	root := t.TempDir()
	return MakeDirs(t, root)
}

// MakeDirs makes the folders below root.
func MakeDirs(t testing.TB, root string) paths.Dirs {
	t.Helper()
	d := paths.Dirs{State: filepath.Join(root, "state"), Cache: filepath.Join(root, "cache"), Config: filepath.Join(root, "config")}
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	return d
}

// Env returns the variables that lead a client to dirs.
func Env(dirs paths.Dirs) []string {
	return []string{"PYRO_STATE_DIR=" + dirs.State, "PYRO_CACHE_DIR=" + dirs.Cache, "PYRO_CONFIG_DIR=" + dirs.Config}
}

// Start serves on the socket of dirs until the test ends.
func (s *Server) Start(t testing.TB, dirs paths.Dirs) net.Listener {
	t.Helper()
	l, err := Listen(dirs)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: s}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return l
}

// Listen opens the socket of dirs. The path may be longer than a socket's
// address allows.
func Listen(dirs paths.Dirs) (net.Listener, error) {
	dir, err := os.Open(dirs.State)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	os.Remove(dirs.Socket())
	l, err := net.Listen("unix", "/proc/self/fd/"+strconv.Itoa(int(dir.Fd()))+"/daemon.sock")
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // the name goes through a closed folder
	return unlinking{l, dirs.Socket()}, nil
}

type unlinking struct {
	net.Listener
	path string
}

func (u unlinking) Close() error {
	os.Remove(u.path)
	return u.Listener.Close()
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Pyro-Version", s.version())
	if r.Header.Get("Pyro-Version") == "" {
		fail(w, api.Errorf(api.KindUsage, "header Pyro-Version is missing"))
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	name := filepath.Base(r.URL.Path)
	switch {
	case r.Method == http.MethodGet && name == "ping":
		json.NewEncoder(w).Encode(map[string]any{"version": s.version(), "pid": os.Getpid(), "build": s.build()})
	case s.Refuse[name] != nil:
		fail(w, s.Refuse[name])
	case s.Call[name] != nil && r.Header.Get("Upgrade") == "":
		res, err := s.Call[name](r.Context(), body)
		if err != nil {
			fail(w, err)
			return
		}
		json.NewEncoder(w).Encode(res)
	case s.Events[name] != nil:
		s.serveEvents(w, r, name, body)
	case s.Exec[name] != nil && r.Header.Get("Upgrade") == api.UpgradeProtocol:
		s.serveExec(w, name, body)
	default:
		fail(w, api.Errorf(api.KindNotFound, "operation %s does not exist here", name))
	}
}

func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request, name string, body []byte) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	res, err := s.Events[name](r.Context(), body, func(ev any) {
		enc.Encode(map[string]any{"event": ev})
		w.(http.Flusher).Flush()
	})
	if err != nil {
		w.Write(append(api.MarshalError(err), '\n'))
		return
	}
	enc.Encode(map[string]any{"result": res})
}

// serveExec upgrades. The 101 answer leaves together with the first frames, so
// that every client is seen to cope with reading ahead.
func (s *Server) serveExec(w http.ResponseWriter, name string, body []byte) {
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	head := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + api.UpgradeProtocol + "\r\nPyro-Version: " + s.version() + "\r\n\r\n"
	joined := &joined{Conn: conn, first: []byte(head)}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.Exec[name](ctx, body, Stream{Reader: frame.NewReader(bufio.NewReader(rw)), Writer: frame.NewWriter(joined), Conn: conn})
	joined.Write(nil)
}

// joined puts first before the first write.
type joined struct {
	net.Conn
	first []byte
}

func (j *joined) Write(p []byte) (int, error) {
	if j.first == nil {
		return j.Conn.Write(p)
	}
	both := append(j.first, p...)
	j.first = nil
	if _, err := j.Conn.Write(both); err != nil {
		return 0, err
	}
	return len(p), nil
}

func fail(w http.ResponseWriter, err error) {
	w.WriteHeader(api.KindOf(err).Info().HTTPStatus)
	w.Write(api.MarshalError(err))
}

func (s *Server) version() string {
	if s.Version != "" {
		return s.Version
	}
	return api.Version
}

func (s *Server) build() string {
	if s.Build != "" {
		return s.Build
	}
	build, err := buildid.Of(buildid.Self)
	if err != nil {
		panic(err)
	}
	return build
}
