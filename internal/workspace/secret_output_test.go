package workspace

import (
	"encoding/json"
	"math/rand/v2"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pyro/api"
	"pyro/internal/agent/spool"
	"pyro/internal/agent/wire"
	"pyro/internal/frame"
	"pyro/internal/redact"
	"pyro/internal/runtime"
)

// fakeGuest is an agent with one shell and one service, whose output the test
// writes.
type fakeGuest struct {
	t     *testing.T
	shell *spool.Spool
	log   *spool.Log
	state string // of both
	reads int
}

// namedMachine is one of which only the mode is asked for.
type namedMachine struct{ runtime.Machine }

func (namedMachine) Mode() api.ExecutionMode { return api.GuestVsock }

// newGuest returns it with a life that it answers, and the instance.
func newGuest(t *testing.T, size int64, values ...string) (*fakeGuest, *life, *instance) {
	t.Helper()
	g := &fakeGuest{
		t: t, state: wire.ShellRunning,
		shell: spool.New(filepath.Join(t.TempDir(), "shell"), size), log: spool.NewLog(filepath.Join(t.TempDir(), "log"), 1<<20),
	}
	t.Cleanup(func() { g.shell.Remove(); g.log.Remove() })
	host, guest := net.Pipe()
	go g.serve(guest)
	client, err := wire.NewClient(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	l := newLife(namedMachine{}, nil, "", nil)
	l.guest.client = client
	return g, l, &instance{id: "ws-0", secrets: secretsOf(values...)}
}

func secretsOf(values ...string) secrets { return secrets{hide: redact.New(values...)} }

func (g *fakeGuest) serve(conn net.Conn) {
	in, out := frame.NewReader(conn), frame.NewWriter(conn)
	_ = out.WriteJSON(wire.FrameHello, wire.Hello{Protocol: wire.Protocol})
	for {
		_, b, err := in.Next()
		if err != nil {
			return
		}
		var call wire.Call
		if err := json.Unmarshal(b, &call); err != nil {
			g.t.Error(err)
			return
		}
		result, err := json.Marshal(g.answer(call))
		if err != nil {
			g.t.Error(err)
		}
		_ = out.WriteJSON(wire.FrameReply, wire.Reply{ID: call.ID, Result: result})
	}
}

func (g *fakeGuest) answer(call wire.Call) any {
	g.reads++
	switch call.Method {
	case wire.ShellRead:
		var p wire.ShellReadParams
		_ = json.Unmarshal(call.Params, &p)
		chunk, err := g.shell.Read(p.Cursor, p.Max)
		if err != nil {
			g.t.Error(err)
		}
		_, end := g.shell.Bounds()
		return wire.ShellReadResult{Cursor: chunk.Cursor, NextCursor: chunk.Next(), Dropped: chunk.Dropped, Data: chunk.Data, State: g.state, CursorEnd: end}
	case wire.ServiceLogs:
		var p wire.ServiceLogsParams
		_ = json.Unmarshal(call.Params, &p)
		var page spool.Page
		if p.TailLines != nil {
			page = g.log.Tail(*p.TailLines, p.Max)
		} else {
			page, _ = g.log.Read(p.Cursor, p.Max)
		}
		_, end := g.log.Bounds()
		res := wire.ServiceLogsResult{Cursor: page.Cursor, NextCursor: page.Next, Dropped: page.Dropped, State: g.state, CursorEnd: end}
		for _, r := range page.Records {
			res.Records = append(res.Records, wire.LogRecord{Stream: r.Stream.String(), Cursor: r.Cursor, Data: r.Data})
		}
		return res
	}
	return wire.ShellListResult{Shells: []wire.ShellInfo{{ID: "sh-0", Cols: 80, Rows: 24}}}
}

// reader reads a shell as a client does that goes on where it was.
type reader struct {
	t      *testing.T
	in     *instance
	l      *life
	cursor int64
	got    strings.Builder
}

// read reads once, and says whether there may be more at once.
func (r *reader) read(n int) bool {
	r.t.Helper()
	out, _, err := r.in.readShell(r.t.Context(), r.l, r.in.secrets.hide, api.ReadShellRequest{ShellID: "sh-0", Cursor: r.cursor, MaxChars: n})
	if err != nil {
		r.t.Fatal(err)
	}
	if out.Truncated && out.NextCursor == r.cursor {
		r.t.Fatalf("no progress at %d", r.cursor)
	}
	r.cursor = out.NextCursor
	r.got.WriteString(out.Output)
	return out.Truncated
}

// TestShellIsReadWithoutSecrets: however output comes, and however it is read,
// what was read is the redaction of the whole.
func TestShellIsReadWithoutSecrets(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 150 {
		values := []string{letters(rnd, 3+rnd.IntN(6)), letters(rnd, 3+rnd.IntN(12))}
		g, l, in := newGuest(t, 1<<20, values...)
		r := &reader{t: t, in: in, l: l}
		text := letters(rnd, 120)
		for rest := text; rest != ""; {
			n := min(len(rest), 1+rnd.IntN(20))
			_, _ = g.shell.Write([]byte(rest[:n]))
			rest = rest[n:]
			for limit := 1 + rnd.IntN(15); r.read(limit); {
			}
		}
		g.state = wire.ShellExited
		for r.read(7) {
		}
		if want := in.secrets.hide.Text(text); r.got.String() != want {
			t.Fatalf("values %q in %q: read %q, want %q", values, text, r.got.String(), want)
		}
	}
}

func letters(rnd *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "ab"[rnd.IntN(2)]
	}
	return string(b)
}

