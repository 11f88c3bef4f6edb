package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pyro/internal/agent/process"
	"pyro/internal/agent/spool"
	"pyro/internal/agent/wire"
)

// table is the only one of this test binary: a table collects all children.
var table = sync.OnceValues(func() (*process.Table, error) {
	t, err := process.NewTable()
	if err == nil {
		go t.Reap()
	}
	return t, err
})

// world is a set of services with a working folder.
type world struct {
	*Set
	t   *testing.T
	cwd string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	processes, err := table()
	if err != nil {
		t.Skipf("needs root, to drop capabilities: %v", err)
	}
	w := &world{NewSet(t.TempDir(), processes, &process.Groups{}, &spool.Pump{}), t, t.TempDir()}
	if groups := cgroups(t); groups != nil {
		w.groups = groups
	}
	t.Cleanup(func() {
		var wg sync.WaitGroup
		none := int64(0)
		for _, s := range w.List().Services {
			wg.Go(func() {
				if _, err := w.Stop(context.Background(), wire.ServiceStopParams{Name: s.Name, GraceMS: &none}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
	return w
}

// cgroups makes a cgroup for the services of a test where the host has a
// hierarchy to write to; without, the tests are done with groups of /proc.
func cgroups(t *testing.T) *process.Groups {
	t.Helper()
	mounts, _ := os.ReadFile("/proc/mounts")
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[2] != "cgroup2" {
			continue
		}
		dir, err := os.MkdirTemp(fields[1], "pyro-test-")
		if err != nil {
			continue
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		groups, err := process.OpenGroups(dir)
		if err != nil {
			t.Fatal(err)
		}
		return groups
	}
	return nil
}

func (w *world) start(name, script string, probe *wire.Probe, more ...func(*wire.ServiceStartParams)) wire.ServiceInfo {
	w.t.Helper()
	p := wire.ServiceStartParams{Name: name, Argv: []string{"sh", "-c", script}, Cwd: w.cwd, Probe: probe, IntervalMS: 10, TimeoutMS: 60_000}
	for _, edit := range more {
		edit(&p)
	}
	info, err := w.Start(w.t.Context(), p)
	if err != nil {
		w.t.Fatal(err)
	}
	return info
}

func (w *world) stop(name string, grace time.Duration) wire.ServiceInfo {
	w.t.Helper()
	ms := grace.Milliseconds()
	info, err := w.Stop(w.t.Context(), wire.ServiceStopParams{Name: name, GraceMS: &ms})
	if err != nil {
		w.t.Fatal(err)
	}
	return info
}

// await returns when the service is as asked for.
func (w *world) await(name string, ready func(wire.ServiceInfo) bool) wire.ServiceInfo {
	w.t.Helper()
	for {
		info, err := w.Status(wire.ServiceParams{Name: name})
		if err != nil {
			w.t.Fatal(err)
		}
		if ready(info) {
			return info
		}
		time.Sleep(time.Millisecond)
	}
}

func (w *world) ended(name string) wire.ServiceInfo {
	w.t.Helper()
	return w.await(name, func(i wire.ServiceInfo) bool {
		return i.State != wire.ServiceRunning && i.State != wire.ServiceStarting
	})
}

func (w *world) logs(p wire.ServiceLogsParams) wire.ServiceLogsResult {
	w.t.Helper()
	late, err := w.Await(w.t.Context(), p)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := late()
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) text(name string) string {
	w.t.Helper()
	var text strings.Builder
	for _, r := range w.logs(wire.ServiceLogsParams{Name: name}).Records {
		fmt.Fprintf(&text, "%s:%s|", r.Stream, r.Data)
	}
	return text.String()
}

// pidIn waits for a file and returns the process whose pid is in it.
func (w *world) pidIn(file string) int {
	w.t.Helper()
	for {
		b, _ := os.ReadFile(filepath.Join(w.cwd, file))
		if pid, err := strconv.Atoi(strings.TrimSuffix(string(b), "\n")); err == nil && strings.HasSuffix(string(b), "\n") {
			return pid
		}
		time.Sleep(time.Millisecond)
	}
}

// touch makes a file for which a service waits.
func (w *world) touch(file string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.cwd, file), nil, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) has(file string) bool {
	_, err := os.Stat(filepath.Join(w.cwd, file))
	return err == nil
}

func alive(t *testing.T, pid int) bool {
	t.Helper()
	all, err := process.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.PID == pid {
			return !p.Zombie
		}
	}
	return false
}

func kind(t *testing.T, err error) wire.Kind {
	t.Helper()
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		t.Fatalf("error %v is not a *wire.Error", err)
	}
	return e.Kind
}

// freePort returns a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestReady(t *testing.T) {
	web, _ := answerWith(t, "HTTP/1.1 200 OK\r\n\r\n")
	for name, test := range map[string]struct {
		script string
		probe  *wire.Probe
	}{
		"none":          {"sleep 1000", nil},
		"file":          {"sleep 0.1; touch .ready; sleep 1000", &wire.Probe{Type: "file", Path: ".ready"}},
		"absolute file": {"sleep 1000", &wire.Probe{Type: "file", Path: "/etc/passwd"}},
		"tcp":           {"sleep 1000", &wire.Probe{Type: "tcp", Address: web}},
		"http":          {"sleep 1000", &wire.Probe{Type: "http", URL: "http://" + web + "/"}},
		"command":       {"sleep 0.1; touch $FLAG; sleep 1000", &wire.Probe{Type: "command", Command: `test -e "$FLAG"`}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			info := w.start("s", test.script, test.probe, func(p *wire.ServiceStartParams) { p.Env = []string{"FLAG=flag"} })
			if info.State != wire.ServiceRunning || info.PID == 0 || info.ReadyAt < info.StartedAt || info.LastError != "" || info.ExitCode != nil {
				t.Fatalf("got %+v", info)
			}
			pid := info.PID
			info = w.stop("s", time.Minute)
			if info.State != wire.ServiceStopped || info.PID != 0 || info.ExitCode == nil || *info.ExitCode != 143 || info.EndedAt < info.ReadyAt {
				t.Errorf("stopped, it is %+v", info)
			}
			if alive(t, pid) {
				t.Error("it runs")
			}
			if again := w.stop("s", time.Minute); again.EndedAt != info.EndedAt {
				t.Errorf("stopped again, it is %+v", again)
			}
		})
	}
}

// TestReadySoon: a service that needs only a moment does not wait for the
// interval to pass, which here is longer than the start may take.
func TestReadySoon(t *testing.T) {
	w := newWorld(t)
	info := w.start("soon", "sleep 0.03; touch ready; exec sleep 1000", &wire.Probe{Type: wire.ProbeFile, Path: "ready"}, func(p *wire.ServiceStartParams) {
		p.IntervalMS = 2 * p.TimeoutMS
	})
	if info.State != wire.ServiceRunning || info.ReadyAt == 0 {
		t.Errorf("got %+v", info)
	}
}

func TestStartFails(t *testing.T) {
	nobody := "127.0.0.1:" + freePort(t)
	angry, _ := answerWith(t, "HTTP/1.1 503 Later\r\n\r\n")
	for name, test := range map[string]struct {
		script string
		probe  *wire.Probe
		text   string
		kind   wire.Kind
		code   int
	}{
		"no file":         {"echo $$ >pid; sleep 1000", &wire.Probe{Type: "file", Path: "no"}, "no such file", wire.KindTimeout, 143},
		"no port":         {"echo $$ >pid; sleep 1000", &wire.Probe{Type: "tcp", Address: nobody}, "refused", wire.KindTimeout, 143},
		"bad status":      {"echo $$ >pid; sleep 1000", &wire.Probe{Type: "http", URL: "http://" + angry}, "status 503", wire.KindTimeout, 143},
		"bad command":     {"echo $$ >pid; sleep 1000", &wire.Probe{Type: "command", Command: "exit 6"}, "exit code 6", wire.KindTimeout, 143},
		"hanging command": {"echo $$ >pid; sleep 1000", &wire.Probe{Type: "command", Command: "sleep 1000"}, "no answer", wire.KindTimeout, 143},
		"ended":           {"echo $$ >pid; echo why >&2; exit 3", &wire.Probe{Type: "file", Path: "no"}, "before it was ready: exit code 3", "", 3},
		"ended well":      {"echo $$ >pid; exit 0", &wire.Probe{Type: "file", Path: "no"}, "before it was ready: exit code 0", "", 0},
		"crashed":         {"echo $$ >pid; kill -SEGV $$", &wire.Probe{Type: "file", Path: "no"}, "ended by SIGSEGV", "", 139},
		"another answers": {"echo $$ >pid; exit 98", &wire.Probe{Type: "command", Command: "while [ -e /proc/$(cat pid) ]; do :; done 2>/dev/null; sleep 0.05"}, "exit code 98", "", 98},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			start := func(limit int64) wire.ServiceInfo {
				return w.start("s", test.script, test.probe, func(p *wire.ServiceStartParams) {
					p.Restart = wire.RestartOnFailure // a start that fails is not a failure later on
					if test.kind == wire.KindTimeout {
						p.TimeoutMS = limit
					}
				})
			}
			info := start(150)
			// A busy machine may need longer to begin the service or a probe.
			for limit := int64(300); !w.has("pid") || strings.Contains(info.LastError, "no answer") && test.text != "no answer"; limit *= 2 {
				info = start(limit)
			}
			if info.State != wire.ServiceFailed || !strings.Contains(info.LastError, test.text) || info.LastErrorKind != test.kind ||
				info.ReadyAt != 0 || info.ExitCode == nil || *info.ExitCode != test.code || info.Restarts != 0 {
				t.Errorf("got %+v, want %q", info, test.text)
			}
			if alive(t, w.pidIn("pid")) {
				t.Error("it runs")
			}
			if name == "ended" && w.text("s") != "stderr:why\n|" {
				t.Errorf("logs %q", w.text("s"))
			}
		})
	}
}

