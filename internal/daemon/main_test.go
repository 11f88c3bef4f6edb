package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pyro/api"
	"pyro/internal/environment"
	"pyro/internal/frame"
	"pyro/internal/paths"
	"pyro/internal/runtime"
	"pyro/internal/runtime/host"
	"pyro/internal/sandbox"
)

// The variables that give the test binary another role.
const (
	roleDaemon = "PYRO_TEST_DAEMON" // be a background process on this state folder
	roleDial   = "PYRO_TEST_DIAL"   // try to ping the one on this state folder
)

// TestMain lets the test binary be a background process that can be killed.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(roleDaemon) != "":
		os.Exit(daemonRole(os.Getenv(roleDaemon)))
	case os.Getenv(roleDial) != "":
		if answers(context.Background(), dirs(os.Getenv(roleDial))) {
			fmt.Println("answered")
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func daemonRole(state string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := run(ctx, Options{Dirs: dirs(state), Ready: func(err error) { fmt.Println("ready", err) }}, testParts)
	if err != nil {
		fmt.Println("failed", err)
		return 1
	}
	fmt.Println("ended")
	return 0
}

func dirs(state string) paths.Dirs {
	return paths.Dirs{State: state, Cache: filepath.Join(state, "cache"), Config: filepath.Join(state, "config")}
}

// testParts have no sandboxes, so that everything runs on the host, which the
// requests allow, and a small shelf of environments.
func testParts(o Options, log *slog.Logger) (*parts, error) {
	d, err := host.New(host.Options{Dir: o.Dirs.Driver("host")})
	if err != nil {
		return nil, err
	}
	why := api.Errorf(api.KindUnavailable, "not in this test").WithHint("no hint")
	isolated := unavailable{"gvisor", runtime.Features{Mode: api.GuestGVisor, Isolated: true}, why}
	return &parts{
		environments: shelf{}, images: noImages{}, isolated: []runtime.Driver{isolated}, hostCompat: d,
		missing: []api.RuntimeCheck{{Name: "vm", Reason: "not in this test"}},
	}, nil
}

// shelf is an environment manager with one environment.
type shelf struct{}

func (shelf) PullKernel(context.Context, func(api.Progress)) error { return nil }

func (shelf) Known(_ context.Context, name string) error {
	if name != "debian:12" {
		return api.Errorf(api.KindNotFound, "environment %s does not exist", name)
	}
	return nil
}

// noImages are the images of shelf: none is installed.
type noImages struct{ shelf }

func (noImages) Acquire(context.Context, string) (*sandbox.Image, error) {
	return nil, api.Errorf(api.KindNotInstalled, "nothing is installed")
}

func (noImages) AcquireDigest(context.Context, string) (*sandbox.Image, error) {
	return nil, api.Errorf(api.KindNotFound, "nothing is installed")
}

func (noImages) Pull(context.Context, string, func(api.Progress)) error {
	return api.Errorf(api.KindUnavailable, "nothing can be installed")
}

func (shelf) List(context.Context) (api.EnvironmentList, error) {
	return api.EnvironmentList{CatalogVersion: "1", Environments: []api.Environment{{Name: "debian:12"}}}, nil
}

func (s shelf) Inspect(ctx context.Context, name string, verify bool) (api.Environment, error) {
	if name == "panic" {
		panic("a fault in a handler")
	}
	return api.Environment{Name: name, Verified: verify}, s.Known(ctx, name)
}

func (shelf) Prune(_ context.Context, all bool) (api.PruneResult, error) {
	return api.PruneResult{Removed: []api.PrunedItem{}, BytesFreed: map[bool]int64{true: 2, false: 1}[all]}, nil
}

func (s shelf) Import(ctx context.Context, name, _ string, progress environment.ProgressFunc) (api.Environment, error) {
	progress(api.Progress{Phase: "unpack"})
	return api.Environment{Name: name}, nil
}

func (s shelf) Pull(ctx context.Context, name string, progress environment.ProgressFunc) (api.Environment, error) {
	if err := s.Known(ctx, strings.TrimPrefix(name, "broken-")); err != nil {
		return api.Environment{}, err
	}
	progress(api.Progress{Phase: "install", Environment: name})
	if strings.HasPrefix(name, "broken-") {
		return api.Environment{}, api.Errorf(api.KindNetwork, "mirror is down").WithHint("try later")
	}
	return api.Environment{Name: name, Installed: true}, nil
}

// process is a background process of its own.
type process struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

// spawn starts a background process on the state folder and waits for its first word.
func spawn(t *testing.T, state string, env ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(self)}
	p.cmd.Env = append(append(os.Environ(), roleDaemon+"="+state), env...)
	p.cmd.Stderr = t.Output()
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	p.expect(t, "ready <nil>")
	return p
}

// expect reads the next line.
func (p *process) expect(t *testing.T, want string) {
	t.Helper()
	if !p.lines.Scan() || p.lines.Text() != want {
		t.Fatalf("the background process says %q (%v), want %q", p.lines.Text(), p.lines.Err(), want)
	}
}

// inProcess runs a background process as a part of the test, for the race
// detector, and ends it with the test.
func inProcess(t *testing.T) *caller {
	t.Helper()
	state := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		ended <- run(ctx, Options{Dirs: dirs(state), Ready: func(err error) { ready <- err }}, testParts)
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &caller{t, state}
}

// caller speaks the protocol without package client.
type caller struct {
	t     *testing.T
	state string
}