// TestShellHoldsBack what may be the beginning of a secret, until it goes on or
// the shell ends.
func TestShellHoldsBack(t *testing.T) {
	g, l, in := newGuest(t, 1<<20, "hunter22")
	r := &reader{t: t, in: in, l: l}
	step := func(wrote, want string) {
		t.Helper()
		_, _ = g.shell.Write([]byte(wrote))
		for r.read(1000) {
		}
		if got := r.got.String(); got != want {
			t.Errorf("after %q: read %q, want %q", wrote, got, want)
		}
		r.got.Reset()
	}
	step("login hun", "login ")
	step("t", "")
	step("ing\r\n", "hunting\r\n")
	step("login hunter", "login ")
	step("22\r\nh", "[REDACTED]\r\n")
	g.state = wire.ShellExited
	step("", "h")
}

// TestShellWhoseBeginningIsGone: the buffer was cut within a secret.
func TestShellWhoseBeginningIsGone(t *testing.T) {
	for name, plain := range map[string]bool{"raw": false, "plain": true} {
		t.Run(name, func(t *testing.T) {
			g, l, in := newGuest(t, 16, "0123456789")
			_, _ = g.shell.Write([]byte("xxxxx0123456789 and more!")) // keeps "56789 and more!" and a byte
			out, _, err := in.readShell(t.Context(), l, in.secrets.hide, api.ReadShellRequest{ShellID: "sh-0", MaxChars: 1000, Plain: plain})
			if err != nil || out.Output != "[REDACTED] and more!" || out.DroppedBytes != 9 {
				t.Errorf("read %+v, %v", out, err)
			}
		})
	}
}

// TestShellPlain: control sequences within a secret do not show it, and half a
// sequence is left for the next read, as without secrets.
func TestShellPlain(t *testing.T) {
	g, l, in := newGuest(t, 1<<20, "hunter22")
	_, _ = g.shell.Write([]byte("a hunter22 b hun\x1b[31mter\x1b[0m22 c\x1b[3"))
	out, _, err := in.readShell(t.Context(), l, in.secrets.hide, api.ReadShellRequest{ShellID: "sh-0", MaxChars: 1000, Plain: true})
	if err != nil || out.Output != "a [REDACTED] b [REDACTED] c" {
		t.Errorf("read %q, %v", out.Output, err)
	}
	if _, end := g.shell.Bounds(); out.NextCursor != end-3 {
		t.Errorf("goes on at %d of %d", out.NextCursor, end)
	}
}

func TestWindowBack(t *testing.T) {
	w := &window{text: []byte("0123456789"), from: 1, to: 10, spans: []redact.Span{{Begin: 0, End: 2}, {Begin: 4, End: 8}}}
	if got := string(w.shown()); got != "23[REDACTED]89" {
		t.Fatalf("shown %q", got)
	}
	for n, want := range map[int]int{0: 0, 1: 1, 2: 2, 3: 6, 12: 6, 13: 7, 14: 8} {
		if got := w.back(n); got != want {
			t.Errorf("the last %d bytes stand for %d, want %d", n, got, want)
		}
	}
}

// leak is what a piece of a secret looks like that should have been hidden.
var leak = regexp.MustCompile(`[A-Z]{4,}`)