func TestCannotStart(t *testing.T) {
	w := newWorld(t)
	for name, edit := range map[string]func(*wire.ServiceStartParams){
		"no program": func(p *wire.ServiceStartParams) { p.Argv = []string{"nonesuch"} },
		"no folder":  func(p *wire.ServiceStartParams) { p.Cwd = "/nowhere" },
	} {
		info := w.start("s", "", nil, edit)
		if info.State != wire.ServiceFailed || info.LastErrorKind != wire.KindExec || info.LastError == "" || info.ExitCode != nil {
			t.Errorf("%s: %+v", name, info)
		}
	}
	for name, edit := range map[string]func(*wire.ServiceStartParams){
		"no name":     func(p *wire.ServiceStartParams) { p.Name = "" },
		"bad name":    func(p *wire.ServiceStartParams) { p.Name = "a/b" },
		"no command":  func(p *wire.ServiceStartParams) { p.Argv = nil },
		"bad probe":   func(p *wire.ServiceStartParams) { p.Probe = &wire.Probe{Type: "http", URL: "https://x"} },
		"bad restart": func(p *wire.ServiceStartParams) { p.Restart = "always" },
		"bad time":    func(p *wire.ServiceStartParams) { p.TimeoutMS = -1 },
	} {
		p := wire.ServiceStartParams{Name: "x", Argv: []string{"true"}, Cwd: "/"}
		edit(&p)
		if _, err := w.Start(t.Context(), p); kind(t, err) != wire.KindUsage {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Status(wire.ServiceParams{Name: "x"}); kind(t, err) != wire.KindNotFound {
		t.Errorf("unknown service: %v", err)
	}
	if got := w.List().Services; len(got) != 1 {
		t.Errorf("services %+v", got)
	}
}

func TestEnds(t *testing.T) {
	w := newWorld(t)
	w.start("well", "echo out; exit 0", nil)
	if info := w.ended("well"); info.State != wire.ServiceExited || *info.ExitCode != 0 || info.LastError != "" {
		t.Errorf("got %+v", info)
	}
	w.start("badly", "exit 7", nil)
	if info := w.ended("badly"); info.State != wire.ServiceFailed || *info.ExitCode != 7 || info.LastError != "exit code 7" {
		t.Errorf("got %+v", info)
	}
	if got := w.text("well"); got != "stdout:out\n|" {
		t.Errorf("logs %q", got)
	}
}

func TestNamesInUse(t *testing.T) {
	w := newWorld(t)
	w.start("s", "echo first; sleep 1000", nil)
	if _, err := w.Start(t.Context(), wire.ServiceStartParams{Name: "s", Argv: []string{"true"}}); kind(t, err) != wire.KindConflict {
		t.Errorf("error %v", err)
	}
	w.stop("s", time.Minute)
	w.start("s", "echo second; sleep 1000", nil)
	w.await("s", func(wire.ServiceInfo) bool { return w.text("s") == "stdout:second\n|" })
	if files, _ := os.ReadDir(w.dir); len(files) != 1 {
		t.Errorf("files %v", files)
	}
}

// TestNothingIsLeft: whatever a service does to get away, its end is its end.
func TestNothingIsLeft(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		cgroup bool // only a cgroup can tell
	}{
		"ignores TERM":  {`trap "" TERM; echo $$ >pid; while :; do sleep 1000; done`, false},
		"child":         {`sh -c 'trap "" TERM; echo $$ >pid; while :; do sleep 1000; done' & wait`, false},
		"other session": {`setsid sh -c 'trap "" TERM; echo $$ >pid; while :; do sleep 1000; done' & while :; do sleep 1000; done`, false},
		"forked away":   {`setsid sh -c 'setsid sh -c "trap : TERM; echo \$\$ >pid; while :; do sleep 1000; done" & exit' & sleep 1000`, true},
		"many":          {`for i in 1 2 3 4 5 6 7 8 9; do sh -c 'trap "" TERM; sleep 1000' & done; echo $$ >pid; wait`, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if test.cgroup && cgroups(t) == nil {
				t.Skip("needs a cgroup v2 hierarchy where root may write")
			}
			w.start("s", test.script, nil)
			pid := w.pidIn("pid")
			w.stop("s", 20*time.Millisecond)
			if alive(t, pid) {
				t.Errorf("process %d runs", pid)
			}
		})
	}
}