func (c *caller) dial() (net.Conn, error) {
	address, dir, err := socketAddress(c.state, socketName)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return net.Dial("unix", address)
}

func (c *caller) http() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return c.dial() },
	}}
}

// raw sends a request and returns status and body.
func (c *caller) raw(method, path string, body io.Reader) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, "http://pyro"+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	answer, err := c.http().Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if answer.Header.Get("Pyro-Version") != api.Version {
		c.t.Errorf("%s: no version header: %v", path, answer.Header)
	}
	return answer.StatusCode, string(b)
}

// do calls an operation. A failure is returned as the error the body holds.
func do[Req, Res any](c *caller, op api.Call[Req, Res], req any) (Res, error) {
	c.t.Helper()
	body, err := json.Marshal(req)
	if err != nil {
		c.t.Fatal(err)
	}
	status, text := c.raw(http.MethodPost, "/v1/"+op.Name, bytes.NewReader(body))
	var res Res
	if status != http.StatusOK {
		e := api.UnmarshalError([]byte(text))
		if e == nil || e.Kind.Info().HTTPStatus != status {
			c.t.Fatalf("%s: status %d with body %q", op.Name, status, text)
		}
		return res, e
	}
	if err := json.Unmarshal([]byte(text), &res); err != nil {
		c.t.Fatalf("%s: %q: %v", op.Name, text, err)
	}
	return res, nil
}

// must is do for calls that have to succeed.
func must[Req, Res any](c *caller, op api.Call[Req, Res], req any) Res {
	c.t.Helper()
	res, err := do(c, op, req)
	if err != nil {
		c.t.Fatalf("%s: %v", op.Name, err)
	}
	return res
}

type fields = map[string]any

func resources(more fields) fields {
	f := fields{"environment": "debian:12", "allow_host_compat": true}
	for k, v := range more {
		f[k] = v
	}
	return f
}

func command(argv ...string) fields {
	return resources(fields{"command": argv, "timeout_seconds": 600})
}

// conversation is an upgraded connection.
type conversation struct {
	t      *testing.T
	conn   net.Conn
	in     *frame.Reader
	out    *frame.Writer
	taken  chan int // what next hears of taken stdin
	room   int      // how much stdin Write may send
	stdout bytes.Buffer
	stderr bytes.Buffer
	phases []string
}

// Write sends stdin within the window, while another goroutine calls next.
func (s *conversation) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		for s.room == 0 {
			s.room += <-s.taken
		}
		n := min(len(rest), s.room)
		if err := s.out.Write(api.FrameStdin, rest[:n]); err != nil {
			return 0, err
		}
		s.room -= n
		rest = rest[n:]
	}
	return len(p), nil
}

// upgrade starts an operation of ModeExec as a stream.
func (c *caller) upgrade(name string, req fields) *conversation {
	c.t.Helper()
	body, err := json.Marshal(req)
	if err != nil {
		c.t.Fatal(err)
	}
	conn, err := c.dial()
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "POST /v1/%s HTTP/1.1\r\nHost: pyro\r\nConnection: Upgrade\r\nUpgrade: %s\r\nContent-Length: %d\r\n\r\n%s", name, api.UpgradeProtocol, len(body), body)
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		b, _ := io.ReadAll(answer.Body)
		c.t.Fatalf("status %d: %s", answer.StatusCode, b)
	}
	return &conversation{
		t: c.t, conn: conn, in: frame.NewReader(r), out: frame.NewWriter(conn),
		taken: make(chan int, 10_000), room: api.StdinWindow, // frames enough for any test
	}
}

// next takes one frame; last is true for a result or an error.
func (s *conversation) next() (res api.ExecResult, last bool, err error) {
	t, payload, err := s.in.Next()
	if err != nil {
		return res, true, err
	}
	switch t {
	case api.FrameStdout:
		s.stdout.Write(payload)
	case api.FrameStderr:
		s.stderr.Write(payload)
	case api.FrameEvent:
		var e api.ExecEvent
		json.Unmarshal(payload, &e)
		s.phases = append(s.phases, e.Phase)
	case api.FrameStdinTaken:
		s.taken <- int(binary.BigEndian.Uint32(payload))
	case api.FrameResult:
		err = json.Unmarshal(payload, &res)
		return res, true, err
	case api.FrameError:
		e := &api.Error{}
		json.Unmarshal(payload, e)
		return res, true, e
	default:
		s.t.Errorf("unexpected frame of type %d", t)
	}
	return res, false, nil
}

// end takes frames until the last.
func (s *conversation) end() (api.ExecResult, error) {
	for {
		if res, last, err := s.next(); last {
			return res, err
		}
	}
}

// until takes frames until stdout holds text.
func (s *conversation) until(text string) {
	s.t.Helper()
	for !strings.Contains(s.stdout.String(), text) {
		if res, last, err := s.next(); last {
			s.t.Fatalf("the stream ended with %+v, %v", res, err)
		}
	}
}

// eventually waits until ok. It gives up after a time that only a fault needs.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func (c *caller) assertNoVMs() {
	c.t.Helper()
	eventually(c.t, "no VM is left", func() bool { return len(must(c, api.ListVMs, nil).VMs) == 0 })
	entries, err := os.ReadDir(filepath.Join(c.state, "host"))
	if err != nil || len(entries) != 0 {
		c.t.Errorf("machines are left: %v, %v", entries, err)
	}
}