// TestLogIsReadWithoutSecrets: a secret in pieces, with the other stream's output
// between them.
func TestLogIsReadWithoutSecrets(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	values := []string{"ABCDEFGHIJ", "KLMNOPQRSTUVWXYZKLMN"}
	for range 100 {
		g, l, in := newGuest(t, 1<<20, values...)
		g.state = wire.ServiceRunning
		var whole [2]string
		var cursor int64
		var live strings.Builder
		for range 30 {
			which := rnd.IntN(2)
			piece := "word"
			if rnd.IntN(2) == 0 {
				piece = values[rnd.IntN(2)]
			}
			for piece += "."; piece != ""; {
				n := 1 + rnd.IntN(len(piece))
				g.log.Append(spool.Stream(which+1), 0, []byte(piece[:n]))
				whole[which] += piece[:n]
				piece = piece[n:]
				if rnd.IntN(3) == 0 {
					g.log.Append(spool.Stream(2-which), 0, []byte("-"))
					whole[1-which] += "-"
				}
				log := readTestLog(t, in, l, api.LogsServiceRequest{Cursor: &cursor, MaxBytes: 1 + rnd.IntN(40)})
				cursor = log.NextCursor
				live.WriteString(log.Stdout + log.Stderr)
			}
		}
		if shown := strings.ReplaceAll(live.String(), redact.Mark, "*"); leak.MatchString(shown) {
			t.Fatalf("%q was read", shown)
		}
		want := [2]string{in.secrets.hide.Text(whole[0]), in.secrets.hide.Text(whole[1])}
		var got [2]string
		_, end := g.log.Bounds()
		for cursor = 0; cursor < end; {
			log := readTestLog(t, in, l, api.LogsServiceRequest{Cursor: &cursor, MaxBytes: 1 + rnd.IntN(40)})
			if log.NextCursor <= cursor {
				t.Fatalf("no progress at %d of %d", cursor, end)
			}
			cursor = log.NextCursor
			got[0], got[1] = got[0]+log.Stdout, got[1]+log.Stderr
		}
		if separators := strings.NewReplacer("-", ""); separators.Replace(got[0]) != separators.Replace(want[0]) && !strings.Contains(whole[0], "-") {
			t.Fatalf("stdout: read %q, want %q", got[0], want[0])
		}
		if got != want {
			t.Fatalf("read %q, want %q", got, want)
		}
		lines := 1
		log := readTestLog(t, in, l, api.LogsServiceRequest{TailLines: &lines, MaxBytes: 1 << 16})
		if log.Stdout != want[0] || log.Stderr != want[1] {
			t.Fatalf("the newest line: %q and %q, want %q", log.Stdout, log.Stderr, want)
		}
	}
}

func readTestLog(t *testing.T, in *instance, l *life, req api.LogsServiceRequest) api.ServiceLog {
	t.Helper()
	var log api.ServiceLog
	req.ServiceName = "web"
	if err := readHiddenLog(t.Context(), l, in.secrets.hide, req, &log); err != nil {
		t.Fatal(err)
	}
	return log
}

// TestLogHoldsBack what may be the beginning of a secret, but never what the
// other stream says.
func TestLogHoldsBack(t *testing.T) {
	g, l, in := newGuest(t, 1<<20, "hunter22")
	g.state = wire.ServiceRunning
	var cursor int64
	step := func(stream spool.Stream, wrote, want string) {
		t.Helper()
		g.log.Append(stream, 0, []byte(wrote))
		log := readTestLog(t, in, l, api.LogsServiceRequest{Cursor: &cursor, MaxBytes: 1000})
		cursor = log.NextCursor
		got := ""
		for _, c := range log.Chunks {
			got += c.Stream[3:] + ":" + c.Text + "|"
		}
		if got != want {
			t.Errorf("after %q: read %q, want %q", wrote, got, want)
		}
	}
	step(spool.Stdout, "a hunter", "out:a |")
	step(spool.Stderr, "oh\n", "out:[REDACTED]|err:oh\n|")
	step(spool.Stdout, "22 b hu", "out: b |")
	step(spool.Stdout, "nt\n", "out:hunt\n|")
	step(spool.Stdout, "hu", "")
	step(spool.Stderr, "oh\n", "out:hu|err:oh\n|")
	step(spool.Stdout, "nter22\n", "out:\n|")
	g.state = wire.ServiceExited
	step(spool.Stdout, "hunter2", "out:hunter2|")
}

// FuzzLogRecords lets a hostile agent tell anything of a log: no record shows
// the secret that it holds whole.
func FuzzLogRecords(f *testing.F) {
	f.Add([]byte("hunter22"), []byte("x hunter22"), int64(0), int64(8), int64(18), true)
	f.Add([]byte("hun"), []byte("ter22"), int64(-1<<63), int64(1<<63-1), int64(0), false)
	f.Add([]byte("hun"), []byte("ter22"), int64(5), int64(5), int64(-1), true)
	hide := redact.New("hunter22")
	f.Fuzz(func(t *testing.T, a, b []byte, at, then, end int64, same bool) {
		records := []wire.LogRecord{{Stream: "stdout", Cursor: at, Data: a}, {Stream: "stderr", Cursor: then, Data: b}}
		if same {
			records[1].Stream = "stdout"
		}
		for _, runs := range []bool{true, false} {
			var s twoStreams
			for _, r := range records {
				if len(r.Data) > 0 {
					s[streamOf(r)].add(r)
				}
			}
			log := api.ServiceLog{NextCursor: end}
			s.show(hide, records, end, runs, &log)
			if strings.Contains(log.Stdout, "hunter22") || strings.Contains(log.Stderr, "hunter22") {
				t.Errorf("%q and %q are shown", log.Stdout, log.Stderr)
			}
		}
	})
}