// TestDaemons: what puts itself into the background is not a service.
func TestDaemons(t *testing.T) {
	w := newWorld(t)
	if cgroups(t) == nil {
		t.Skip("needs a cgroup v2 hierarchy where root may write")
	}
	info := w.start("s", `setsid sh -c 'echo $$ >pid; sleep 1000' & while [ ! -s pid ]; do :; done`, &wire.Probe{Type: "file", Path: "never"})
	if info.State != wire.ServiceFailed || alive(t, w.pidIn("pid")) {
		t.Errorf("got %+v", info)
	}
}

func TestStopIsGentle(t *testing.T) {
	w := newWorld(t)
	w.start("s", `trap 'sleep 0.1; echo bye; exit 4' TERM; echo ready; while :; do sleep 0.01; done`, nil)
	w.await("s", func(wire.ServiceInfo) bool { return w.text("s") != "" })
	if info := w.stop("s", time.Minute); info.State != wire.ServiceStopped || *info.ExitCode != 4 {
		t.Errorf("got %+v", info)
	}
	if got := w.text("s"); !strings.HasSuffix(got, "stdout:bye\n|") {
		t.Errorf("logs %q", got)
	}
}

// TestASecondStopCanBeFaster: nobody has to wait out a long grace.
func TestASecondStopCanBeFaster(t *testing.T) {
	w := newWorld(t)
	w.start("s", `trap "" TERM; echo $$ >pid; while :; do sleep 1000; done`, nil)
	w.pidIn("pid")
	first := make(chan wire.ServiceInfo, 1)
	go func() { first <- w.stop("s", time.Hour) }()
	w.await("s", func(wire.ServiceInfo) bool {
		sv, _ := w.find("s")
		sv.mu.Lock()
		defer sv.mu.Unlock()
		return sv.stopped
	})
	w.stop("s", 0)
	if info := <-first; *info.ExitCode != 128+int(syscall.SIGKILL) {
		t.Errorf("got %+v", info)
	}
}

