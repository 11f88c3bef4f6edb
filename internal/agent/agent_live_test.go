package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pyro/internal/agent/wire"
	"pyro/internal/runtime"
	"pyro/internal/runtime/gvisor"
)

// pids is the limit of processes of the sandbox.
const pids = 400

// sandbox is a real one with the agent under test.
type sandbox struct {
	*wire.Client
	t       *testing.T
	machine runtime.Machine
}

// newSandbox starts a sandbox of the pyro under test.
func newSandbox(t *testing.T) *sandbox {
	t.Helper()
	bin, cache := os.Getenv("PYRO_BIN"), os.Getenv("PYRO_TEST_CACHE_DIR")
	if bin == "" || cache == "" {
		t.Skip("needs PYRO_BIN, a built pyro, and PYRO_TEST_CACHE_DIR, a cache with debian:12-base")
	}
	cmd := exec.Command(bin, "env", "inspect", "debian:12-base", "--json")
	cmd.Env = append(os.Environ(), "PYRO_CACHE_DIR="+cache, "PYRO_STATE_DIR="+t.TempDir(), "PYRO_CONFIG_DIR="+t.TempDir())
	defer func() {
		stop := exec.Command(bin, "daemon", "stop", "--force")
		stop.Env = cmd.Env
		_ = stop.Run()
	}()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	var env struct{ Path string }
	if err := json.Unmarshal(out, &env); err != nil {
		t.Fatal(err)
	}
	if env.Path == "" {
		t.Skip("needs debian:12-base in PYRO_TEST_CACHE_DIR; pull it with: pyro env pull debian:12-base")
	}
	driver, err := gvisor.New(gvisor.Options{Dir: t.TempDir(), Executable: bin})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := driver.Close(); err != nil {
			t.Error(err)
		}
	})
	spec := runtime.Spec{ID: "agent-live-test", Image: env.Path, VCPUs: 1, MemoryBytes: 1 << 30, DiskBytes: 256 << 20, PIDs: pids}
	m, err := driver.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := driver.Remove(context.Background(), spec.ID); err != nil {
			t.Error(err)
		}
	})
	s := &sandbox{t: t, machine: m}
	s.Client = s.dial()
	return s
}

