package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/wire"
)

// table is the only one of this test binary: a table collects all children.
var table = sync.OnceValues(func() (*Table, error) {
	t, err := NewTable()
	if err == nil {
		go t.Reap()
	}
	return t, err
})

func theTable(t *testing.T) *Table {
	t.Helper()
	table, err := table()
	if err != nil {
		t.Skipf("needs root, to drop capabilities: %v", err)
	}
	return table
}

// begin starts a shell script and returns its process and what it prints.
func begin(t *testing.T, group *Group, script string) (*Process, *bufio.Reader) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	defer in.Close()
	p, err := theTable(t).Start(Command{Argv: []string{"sh", "-c", script}, Dir: "/", Env: DefaultEnv, Stdout: in, Group: group})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = KillSession(p.PID, syscall.Kill)
		<-p.Done()
	})
	return p, bufio.NewReader(out)
}

func line(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	text, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("output ended: %q, %v", text, err)
	}
	return strings.TrimSuffix(text, "\n")
}

func TestExitCodes(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 143, "kill -KILL $$": 137} {
		p, _ := begin(t, nil, script)
		<-p.Done()
		if got := p.ExitCode(); got != want {
			t.Errorf("%s: exit code %d, want %d", script, got, want)
		}
		if err := p.Signal(syscall.SIGKILL); err != nil {
			t.Errorf("%s: signal to a process that is done: %v", script, err)
		}
	}
}

// TestManyAtOnce: no exit code is lost or given to another.
func TestManyAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			p, err := theTable(t).Start(Command{Argv: []string{"/bin/sh", "-c", fmt.Sprint("exit ", i)}, Dir: "/"})
			if err != nil {
				t.Error(err)
				return
			}
			<-p.Done()
			if p.ExitCode() != i {
				t.Errorf("exit code %d, want %d", p.ExitCode(), i)
			}
		})
	}
	wg.Wait()
}

func TestOrphansAreCollected(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	_, out := begin(t, nil, "(sh -c 'echo $PPID $$; exec sleep 0.1' &) ; exit")
	_, orphan, _ := strings.Cut(line(t, out), " ")
	for syscall.Kill(atoi(t, orphan), 0) == nil {
		time.Sleep(time.Millisecond)
	}
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWhatAProcessGets(t *testing.T) {
	// The descriptors of the shell itself, not those of ls; a pipe between the two
	// would be one of them for a moment.
	_, out := begin(t, nil, "cat /proc/self/status | grep -E 'Cap(Prm|Eff|Bnd|Inh|Amb)' | tr -d '\\t' | tr '\\n' ' '; echo; ls -m /proc/$$/fd; cat; readlink /proc/$$/fd/0; ps -o sid= -p $$; echo $$; ulimit -Sn")
	var mask uint64
	for _, c := range Capabilities {
		mask |= 1 << c
	}
	for field := range strings.FieldsSeq(line(t, out)) {
		name, value, _ := strings.Cut(field, ":")
		got, err := strconv.ParseUint(value, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		if extra := got &^ mask; extra != 0 {
			t.Errorf("%s has the capabilities %#x that it should not", name, extra)
		}
		if name == "CapEff" && got&(1<<unix.CAP_CHOWN) == 0 {
			t.Error("a process of root may not even chown")
		}
	}
	if got := line(t, out); got != "0, 1, 2" {
		t.Errorf("open descriptors %q, want 0, 1, 2", got)
	}
	if got := line(t, out); got != "/dev/null" {
		t.Errorf("stdin is %q", got)
	}
	if sid, pid := strings.TrimSpace(line(t, out)), line(t, out); sid != pid {
		t.Errorf("the process %s is in session %s, want one of its own", pid, sid)
	}
}

func TestLimitTakesOnlyFromOneThread(t *testing.T) {
	theTable(t)
	if has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_SYS_ADMIN, 0, 0, 0); err != nil || has != 1 {
		t.Errorf("the agent itself lost a capability: %d, %v", has, err)
	}
}

func TestStartErrors(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + dir}
	for name, test := range map[string]struct {
		cmd  Command
		kind wire.Kind
		text string
	}{
		"no command":         {Command{Dir: dir}, wire.KindUsage, "no command"},
		"not in PATH":        {Command{Argv: []string{"sh"}, Dir: dir, Env: env}, wire.KindExec, `"sh" was not found`},
		"not executable":     {Command{Argv: []string{"plain"}, Dir: dir, Env: env}, wire.KindExec, "permission denied"},
		"path not there":     {Command{Argv: []string{"./no"}, Dir: dir}, wire.KindExec, `"./no" was not found`},
		"path not a program": {Command{Argv: []string{plain}, Dir: dir}, wire.KindExec, "permission denied"},
		"folder":             {Command{Argv: []string{"/"}, Dir: dir}, wire.KindExec, "permission denied"},
		"no folder":          {Command{Argv: []string{"/bin/sh"}, Dir: plain}, wire.KindExec, "does not exist"},
		"NUL":                {Command{Argv: []string{"/bin/sh", "a\x00b"}, Dir: dir}, wire.KindExec, "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := theTable(t).Start(test.cmd)
			e, ok := errors.AsType[*wire.Error](err)
			if !ok || e.Kind != test.kind || !strings.Contains(e.Message, test.text) {
				t.Errorf("error %#v, want kind %q and %q", err, test.kind, test.text)
			}
		})
	}
}