func TestStopWhileStarting(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the caller goes away at once; the service starts all the same
	info, err := w.Start(ctx, wire.ServiceStartParams{Name: "s", Argv: []string{"sleep", "1000"}, Cwd: "/", Probe: &wire.Probe{Type: "file", Path: "/no"}})
	if err != nil || info.State != wire.ServiceStarting {
		t.Fatalf("got %+v, %v", info, err)
	}
	w.await("s", func(i wire.ServiceInfo) bool { return i.PID != 0 })
	if info := w.stop("s", time.Minute); info.State != wire.ServiceStopped || info.LastError != "" {
		t.Errorf("got %+v", info)
	}
}

func TestRestart(t *testing.T) {
	w := newWorld(t)
	onFailure := func(p *wire.ServiceStartParams) { p.Restart = wire.RestartOnFailure }
	w.touch("count")
	w.start("s", `echo run; n=$(wc -l <count); echo x >>count; touch ready
		until [ -e go$n ]; do sleep 0.01; done; [ $n -ge 2 ] && exit 0; exit 5`, &wire.Probe{Type: "file", Path: "ready"}, onFailure)
	for n := range 3 { // a run that ends before it was seen to be ready would be another case
		w.await("s", func(i wire.ServiceInfo) bool { return i.State == wire.ServiceRunning && i.Restarts == n })
		w.touch(fmt.Sprint("go", n))
	}
	info := w.ended("s")
	if info.State != wire.ServiceExited || info.Restarts != 2 || *info.ExitCode != 0 || info.LastError != "exit code 5" {
		t.Errorf("got %+v", info)
	}
	if got := strings.Count(w.text("s"), "run\n"); got != 3 {
		t.Errorf("%d runs are in the log", got)
	}

	w.start("again", "exit 1", nil, onFailure)
	w.await("again", func(i wire.ServiceInfo) bool { return i.Restarts >= 2 })
	if info := w.stop("again", time.Minute); info.State != wire.ServiceStopped {
		t.Errorf("stopped between two runs: %+v", info)
	}
}

