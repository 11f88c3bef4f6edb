package cli_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/client/clienttest"
	"pyro/internal/paths"
)

// session is a small shell on a terminal: it echoes what is typed, tells its
// new size, and knows the commands exit, die and vim. Its output is read
// by cursor as the real one's is.
type session struct {
	mu      sync.Mutex // guards the rest
	output  []byte
	line    []byte
	shell   api.Shell
	kept    int64         // cursor of the oldest output that is kept
	changed chan struct{} // closed and replaced when something has happened
	onDie   func()
	writes  int
}

func newSession() *session {
	s := &session{shell: shell, changed: make(chan struct{})}
	s.put("$ ")
	return s
}

func (s *session) put(text string) {
	s.output = append(s.output, text...)
	s.shell.NextCursor = int64(len(s.output))
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *session) server() *clienttest.Server {
	return &clienttest.Server{Call: map[string]func(context.Context, []byte) (any, error){
		"open_shell": s.open, "list_shells": s.list, "read_shell": s.read, "write_shell": s.write, "resize_shell": s.resize,
	}}
}

func (s *session) open(_ context.Context, body []byte) (any, error) {
	req := decode[api.OpenShellRequest](body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shell.Cols, s.shell.Rows = req.Cols, req.Rows
	return s.shell, nil
}

func (s *session) list(context.Context, []byte) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shell.FirstCursor = s.kept
	return api.ShellList{WorkspaceID: "ws-1", Shells: []api.Shell{s.shell}}, nil
}