func TestRelativeProgram(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tool"), []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []Command{
		{Argv: []string{"./tool"}, Dir: dir},
		{Argv: []string{"tool"}, Dir: dir, Env: []string{"PATH=."}},
		{Argv: []string{"tool"}, Dir: "/", Env: []string{"PATH=/nowhere:" + dir}},
	} {
		p, err := theTable(t).Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if <-p.Done(); p.ExitCode() != 3 {
			t.Errorf("%v: exit code %d", cmd.Argv, p.ExitCode())
		}
	}
}

func TestKillSession(t *testing.T) {
	p, out := begin(t, nil, "sleep 1000 & sleep 1000 & echo; wait")
	line(t, out)
	if err := KillSession(p.PID, syscall.Kill); err != nil {
		t.Error(err)
	}
	<-p.Done()
	if left, err := Session(p.PID); err != nil || len(left) > 0 {
		t.Errorf("still running: %v, %v", left, err)
	}
	if _, err := io.ReadAll(out); err != nil { // ends when nobody holds the pipe
		t.Error(err)
	}
}

// TestKillAll: what was killed may take its time to end, on a host that is busy
// with other things, and what comes anew all the time is given up on.
func TestKillAll(t *testing.T) { synctest.Test(t, testKillAll) } // its waits take no time

func testKillAll(t *testing.T) {
	looks, kills := 0, 0
	kill := func(int, syscall.Signal) error { kills++; return nil }
	err := killAll("slow", kill, func() ([]Info, error) {
		if looks++; looks > 2*killRounds {
			return nil, nil
		}
		return []Info{{PID: 7, Started: 1}}, nil
	})
	if err != nil || kills == 0 {
		t.Errorf("%v after %d kills", err, kills)
	}
	err = killAll("bomb", kill, func() ([]Info, error) {
		looks++
		return []Info{{PID: 7, Started: int64(looks)}}, nil // the same id, another process
	})
	if err == nil || !strings.Contains(err.Error(), "bomb keeps forking") {
		t.Errorf("a session that always forks: %v", err)
	}
	wrong := errors.New("no list")
	if err := killAll("x", kill, func() ([]Info, error) { return nil, wrong }); !errors.Is(err, wrong) {
		t.Errorf("without a list: %v", err)
	}
}

func TestEnviron(t *testing.T) {
	got := strings.Join(Environ([]string{"A=1", "B=2"}, []string{"B=3", "C=4"}, nil, []string{"A=", "D"}), " ")
	if want := "A= B=3 C=4 D"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBrief(t *testing.T) {
	short := []string{"sh", "-c", "true"}
	if got := Brief(short); strings.Join(got, " ") != strings.Join(short, " ") {
		t.Errorf("got %q", got)
	}
	got := Brief([]string{"sh", strings.Repeat("é", 5000), "x"})
	if len(got) != 2 || len(got[1]) > briefBytes+3 || !strings.HasSuffix(got[1], "é...") {
		t.Errorf("%d arguments, the last of %d bytes", len(got), len(got[len(got)-1]))
	}
}
