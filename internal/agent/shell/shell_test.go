package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
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

func newSet(t *testing.T) *Set {
	t.Helper()
	processes, err := table()
	if err != nil {
		t.Skipf("needs root, to drop capabilities: %v", err)
	}
	s := NewSet(t.TempDir(), processes, &spool.Pump{})
	t.Cleanup(func() {
		var wg sync.WaitGroup
		for _, sh := range s.List().Shells {
			wg.Go(func() {
				if _, err := s.Close(wire.ShellParams{ID: sh.ID}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if left, _ := os.ReadDir(s.dir); len(left) > 0 {
			t.Errorf("files left: %v", left)
		}
	})
	return s
}

// user works with one shell.
type user struct {
	t      *testing.T
	set    *Set
	id     string
	pid    int
	cursor int64
	seen   bytes.Buffer
}

func open(t *testing.T, s *Set, p wire.ShellOpenParams) *user {
	t.Helper()
	if p.Cwd == "" {
		p.Cwd = "/"
	}
	if p.ID == "" {
		p.ID = fmt.Sprintf("shell-%d", len(s.List().Shells))
	}
	info, err := s.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	return &user{t: t, set: s, id: p.ID, pid: info.PID}
}

func sh(t *testing.T, script string) *user {
	t.Helper()
	return open(t, newSet(t), wire.ShellOpenParams{Argv: []string{"sh", "-c", script}})
}

func (u *user) read(p wire.ShellReadParams) wire.ShellReadResult {
	u.t.Helper()
	p.ID = u.id
	late, err := u.set.Await(u.t.Context(), p)
	if err != nil {
		u.t.Fatal(err)
	}
	r, err := late()
	if err != nil {
		u.t.Fatal(err)
	}
	return r
}

// until reads on until something in the output matches, and returns all up to
// the end of that.
func (u *user) until(pattern string) string {
	u.t.Helper()
	match := regexp.MustCompile(pattern)
	for {
		if at := match.FindIndex(u.seen.Bytes()); at != nil {
			return string(u.seen.Next(at[1]))
		}
		r := u.read(wire.ShellReadParams{Cursor: u.cursor, WaitMS: wire.MaxWaitMS})
		if len(r.Data) == 0 {
			u.t.Fatalf("no %q in what came until the shell %s: %q", pattern, r.State, u.seen.String())
		}
		u.seen.Write(r.Data)
		u.cursor = r.NextCursor
	}
}

// running waits until programs of these names run in the session: a child of a
// shell may lose signals until it has become one.
func (u *user) running(names ...string) {
	u.t.Helper()
	for _, name := range names {
		for {
			members, err := process.Session(u.pid)
			if err != nil {
				u.t.Fatal(err)
			}
			if slices.ContainsFunc(members, func(p process.Info) bool { return p.Name == name && !p.Stopped }) {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// end waits for the end and returns the exit code.
func (u *user) end() int {
	u.t.Helper()
	for {
		r := u.read(wire.ShellReadParams{Cursor: u.cursor, WaitMS: wire.MaxWaitMS})
		u.cursor = r.NextCursor
		u.seen.Write(r.Data)
		if r.State == wire.ShellExited && r.NextCursor == r.CursorEnd {
			return *r.ExitCode
		}
	}
}

func (u *user) write(text string) {
	u.t.Helper()
	if r, err := u.set.Write(wire.ShellWriteParams{ID: u.id, Data: []byte(text)}); err != nil || r.Written != len(text) || r.Full {
		u.t.Fatalf("write %q: %+v, %v", text, r, err)
	}
}

func (u *user) signal(name string) {
	u.t.Helper()
	if _, err := u.set.Signal(wire.ShellSignalParams{ID: u.id, Signal: name}); err != nil {
		u.t.Fatal(err)
	}
}

func kind(t *testing.T, err error) wire.Kind {
	t.Helper()
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		t.Fatalf("error %v is not a *wire.Error", err)
	}
	return e.Kind
}

func TestBash(t *testing.T) {
	if _, err := os.Stat("/bin/bash"); err != nil {
		t.Skip("needs bash")
	}
	s := newSet(t)
	u := open(t, s, wire.ShellOpenParams{Argv: []string{"bash", "--norc"}, Env: []string{"PS1=@ ", "X=y z"}, Cwd: "/usr"})
	u.until("@ $")
	u.write("echo $((6*7)) $PWD $TERM \"$X\" $(tty) $-\r")
	if got := u.until(`42 [^\n]*\n`); !regexp.MustCompile(`42 /usr xterm-256color y z /dev/pts/\d+ \S*i\S*m`).MatchString(got) {
		t.Errorf("got %q", got)
	}
	u.write("stty size\r")
	u.until(`30 120\r\n`)
	if info, err := s.Resize(wire.ShellResizeParams{ID: u.id, Cols: 77, Rows: 11}); err != nil || info.Cols != 77 || info.Rows != 11 {
		t.Fatalf("resize: %+v, %v", info, err)
	}
	u.write("stty size\r")
	u.until(`11 77\r\n`)
	u.write("sleep 1000\r")
	u.until("sleep 1000\r\n")
	u.running("sleep")
	u.write("\x03")
	u.until(`\^C(?s:.*)@ `)
	u.write("echo $?\r")
	u.until(`130\r\n`)
	u.write("sleep 1000 | cat\r")
	u.until(`cat\r\n`)
	u.running("sleep", "cat")
	u.write("\x1a")
	u.until(`Stopped(?s:.*)@ `)
	u.write("kill -KILL %1; exit 9\rexit 9\r") // the first may only warn of the job
	if code := u.end(); code != 9 {
		t.Errorf("exit code %d", code)
	}
	if _, err := s.Write(wire.ShellWriteParams{ID: u.id, Data: []byte("x")}); kind(t, err) != wire.KindConflict {
		t.Errorf("write after the end: %v", err)
	}
	if info := s.List().Shells[0]; info.State != wire.ShellExited || *info.ExitCode != 9 || info.EndedAt < info.StartedAt || info.CursorEnd != u.cursor {
		t.Errorf("afterwards the shell is %+v", info)
	}
}

func TestExit(t *testing.T) {
	for script, want := range map[string]int{
		"exit 3":                       3,
		"kill -9 $$":                   137,
		"sleep 1000 & echo; exit 4":    4, // the terminal stays open
		"setsid sleep 0.3 & exit 5":    5,
		"trap '' HUP; cat & exec true": 0,
	} {
		u := sh(t, script)
		if code := u.end(); code != want {
			t.Errorf("%s: exit code %d, want %d", script, code, want)
		}
	}
}

// TestLastWords: what a shell wrote before its end is there with the end.
func TestLastWords(t *testing.T) {
	for i := range 20 {
		u := sh(t, "seq 1 2000; printf last")
		u.end()
		if got := u.seen.Bytes(); !bytes.HasSuffix(got, []byte("2000\r\nlast")) {
			t.Fatalf("run %d: the output ends with %q", i, got[max(0, len(got)-20):])
		}
	}
}

// TestBurst: much output is taken at once, in little memory, and a reader that
// comes late is told what it missed.
func TestBurst(t *testing.T) {
	const size = 100 << 20
	var before, after runtime.MemStats
	s := newSet(t)
	runtime.GC()
	runtime.ReadMemStats(&before)
	u := open(t, s, wire.ShellOpenParams{Argv: []string{"sh", "-c", fmt.Sprintf("stty raw; head -c %d /dev/zero | tr '\\0' x; printf END", size)}})
	for u.read(wire.ShellReadParams{Cursor: u.cursor, Max: 1, WaitMS: wire.MaxWaitMS}).State != wire.ShellExited {
		u.cursor = s.List().Shells[0].CursorEnd
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("%d bytes of memory were kept", grown)
	}
	r := u.read(wire.ShellReadParams{})
	if want := int64(size + 3 - spoolBytes); r.Cursor != want || r.Dropped != want || len(r.Data) != wire.MaxData {
		t.Errorf("read from 0: %d bytes at %d, %d dropped; want %d", len(r.Data), r.Cursor, r.Dropped, want)
	}
	if r := u.read(wire.ShellReadParams{Cursor: size}); string(r.Data) != "END" {
		t.Errorf("the end is %q", r.Data)
	}
}

func TestReadWaits(t *testing.T) {
	u := sh(t, "printf ready; read x; printf a; sleep 0.05; printf b; sleep 0.05; printf c; read x; exit 0")
	u.until("ready")
	if r := u.read(wire.ShellReadParams{Cursor: u.cursor}); len(r.Data) > 0 || r.NextCursor != u.cursor {
		t.Errorf("without waiting: %+v", r)
	}
	if r := u.read(wire.ShellReadParams{Cursor: u.cursor, WaitMS: 20}); len(r.Data) > 0 {
		t.Errorf("after a wait in vain: %+v", r)
	}
	go u.set.Write(wire.ShellWriteParams{ID: u.id, Data: []byte("\n")})
	r := u.read(wire.ShellReadParams{Cursor: u.cursor, WaitMS: wire.MaxWaitMS, IdleMS: 2000})
	if string(r.Data) != "\r\nabc" {
		t.Errorf("until it is idle: %q", r.Data)
	}
	if r := u.read(wire.ShellReadParams{Cursor: u.cursor, Max: 3, WaitMS: wire.MaxWaitMS, IdleMS: wire.MaxWaitMS}); string(r.Data) != "\r\na" {
		t.Errorf("until it is enough: %q", r.Data)
	}
	if _, err := u.set.Await(t.Context(), wire.ShellReadParams{ID: "other"}); kind(t, err) != wire.KindNotFound {
		t.Errorf("unknown shell: %v", err)
	}
	late, err := u.set.Await(t.Context(), wire.ShellReadParams{ID: u.id, Cursor: 1000, WaitMS: wire.MaxWaitMS})
	if err == nil {
		_, err = late()
	}
	if kind(t, err) != wire.KindUsage {
		t.Errorf("beyond the end: %v", err)
	}
}

// TestCanceledRead: a caller that goes away does not go on waiting.
func TestCanceledRead(t *testing.T) {
	u := sh(t, "sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = u.set.Await(ctx, wire.ShellReadParams{ID: u.id, WaitMS: wire.MaxWaitMS, IdleMS: wire.MaxWaitMS})
	}()
	cancel()
	<-done
}

// TestWriteTellsWhereItsOutputBegins: behind all that was written before, also if
// nobody has read that.
func TestWriteTellsWhereItsOutputBegins(t *testing.T) {
	u := sh(t, "stty -echo; printf ready; while read x; do printf \"<$x>\"; done")
	u.until("ready")
	for cursor, word := int64(len("ready")), 1; word < 20; word++ {
		r, err := u.set.Write(wire.ShellWriteParams{ID: u.id, Data: fmt.Appendln(nil, word)})
		if err != nil || r.State != wire.ShellRunning || r.CursorEnd != cursor {
			t.Fatalf("input %d: %+v, %v; want cursor %d", word, r, err, cursor)
		}
		want := fmt.Sprintf("<%d>", word)
		for got := ""; len(got) < len(want); {
			got = string(u.read(wire.ShellReadParams{Cursor: r.CursorEnd, WaitMS: wire.MaxWaitMS}).Data)
			if !strings.HasPrefix(want, got) {
				t.Fatalf("from cursor %d on it says %q, want %q", r.CursorEnd, got, want)
			}
		}
		cursor += int64(len(want))
	}
}

// TestInputIsFull: nobody reads, so that not all can be taken.
func TestInputIsFull(t *testing.T) {
	u := sh(t, "stty raw -echo; printf ready; sleep 1000")
	u.until("ready")
	data := bytes.Repeat([]byte("x"), wire.MaxData)
	total := 0
	for {
		r, err := u.set.Write(wire.ShellWriteParams{ID: u.id, Data: data})
		if err != nil || total > 16<<20 {
			t.Fatalf("%d bytes taken, then %v", total, err)
		}
		total += r.Written
		if r.Full {
			break
		}
	}
	if _, err := u.set.Write(wire.ShellWriteParams{ID: u.id, Data: make([]byte, wire.MaxData+1)}); kind(t, err) != wire.KindUsage {
		t.Errorf("too much for one call: %v", err)
	}
}

// TestMuchInput: a reader that is slower than its input gets all of it.
func TestMuchInput(t *testing.T) {
	const size = 3 << 20
	u := sh(t, fmt.Sprintf("stty raw -echo; printf ready; head -c %d | cksum; printf END", size))
	u.until("ready")
	for sent := 0; sent < size; {
		r, err := u.set.Write(wire.ShellWriteParams{ID: u.id, Data: make([]byte, min(wire.MaxData, size-sent))})
		if err != nil || r.Full {
			t.Fatalf("after %d bytes: %+v, %v", sent, r, err)
		}
		sent += r.Written
	}
	if got := u.until("END"); !strings.Contains(got, "4215202376 0") && !strings.Contains(got, strconv.Itoa(size)) {
		t.Errorf("got %q", got)
	}
}

func TestSignals(t *testing.T) {
	for name, want := range map[string]string{"INT": "2", "QUIT": "3", "USR1": "10", "USR2": "12", "TERM": "15", "HUP": "1", "WINCH": "28"} {
		t.Run(name, func(t *testing.T) {
			// The signal is for the program in front; raw keys make no signals.
			u := sh(t, `trap : INT QUIT USR1 USR2 TERM HUP WINCH; stty raw -echo
				sh -c 'for n in 1 2 3 10 12 15 28; do trap "echo got $n; exit" $n; done; echo ready; while :; do sleep 0.01; done'; echo end`)
			u.until("ready")
			u.signal(name)
			u.until("got " + want + "\n")
			u.until("end")
		})
	}
	t.Run("stop and go on", func(t *testing.T) {
		u := sh(t, "set -m; sleep 1000; echo stopped; fg; exit 0")
		u.running("sleep")
		u.signal("TSTP")
		u.until("stopped")
		u.running("sleep")
	})
	t.Run("kill all", func(t *testing.T) {
		u := sh(t, "trap '' TERM HUP; set -m; sleep 1000 & sleep 1000 & echo ready; cat")
		u.until("ready")
		u.signal("KILL")
		if code := u.end(); code != 137 {
			t.Errorf("exit code %d", code)
		}
		if left, err := process.Session(u.pid); err != nil || len(left) > 0 {
			t.Errorf("still running: %+v, %v", left, err)
		}
		if _, err := u.set.Signal(wire.ShellSignalParams{ID: u.id, Signal: "INT"}); kind(t, err) != wire.KindConflict {
			t.Errorf("signal after the end: %v", err)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		u := sh(t, "sleep 1000")
		for _, name := range []string{"", "SIGINT", "int", "SEGV", "9"} {
			if _, err := u.set.Signal(wire.ShellSignalParams{ID: u.id, Signal: name}); kind(t, err) != wire.KindUsage {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
}

// TestBlindSignals are those for kernels that do not tell the foreground group.
func TestBlindSignals(t *testing.T) {
	for sig, want := range map[syscall.Signal]string{syscall.SIGINT: "2", syscall.SIGQUIT: "3", syscall.SIGUSR1: "10", syscall.SIGWINCH: "28"} {
		t.Run(sig.String(), func(t *testing.T) {
			u := sh(t, `set -m; stty -echo -icanon
				sh -c 'for n in 2 3 10 28; do trap "echo got $n; exit" $n; done; echo ready; while :; do read x; done'; stty -a`)
			u.until("ready")
			shell, err := u.set.find(u.id)
			if err != nil {
				t.Fatal(err)
			}
			if err := shell.signalBlindly(sig); err != nil {
				t.Fatal(err)
			}
			u.until("got " + want + "\r\n")
			if got := u.until(`(?s) -echo .*rows \d+|rows \d+(?s:.*) -echo `); !strings.Contains(got, "rows 30; columns 120") || !strings.Contains(got, "-icanon") {
				t.Errorf("afterwards the terminal is set to %q", got)
			}
		})
	}
}

func TestLikelyForeground(t *testing.T) {
	for name, test := range map[string]struct {
		members []process.Info
		want    int
	}{
		"nobody":  {nil, 10},
		"shell":   {[]process.Info{{PID: 10, Group: 10, Started: 5}}, 10},
		"job":     {[]process.Info{{PID: 10, Group: 10, Started: 5}, {PID: 12, Group: 11, Started: 7}, {PID: 11, Group: 11, Started: 7}}, 11},
		"stopped": {[]process.Info{{PID: 10, Group: 10, Started: 5}, {PID: 12, Group: 12, Started: 7, Stopped: true}}, 10},
	} {
		if got := likelyForeground(10, test.members); got != test.want {
			t.Errorf("%s: group %d, want %d", name, got, test.want)
		}
	}
}

// TestClose: nothing of a session is left, however it clings.
func TestClose(t *testing.T) {
	for name, script := range map[string]string{
		"idle":       "cat",
		"gentle":     "trap 'echo bye; exit' HUP; echo ready; while :; do sleep 0.01; done",
		"stubborn":   "trap '' HUP TERM INT; sleep 1000 & while :; do sleep 1000; done",
		"jobs":       "set -m; sleep 1000 & sleep 1000 & trap '' HUP; sleep 1000",
		"stopped":    "sleep 1000 & kill -STOP $!; kill -STOP $$",
		"exited":     "trap '' HUP; sleep 1000 & exit 0",
		"all exited": "exit 0",
		"flooding":   "trap '' HUP; yes",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := sh(t, script)
			if strings.HasSuffix(name, "exited") {
				u.end()
			}
			reader := make(chan struct{})
			go func() {
				defer close(reader)
				_, _ = u.set.Await(context.Background(), wire.ShellReadParams{ID: u.id, Cursor: u.cursor, WaitMS: wire.MaxWaitMS})
			}()
			info, err := u.set.Close(wire.ShellParams{ID: u.id})
			if err != nil || info.State != wire.ShellExited {
				t.Fatalf("close: %+v, %v", info, err)
			}
			<-reader
			if left, err := process.Session(u.pid); err != nil || len(left) > 0 {
				t.Errorf("still running: %+v, %v", left, err)
			}
			if _, err := u.set.Close(wire.ShellParams{ID: u.id}); kind(t, err) != wire.KindNotFound {
				t.Errorf("close again: %v", err)
			}
			open(t, u.set, wire.ShellOpenParams{ID: u.id, Argv: []string{"true"}}) // the name is free
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	s := newSet(t)
	open(t, s, wire.ShellOpenParams{ID: "taken", Argv: []string{"cat"}})
	for name, test := range map[string]struct {
		p    wire.ShellOpenParams
		kind wire.Kind
	}{
		"taken":     {wire.ShellOpenParams{ID: "taken"}, wire.KindConflict},
		"no name":   {wire.ShellOpenParams{}, wire.KindUsage},
		"bad name":  {wire.ShellOpenParams{ID: "../x"}, wire.KindUsage},
		"too wide":  {wire.ShellOpenParams{ID: "x", Cols: 1 << 16}, wire.KindUsage},
		"negative":  {wire.ShellOpenParams{ID: "x", Rows: -1}, wire.KindUsage},
		"no folder": {wire.ShellOpenParams{ID: "x", Cwd: "/nowhere"}, wire.KindExec},
		"not found": {wire.ShellOpenParams{ID: "x", Cwd: "/", Argv: []string{"nonesuch"}}, wire.KindExec},
	} {
		if _, err := s.Open(test.p); kind(t, err) != test.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := s.List().Shells; len(got) != 1 {
		t.Errorf("shells: %+v", got)
	}
	for i := 1; i < maxShells; i++ {
		if _, err := s.reserve(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Open(wire.ShellOpenParams{ID: "more"}); kind(t, err) != wire.KindConflict {
		t.Errorf("one too many: %v", err)
	}
	if files, _ := filepath.Glob(s.dir + "/*"); len(files) > 1 {
		t.Errorf("files: %v", files)
	}
}