// dial makes a new connection, as a later process of the host would.
func (s *sandbox) dial() *wire.Client {
	s.t.Helper()
	conn, err := s.machine.Dial(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := wire.NewClient(s.t.Context(), conn)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// run runs an ordinary command and returns its output.
func (s *sandbox) run(script string) string {
	s.t.Helper()
	var out bytes.Buffer
	p, err := s.machine.Start(s.t.Context(), runtime.Command{Argv: []string{"sh", "-c", script}, Stdout: &out, Stderr: &out})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := p.Wait(); err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

// agentKiB returns a field of the agent's status, in KiB.
func (s *sandbox) agentKiB(field string) int {
	s.t.Helper()
	text := s.run("grep ^" + field + ": /proc/1/status | tr -dc 0-9")
	n, err := strconv.Atoi(text)
	if err != nil {
		s.t.Fatalf("%s: %q", field, text)
	}
	return n
}

// terminal is a shell and how far its output was read.
type terminal struct {
	*sandbox
	id     string
	cursor int64
	seen   bytes.Buffer
}

func (s *sandbox) open(id string, argv ...string) *terminal {
	s.t.Helper()
	if _, err := s.OpenShell(s.t.Context(), wire.ShellOpenParams{ID: id, Argv: argv, Env: []string{"PS1=@ "}}); err != nil {
		s.t.Fatal(err)
	}
	return &terminal{sandbox: s, id: id}
}

func (s *terminal) write(text string) {
	s.t.Helper()
	if r, err := s.WriteShell(s.t.Context(), wire.ShellWriteParams{ID: s.id, Data: []byte(text)}); err != nil || r.Written != len(text) {
		s.t.Fatalf("write %q: %+v, %v", text, r, err)
	}
}

// until reads on until something in the output matches, and returns all up to
// the end of that.
func (s *terminal) until(pattern string) string {
	s.t.Helper()
	match := regexp.MustCompile(pattern)
	for {
		if at := match.FindIndex(s.seen.Bytes()); at != nil {
			return string(s.seen.Next(at[1]))
		}
		r, err := s.ReadShell(s.t.Context(), wire.ShellReadParams{ID: s.id, Cursor: s.cursor, WaitMS: 20_000})
		if err != nil {
			s.t.Fatal(err)
		}
		if len(r.Data) == 0 {
			s.t.Fatalf("no %q in what came until the shell %s: %q", pattern, r.State, s.seen.String())
		}
		s.seen.Write(r.Data)
		s.cursor = r.NextCursor
	}
}

// end waits for the shell's end.
func (s *terminal) end() wire.ShellReadResult {
	s.t.Helper()
	for {
		r, err := s.ReadShell(s.t.Context(), wire.ShellReadParams{ID: s.id, Cursor: s.cursor, WaitMS: 20_000})
		if err != nil {
			s.t.Fatal(err)
		}
		s.cursor = r.CursorEnd
		if r.State == wire.ShellExited {
			return r
		}
	}
}

func (s *terminal) signal(name string) {
	s.t.Helper()
	if _, err := s.SignalShell(s.t.Context(), wire.ShellSignalParams{ID: s.id, Signal: name}); err != nil {
		s.t.Fatal(err)
	}
}

// running waits until a program runs.
func (s *sandbox) running(name string) {
	s.t.Helper()
	s.run(`until grep -qx "` + name + `" /proc/[0-9]*/comm; do :; done`)
}

func TestLiveShell(t *testing.T) {
	s := newSandbox(t)
	sh := s.open("main", "bash", "--norc")
	sh.until("@ $")
	sh.write("tty; stty size; echo $TERM $PWD\r")
	sh.until(`/dev/pts/\d+\r\n30 120\r\nxterm-256color /workspace\r\n`)
	if _, err := s.ResizeShell(t.Context(), wire.ShellResizeParams{ID: "main", Cols: 77, Rows: 11}); err != nil {
		t.Fatal(err)
	}
	sh.write("stty size\r")
	sh.until(`11 77\r\n(?s:.*)@ $`)
	sh.write("sleep 1000\r")
	s.running("sleep")
	sh.write("\x03")
	sh.until(`\^C(?s:.*)@ $`)
	sh.write("echo $?\r")
	sh.until(`130\r\n(?s:.*)@ $`)
	sh.write("sleep 1000\r")
	s.running("sleep")
	sh.write("\x1a")
	sh.until(`Stopped(?s:.*)@ $`)
	sh.write("kill -KILL %1; fg\r")
	sh.until(`@ $`)

	// A later process of the host finds all as it was.
	other := s.dial()
	if list, err := other.ListShells(t.Context()); err != nil || len(list) != 1 || list[0].Cols != 77 || list[0].State != wire.ShellRunning {
		t.Errorf("shells: %+v, %v", list, err)
	}
	if r, err := other.ReadShell(t.Context(), wire.ShellReadParams{ID: "main"}); err != nil || !bytes.Contains(r.Data, []byte("30 120")) {
		t.Errorf("read by another: %q, %v", r.Data, err)
	}
	sh.write("exit 7\r")
	if r := sh.end(); *r.ExitCode != 7 {
		t.Errorf("exit code %d", *r.ExitCode)
	}
	if _, err := s.CloseShell(t.Context(), "main"); err != nil {
		t.Error(err)
	}
	if left := s.run("ls /run/pyro/agent"); left != "" {
		t.Errorf("files left: %s", left)
	}
	_, err := s.CloseShell(t.Context(), "main")
	if e, ok := errors.AsType[*wire.Error](err); !ok || e.Kind != wire.KindNotFound {
		t.Errorf("close again: %v", err)
	}
}

// TestLiveSignals: gVisor does not tell the foreground group, so that each
// signal takes a way of its own.
func TestLiveSignals(t *testing.T) {
	s := newSandbox(t)
	for name, number := range map[string]int{"INT": 2, "QUIT": 3, "USR1": 10, "USR2": 12, "WINCH": 28, "TERM": 15, "HUP": 1} {
		sh := s.open(name, "bash", "--norc", "-c", `set -m; stty raw -echo
			bash -c 'trap "echo got `+strconv.Itoa(number)+`; exit" `+strconv.Itoa(number)+`; echo ready; while :; do sleep 0.02; done'; stty -a; sleep 1000`)
		sh.until("ready")
		sh.signal(name)
		sh.until(fmt.Sprintf("got %d", number))
		if name != "TERM" && name != "HUP" { // which end the outer shell too
			if got := sh.until(`rows \d+; columns \d+(?s:.*)-echo `); !strings.Contains(got, "rows 30; columns 120") || !strings.Contains(got, "-icanon") {
				t.Errorf("%s: afterwards the terminal is set to %q", name, got)
			}
		}
		if _, err := s.CloseShell(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	if left := s.run("grep -l ^sleep /proc/[0-9]*/comm"); left != "" {
		t.Errorf("still running: %s", left)
	}
}

func TestLiveBurst(t *testing.T) {
	s := newSandbox(t)
	before := s.agentKiB("VmRSS")
	began := time.Now()
	sh := s.open("burst", "sh", "-c", "stty raw; head -c 104857600 /dev/zero; printf END")
	r := sh.end()
	if r.CursorEnd != 100<<20+3 {
		t.Errorf("%d bytes came", r.CursorEnd)
	}
	after := s.agentKiB("VmRSS")
	t.Logf("100 MiB through a terminal in %s; the agent's memory %d KiB before, %d KiB after", time.Since(began), before, after)
	if after > before+8<<10 {
		t.Errorf("the agent grew from %d to %d KiB", before, after)
	}
	last, err := s.ReadShell(t.Context(), wire.ShellReadParams{ID: "burst", Cursor: 100 << 20})
	if err != nil || string(last.Data) != "END" {
		t.Errorf("the end is %q, %v", last.Data, err)
	}
	first, err := s.ReadShell(t.Context(), wire.ShellReadParams{ID: "burst"})
	if err != nil || first.Dropped == 0 || first.Cursor != first.Dropped || len(first.Data) != wire.MaxData {
		t.Errorf("the beginning: %d bytes at %d, %d dropped, %v", len(first.Data), first.Cursor, first.Dropped, err)
	}
}

func TestLiveClose(t *testing.T) {
	s := newSandbox(t)
	sh := s.open("stubborn", "bash", "-c", `trap "" HUP TERM INT; sleep 1000 & (trap "" HUP; sleep 1001) & echo ready; while :; do sleep 1000; done`)
	sh.until("ready")
	if _, err := s.CloseShell(t.Context(), "stubborn"); err != nil {
		t.Fatal(err)
	}
	if left := s.run("grep -l ^sleep /proc/[0-9]*/comm"); left != "" {
		t.Errorf("still running: %s", left)
	}
}

func (s *sandbox) service(p wire.ServiceStartParams) wire.ServiceInfo {
	s.t.Helper()
	info, err := s.StartService(s.t.Context(), p)
	if err != nil {
		s.t.Fatal(err)
	}
	return info
}

func TestLiveService(t *testing.T) {
	s := newSandbox(t)
	sh := func(script string) []string { return []string{"sh", "-c", script} }
	file := &wire.Probe{Type: wire.ProbeFile, Path: "ready"}
	info := s.service(wire.ServiceStartParams{Name: "good", Argv: sh("echo out; echo err >&2; touch ready; exec sleep 1000"), Probe: file, IntervalMS: 20})
	if info.State != wire.ServiceRunning {
		t.Fatalf("good: %+v", info)
	}
	logs, err := s.ServiceLogs(t.Context(), wire.ServiceLogsParams{Name: "good"})
	if err != nil || logs.CursorEnd != 8 || len(logs.Records) != 2 {
		t.Errorf("logs: %+v, %v", logs, err)
	}
	_, err = s.StartService(t.Context(), wire.ServiceStartParams{Name: "good", Argv: sh("true")})
	if e, ok := errors.AsType[*wire.Error](err); !ok || e.Kind != wire.KindConflict {
		t.Errorf("a second time: %v", err)
	}
	never := &wire.Probe{Type: wire.ProbeTCP, Address: "localhost:1"}
	for name, test := range map[string]struct {
		script string
		kind   wire.Kind
	}{
		"never":   {"exec sleep 1001", wire.KindTimeout},
		"stays":   {`trap "" TERM; while :; do sleep 1002; done`, wire.KindTimeout},
		"dies":    {"exit 3", ""},
		"daemon":  {`setsid sh -c 'setsid sleep 1003 & exit' & sleep 0.3; exit 0`, ""},
		"runaway": {`setsid sh -c 'trap "" TERM HUP; while :; do setsid sleep 1004; done' & sleep 0.3; exit 0`, ""},
	} {
		info := s.service(wire.ServiceStartParams{Name: name, Argv: sh(test.script), Probe: never, IntervalMS: 50, TimeoutMS: 1000})
		if info.State != wire.ServiceFailed || info.LastErrorKind != test.kind || info.LastError == "" {
			t.Errorf("%s: %+v", name, info)
		}
	}
	if left := s.run("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -x '100[1-9]'"); left != "" {
		t.Errorf("still running: %s", left)
	}
	if info, err := s.StopService(t.Context(), wire.ServiceStopParams{Name: "good"}); err != nil || info.State != wire.ServiceStopped || *info.ExitCode != 143 {
		t.Errorf("stopped: %+v, %v", info, err)
	}
	info = s.service(wire.ServiceStartParams{Name: "none", Argv: []string{"nonesuch"}})
	if info.State != wire.ServiceFailed || info.LastErrorKind != wire.KindExec {
		t.Errorf("no such program: %+v", info)
	}
}

// TestLiveRights: what the agent starts may do what an ordinary command may.
func TestLiveRights(t *testing.T) {
	s := newSandbox(t)
	const show = "grep -E '^(Cap|Seccomp|NoNewPrivs|SigIgn|SigBlk)' /proc/self/status; ulimit -a; umask; id; ls /sys/fs/cgroup; pwd; env | grep -E '^(PATH|HOME|LANG|GO)'; ls /proc/$$/fd | tr '\\n' ' '"
	want := s.run(show)
	s.service(wire.ServiceStartParams{Name: "show", Argv: []string{"sh", "-c", show + "; touch done; sleep 1000"}, Probe: &wire.Probe{Type: wire.ProbeFile, Path: "done"}, IntervalMS: 20})
	logs, err := s.ServiceLogs(t.Context(), wire.ServiceLogsParams{Name: "show"})
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, r := range logs.Records {
		got.Write(r.Data)
	}
	if strings.TrimSpace(got.String()) != want {
		t.Errorf("a service sees\n%s\n\na command sees\n%s", got.String(), want)
	}
}

// TestLiveLimit: services count against the limit of processes, and the agent
// survives it.
func TestLiveLimit(t *testing.T) {
	s := newSandbox(t)
	info := s.service(wire.ServiceStartParams{Name: "bomb", Argv: []string{"sh", "-c", "b() { while :; do sleep 1000 & done; }; b 2>/dev/null & b 2>/dev/null & wait"}})
	if info.State != wire.ServiceRunning {
		t.Fatalf("got %+v", info)
	}
	var stats wire.StatsResult
	for stats.PIDLimitHits == 0 {
		if err := s.Call(t.Context(), wire.Stats, nil, &stats); err != nil {
			t.Fatal(err)
		}
	}
	if stats.PIDs < pids/2 || stats.PIDs > pids+20 {
		t.Errorf("%d processes at the limit, which is %d", stats.PIDs, pids)
	}
	// Another may be lucky, but must not hang or take the agent down.
	for i := range 20 {
		_, _ = s.StartService(t.Context(), wire.ServiceStartParams{Name: fmt.Sprint("more", i), Argv: []string{"true"}})
	}
	if info, err := s.StopService(t.Context(), wire.ServiceStopParams{Name: "bomb", GraceMS: new(int64)}); err != nil || info.State != wire.ServiceStopped {
		t.Fatalf("stopped: %+v, %v", info, err)
	}
	if info := s.service(wire.ServiceStartParams{Name: "after", Argv: []string{"sleep", "1000"}}); info.State != wire.ServiceRunning {
		t.Errorf("afterwards: %+v", info)
	}
}

// TestLiveMany: 50 services and 20 shells at once, and what they cost the agent.
func TestLiveMany(t *testing.T) {
	s := newSandbox(t)
	before := s.agentKiB("VmRSS")
	began := time.Now()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			name := fmt.Sprint("service-", i)
			info, err := s.StartService(t.Context(), wire.ServiceStartParams{
				Name: name, Argv: []string{"sh", "-c", "echo hello; touch " + name + "; exec sleep 1000"},
				Probe: &wire.Probe{Type: wire.ProbeFile, Path: name}, IntervalMS: 100,
			})
			if err != nil || info.State != wire.ServiceRunning {
				t.Errorf("%s: %+v, %v", name, info, err)
			}
		})
	}
	for i := range 20 {
		wg.Go(func() {
			id := fmt.Sprint("shell-", i)
			if _, err := s.OpenShell(t.Context(), wire.ShellOpenParams{ID: id}); err != nil {
				t.Error(err)
				return
			}
			if _, err := s.ReadShell(t.Context(), wire.ShellReadParams{ID: id, WaitMS: wire.MaxWaitMS}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	started := time.Since(began)
	after, threads := s.agentKiB("VmRSS"), s.run("ls /proc/1/task | wc -l")
	cpu := s.run("cut -d' ' -f14,15 /proc/1/stat; sleep 2; cut -d' ' -f14,15 /proc/1/stat")
	t.Logf("50 services and 20 shells in %s; the agent's memory %d KiB before, %d KiB after, %s threads; its ticks over 2 s of rest: %q", started, before, after, threads, cpu)
	if after > before+12<<10 {
		t.Errorf("the agent grew from %d to %d KiB", before, after)
	}
	began = time.Now()
	for i := range 50 {
		wg.Go(func() {
			if info, err := s.StopService(t.Context(), wire.ServiceStopParams{Name: fmt.Sprint("service-", i)}); err != nil || info.State != wire.ServiceStopped {
				t.Errorf("stop: %+v, %v", info, err)
			}
		})
	}
	for i := range 20 {
		wg.Go(func() {
			if _, err := s.CloseShell(t.Context(), fmt.Sprint("shell-", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	t.Logf("all ended in %s", time.Since(began))
}