func (s *session) read(ctx context.Context, body []byte) (any, error) {
	var req api.ReadShellRequest
	if err := api.DecodeRequest(body, &req); err != nil {
		return nil, err
	}
	for {
		s.mu.Lock()
		out, changed := s.answer(req), s.changed
		s.mu.Unlock()
		if out.NextCursor > req.Cursor || req.WaitMS == 0 || out.State == api.ShellExited {
			return out, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

func (s *session) answer(req api.ReadShellRequest) api.ShellOutput {
	begin := max(req.Cursor, s.kept)
	raw := s.output[begin:min(int64(len(s.output)), begin+int64(req.MaxChars))]
	out := api.ShellOutput{
		WorkspaceID: "ws-1", ShellID: "sh-1", State: s.shell.State, Cursor: begin, NextCursor: begin + int64(len(raw)), ExitCode: s.shell.ExitCode,
		DroppedBytes: begin - req.Cursor, Output: strings.ToValidUTF8(string(raw), "\uFFFD"), Truncated: begin+int64(len(raw)) < int64(len(s.output)),
	}
	if !utf8.Valid(raw) {
		out.OutputBase64 = base64.StdEncoding.EncodeToString(raw)
	}
	return out
}

func (s *session) write(_ context.Context, body []byte) (any, error) {
	var req api.WriteShellRequest
	if err := api.DecodeRequest(body, &req); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	for _, b := range []byte(req.Input) {
		s.typed(b)
	}
	return api.ShellWritten{WorkspaceID: "ws-1", ShellID: "sh-1", State: s.shell.State, WrittenBytes: len(req.Input)}, nil
}

func (s *session) typed(b byte) {
	switch {
	case b == '\r':
		line := string(s.line)
		s.line = nil
		s.put("\r\n")
		s.run(line)
	case b < ' ':
		s.put(fmt.Sprintf("^%c", b+'@'))
	default:
		s.line = append(s.line, b)
		s.put(string([]byte{b}))
	}
}

func (s *session) run(line string) {
	switch line {
	case "exit":
		s.shell.State, s.shell.ExitCode = api.ShellExited, new(7)
		s.put("bye")
		return
	case "die":
		s.onDie()
	case "vim":
		s.put("\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?2004lVIM")
		return
	}
	s.put("ran " + line + "\r\n$ ")
}

func (s *session) resize(_ context.Context, body []byte) (any, error) {
	req := decode[api.ResizeShellRequest](body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shell.Cols, s.shell.Rows = req.Cols, req.Rows
	s.put(fmt.Sprintf("<%dx%d>", req.Cols, req.Rows))
	return s.shell, nil
}

// user is somebody at a terminal in which pyro runs.
type user struct {
	t        *testing.T
	terminal *os.File
	cmd      *exec.Cmd
	before   *unix.Termios
	after    *unix.Termios
	gone     chan struct{} // closed when pyro has ended and after is set
	seen     string        // all that the terminal showed
	done     int           // how much of it was waited for
}

// sit starts pyro in a terminal of 100 columns and 40 rows.
func sit(t *testing.T, dirs paths.Dirs, args ...string) *user {
	t.Helper()
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Skipf("needs a pseudoterminal: %v", err)
	}
	t.Cleanup(func() { terminal.Close() })
	if err := pty.Setsize(tty, &pty.Winsize{Cols: 100, Rows: 40}); err != nil {
		t.Fatal(err)
	}
	u := &user{t: t, terminal: terminal, cmd: process(t, dirs, args...), gone: make(chan struct{})}
	u.before = u.termios()
	u.cmd.Stdin, u.cmd.Stdout, u.cmd.Stderr = tty, tty, tty
	u.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(u.gone)
		u.cmd.Wait()
		u.after = u.termios()
		tty.Close() // so that reading the terminal comes to an end
	}()
	return u
}

func (u *user) termios() *unix.Termios {
	u.t.Helper()
	state, err := unix.IoctlGetTermios(int(u.terminal.Fd()), unix.TCGETS)
	if err != nil {
		u.t.Error(err)
	}
	return state
}

// sees waits until the terminal shows text behind what was waited for before.
func (u *user) sees(text string) {
	u.t.Helper()
	buf := make([]byte, 4096)
	for {
		if i := strings.Index(u.seen[u.done:], text); i >= 0 {
			u.done += i + len(text)
			return
		}
		n, err := u.terminal.Read(buf)
		u.seen += string(buf[:n])
		if err != nil {
			u.t.Fatalf("%q was never shown: %v, shown is %q", text, err, u.seen)
		}
	}
}

func (u *user) types(text string) {
	u.t.Helper()
	if _, err := u.terminal.WriteString(text); err != nil {
		u.t.Fatal(err)
	}
}

// ends waits for the end of pyro, and checks its exit code and that the terminal
// is as it was.
func (u *user) ends(code int) {
	u.t.Helper()
	<-u.gone
	if got := u.cmd.ProcessState.ExitCode(); got != code {
		u.t.Errorf("ended with %v, want %d, shown is %q", u.cmd.ProcessState, code, u.seen)
	}
	if diff := cmp.Diff(u.before, u.after); diff != "" {
		u.t.Errorf("the terminal is not as it was: %s", diff)
	}
}

const attachedLine = "[workspace-shell-attach] workspace_id=ws-1 shell_id=sh-1 state=running detach_keys=ctrl-p,ctrl-q\r\n"

// attach starts `pyro workspace shell attach` with a session.
func attach(t *testing.T, s *session, flags ...string) (*user, paths.Dirs) {
	t.Helper()
	dirs := clienttest.Dirs(t)
	s.server().Start(t, dirs)
	return sit(t, dirs, append([]string{"workspace", "shell", "attach", "ws-1", "sh-1"}, flags...)...), dirs
}

func TestAttach(t *testing.T) {
	s := newSession()
	s.put("\x1b[6n\x1b]11;?\x07old output\r\n$ ")
	u, _ := attach(t, s)
	u.sees(attachedLine + "$ old output\r\n$ ") // what terminals answer is not repeated
	u.sees("<100x40>")
	if raw := u.termios(); raw.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 {
		t.Error("the terminal is not raw")
	}
	u.types("ls \u00e9\x03")
	u.sees("ls \u00e9^C")
	u.types("\r")
	u.sees("ran ls \u00e9\r\n$ ")
	if err := pty.Setsize(u.terminal, &pty.Winsize{Cols: 90, Rows: 20}); err != nil {
		t.Fatal(err)
	}
	u.sees("<90x20>")
	u.types("exit\r")
	u.sees("bye\r\n[workspace-shell-attach] workspace_id=ws-1 shell_id=sh-1 state=exited exit_code=7\r\n")
	u.ends(7)
}

// TestAttachToAnEndedShell shows what it wrote, and its exit code.
func TestAttachToAnEndedShell(t *testing.T) {
	s := newSession()
	s.run("exit")
	u, _ := attach(t, s)
	u.sees("state=exited detach_keys=ctrl-p,ctrl-q\r\n$ bye")
	u.sees("state=exited exit_code=7\r\n")
	u.ends(7)
}

func TestOpenAttached(t *testing.T) {
	s := newSession()
	s.put("\x1b[6n")
	dirs := clienttest.Dirs(t)
	s.server().Start(t, dirs)
	u := sit(t, dirs, "workspace", "shell", "open", "ws-1", "--attach", "--detach-keys=")
	u.sees("[workspace-shell-open] workspace_id=ws-1 shell_id=sh-1 state=running cwd=/workspace cols=100 rows=40 execution_mode=guest_gvisor\r\n" +
		"[workspace-shell-attach] workspace_id=ws-1 shell_id=sh-1 state=running\r\n$ \x1b[6n") // whoever asks now waits for the answer
	u.types("\x10\x11")
	u.sees("^P^Q")
	u.types("exit\r")
	u.ends(7)
	if strings.Contains(u.seen, "<") {
		t.Errorf("a terminal of the right size was resized: %q", u.seen)
	}
}

func TestAttachToNothing(t *testing.T) {
	dirs := clienttest.Dirs(t)
	newSession().server().Start(t, dirs)
	u := sit(t, dirs, "workspace", "shell", "attach", "ws-1", "sh-9")
	u.sees("pyro: workspace ws-1 has no shell sh-9\r\nhint: pyro workspace shell list ws-1\r\n")
	u.ends(125)
}

// TestDetach detaches two terminals, in a moment at which each is in the modes of
// a program.
func TestDetach(t *testing.T) {
	s := newSession()
	one, dirs := attach(t, s)
	one.sees("<100x40>")
	two := sit(t, dirs, "workspace", "shell", "attach", "ws-1", "sh-1", "--detach-keys", "ctrl-],x")
	two.sees("detach_keys='ctrl-],x'\r\n$ <100x40>")
	one.types("vim\r")
	one.sees("\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?2004lVIM")
	two.sees("VIM")
	two.types("\x10\x11") // the default keys are ordinary here
	one.sees("^P^Q")
	two.sees("^P^Q")
	one.types("a\x10b\x10\x10\x11lost") // the keys within what is typed
	const undone = "\x1b[?25h\x1b[?1049l\x1b[m\r\n"
	one.sees(undone + "[workspace-shell-attach] workspace_id=ws-1 shell_id=sh-1 state=running detached=true\r\n")
	one.ends(0)
	two.sees("a^Pb^P")
	two.types("\x1dx")
	two.sees(undone)
	two.ends(0)
	if strings.Contains(two.seen, "lost") {
		t.Errorf("what follows the keys was typed: %q", two.seen)
	}
}

// TestAttachShowsTheEnd attaches to a shell with a long history, of which the
// beginning is not kept.
func TestAttachShowsTheEnd(t *testing.T) {
	s := newSession()
	s.shell.Cols, s.shell.Rows = 100, 40
	line := "\xe9" + strings.Repeat("x", 98) + "\n"
	s.put(strings.Repeat(line, 2000))
	s.put("end")
	s.kept = 1000
	u, _ := attach(t, s)
	u.sees("end<100x39><100x40>") // so that what is there is drawn again
	history, _, _ := strings.Cut(strings.TrimPrefix(u.seen, attachedLine), "end")
	if n := len(history); n < 60<<10 || n > 64<<10 || history != strings.Repeat(line, n/len(line)) {
		t.Errorf("the history has %d bytes and begins with %q", n, history[:min(n, 120)])
	}
	u.types("\x10\x11")
	u.ends(0)
}

// TestAttachSaysWhatItMissed reads too slowly for what is kept.
func TestAttachSaysWhatItMissed(t *testing.T) {
	s := newSession()
	u, _ := attach(t, s)
	u.sees("<100x40>")
	s.mu.Lock()
	s.output = append(s.output, strings.Repeat("x", 50)...)
	s.kept = int64(len(s.output))
	s.put("new")
	s.mu.Unlock()
	u.sees("\r\n[workspace-shell-attach] dropped_bytes=50\r\nnew")
	u.types("\x10\x11")
	u.ends(0)
}

// TestAttachOutlivesTheBackgroundProcess replaces the process while a terminal
// is attached.
func TestAttachOutlivesTheBackgroundProcess(t *testing.T) {
	s := newSession()
	dirs := clienttest.Dirs(t)
	listener, err := clienttest.Listen(dirs)
	if err != nil {
		t.Fatal(err)
	}
	first, died := &http.Server{Handler: s.server()}, make(chan struct{})
	s.onDie = func() { first.Close(); close(died) } // cuts all connections off
	go first.Serve(listener)
	u := sit(t, dirs, "workspace", "shell", "attach", "ws-1", "sh-1")
	u.sees("<100x40>")
	u.types("die\r")
	<-died
	s.server().Start(t, dirs)
	u.sees("ran die\r\n$ ")
	u.types("go on\r")
	u.sees("ran go on\r\n$ ")
	u.types("exit\r")
	u.ends(7)
	if n := strings.Count(u.seen, "ran die"); n != 1 {
		t.Errorf("shown %d times: %q", n, u.seen)
	}
}

// TestAttachEndsWithItsTerminal ends pyro by signals and by hanging up.
func TestAttachEndsWithItsTerminal(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		u, _ := attach(t, newSession())
		u.sees("<100x40>")
		u.types("vim\r")
		u.sees("VIM")
		u.cmd.Process.Signal(signal)
		u.sees("\x1b[?25h\x1b[?1049l\x1b[m\r\npyro: ")
		u.ends(128 + int(signal))
	}
}

// TestAttachTypesTogether checks that what is typed while a call is under way
// goes together, so that a slow call does not make a long queue.
func TestAttachTypesTogether(t *testing.T) {
	s := newSession()
	u, _ := attach(t, s)
	u.sees("<100x40>")
	s.mu.Lock()
	u.types("a") // is held up by the session
	u.types(strings.Repeat("b", 3000))
	s.mu.Unlock()
	u.sees("bbb")
	u.types("\x10\x11")
	u.ends(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := string(s.line); got != "a"+strings.Repeat("b", 3000) || s.writes > 10 {
		t.Errorf("%d bytes were typed in %d calls", len(got), s.writes)
	}
}