func TestLogs(t *testing.T) {
	w := newWorld(t)
	// The streams are two pipes. Which of two pieces came first is known only if
	// the first was taken before the second was written.
	w.start("s", `echo 1; touch one; until [ -e two ]; do sleep 0.01; done; echo 2 >&2
		until [ -e three ]; do sleep 0.01; done; echo 3; touch done; sleep 1000`, &wire.Probe{Type: "file", Path: "one"})
	w.await("s", func(wire.ServiceInfo) bool { return w.text("s") == "stdout:1\n|" })
	w.touch("two")
	w.await("s", func(wire.ServiceInfo) bool { return w.text("s") == "stdout:1\n|stderr:2\n|" })
	w.touch("three")
	w.await("s", func(wire.ServiceInfo) bool { return w.has("done") })
	if got, want := w.text("s"), "stdout:1\n|stderr:2\n|stdout:3\n|"; got != want {
		t.Errorf("logs %q, want %q", got, want)
	}
	one := 1
	r := w.logs(wire.ServiceLogsParams{Name: "s", TailLines: &one})
	if len(r.Records) != 1 || string(r.Records[0].Data) != "3\n" || r.Cursor != 4 || r.NextCursor != 6 || r.CursorEnd != 6 || r.State != wire.ServiceRunning {
		t.Errorf("the last line: %+v", r)
	}
	if r := w.logs(wire.ServiceLogsParams{Name: "s", Cursor: 2, Max: 2}); len(r.Records) != 1 || r.Records[0].Stream != "stderr" || r.NextCursor != 4 {
		t.Errorf("from the middle: %+v", r)
	}
	late, err := w.Await(t.Context(), wire.ServiceLogsParams{Name: "s", Cursor: 100, WaitMS: wire.MaxWaitMS})
	if err == nil {
		_, err = late()
	}
	if kind(t, err) != wire.KindUsage {
		t.Errorf("beyond the end: %v", err)
	}
	// A follower is woken by the end.
	followed := make(chan wire.ServiceLogsResult)
	go func() { followed <- w.logs(wire.ServiceLogsParams{Name: "s", Cursor: 6, WaitMS: wire.MaxWaitMS}) }()
	w.stop("s", time.Minute)
	if r := <-followed; r.State != wire.ServiceStopped || len(r.Records) != 0 {
		t.Errorf("the end: %+v", r)
	}
}

// TestLogBurst: 100 MB neither stop the service nor stay in memory.
func TestLogBurst(t *testing.T) {
	w := newWorld(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	w.start("s", `head -c 100000000 /dev/zero; echo END >&2`, nil)
	w.ended("s")
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("%d bytes of memory were kept", grown)
	}
	r := w.logs(wire.ServiceLogsParams{Name: "s"})
	if r.CursorEnd != 100_000_004 || r.Dropped != r.Cursor || r.CursorEnd-r.Cursor > 8<<20 || r.CursorEnd-r.Cursor < 8<<20-100_000 {
		t.Errorf("cursor %d to %d, dropped %d", r.Cursor, r.CursorEnd, r.Dropped)
	}
	one := 1
	if r := w.logs(wire.ServiceLogsParams{Name: "s", TailLines: &one, Cursor: 0}); len(r.Records) == 0 {
		t.Errorf("the tail: %+v", r)
	}
}

// TestFullDisk: a service whose log cannot be written goes on, and its newest
// output can be read.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	if err := syscall.Mount("tmpfs", w.dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs root, to mount a small tmpfs: %v", err)
	}
	defer syscall.Unmount(w.dir, syscall.MNT_DETACH)
	w.start("s", `head -c 1000000 /dev/zero; echo END; touch done; sleep 1000`, &wire.Probe{Type: "file", Path: "done"})
	one := 1
	r := w.logs(wire.ServiceLogsParams{Name: "s", TailLines: &one})
	for r.NextCursor < r.CursorEnd {
		r = w.logs(wire.ServiceLogsParams{Name: "s", Cursor: r.NextCursor})
	}
	if last := r.Records[len(r.Records)-1].Data; !strings.HasSuffix(string(last), "END\n") {
		t.Errorf("the log ends with %q", last[max(0, len(last)-10):])
	}
}

func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			name := fmt.Sprint("s", i)
			if info := w.start(name, "echo hello; touch "+name+"; exec sleep 1000", &wire.Probe{Type: "file", Path: name}); info.State != wire.ServiceRunning {
				t.Errorf("%s: %+v", name, info)
			}
		})
	}
	wg.Wait()
	for i := range 50 {
		wg.Go(func() {
			if info := w.stop(fmt.Sprint("s", i), time.Minute); info.State != wire.ServiceStopped {
				t.Errorf("got %+v", info)
			}
		})
	}
	wg.Wait()
}
