package pyro_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"pyro/api"
)

// person is somebody at a terminal in which the program runs.
type person struct {
	*stateFolder
	name     string
	terminal *os.File
	cmd      *exec.Cmd
	ended    chan struct{} // closed when the program has ended

	mu    sync.Mutex
	shown string // and not waited for yet; guarded by mu
}

// sit starts the program in a terminal of this size.
func (s *stateFolder) sit(name string, cols, rows uint16, args ...string) *person {
	s.Helper()
	terminal, tty, err := pty.Open()
	if err != nil {
		s.Skipf("needs a pseudo terminal: %v", err)
	}
	defer tty.Close()
	p := &person{stateFolder: s, name: name, terminal: terminal, ended: make(chan struct{})}
	p.resize(cols, rows)
	p.cmd = exec.Command(filepath.Join(s.h.dir, "bin", "pyro"), args...)
	p.cmd.Env = s.env
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = tty, tty, tty
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.look()
	}()
	s.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		terminal.Close()
		<-read
	})
	return p
}

// look takes what the terminal shows.
func (p *person) look() {
	buf := make([]byte, 32<<10)
	for {
		n, err := p.terminal.Read(buf)
		if err != nil {
			return // the program has ended
		}
		p.mu.Lock()
		p.shown += string(buf[:n])
		p.mu.Unlock()
	}
}

func (p *person) resize(cols, rows uint16) {
	p.Helper()
	if err := pty.Setsize(p.terminal, &pty.Winsize{Cols: cols, Rows: rows}); err != nil {
		p.Fatal(err)
	}
}

func (p *person) types(text string) {
	p.Helper()
	if _, err := p.terminal.WriteString(text); err != nil {
		p.Fatal(err)
	}
}

// sees waits until the text is shown, behind what was waited for before.
func (p *person) sees(text string) {
	p.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		p.mu.Lock()
		shown := p.shown
		_, rest, found := strings.Cut(shown, text)
		if found {
			p.shown = rest
		}
		p.mu.Unlock()
		if found {
			return
		}
		if time.Now().After(end) {
			p.Fatalf("%s does not see %q within %s, but %q", p.name, text, patience, shown)
		}
	}
}

// leaves waits for the end of the program.
func (p *person) leaves(code int) {
	p.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.Fatalf("%s: the program does not end", p.name)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.Errorf("%s: the program ended with %v, want %d", p.name, p.cmd.ProcessState, code)
	}
}

// testPeople attaches several terminals to one shell, which outlives each of
// them and the background process.
func testPeople(t *testing.T, h *harness) {
	s := newStateFolder(t, h)
	t.Cleanup(s.deleteAll)
	id := s.create()
	var shell api.Shell
	s.decode(&shell, "workspace", "shell", "open", id)
	attach := []string{"workspace", "shell", "attach", id, shell.ShellID}

	one := s.sit("one", 100, 40, attach...)
	one.sees("# ")
	one.types("trap 'stty size' WINCH; stty size; echo \"he\"\"llo\"\r")
	one.sees("40 100\r\nhello\r\n")
	two := s.sit("two", 80, 24, attach...)
	two.sees("hello\r\n") // what was on the screen before
	one.sees("24 80\r\n") // the newest size counts
	one.types("echo \"from o\"\"ne\"\r")
	two.sees("from one\r\n")
	one.resize(90, 20)
	two.sees("20 90\r\n")
	// It is the command itself that says so, for then it has the terminal.
	one.types("sh -c 'echo \"go\"\"ing\"; exec sleep 1000'\r")
	two.sees("going\r\n")
	two.types("\x03")
	two.types("echo \"code $?\"\r")
	one.sees("code 130\r\n")

	s.killBackground()
	one.types("echo \"still \"\"here\"\r")
	one.sees("still here\r\n")
	two.sees("still here\r\n")

	// One's terminal is closed, as it were; two and the shell do not mind.
	if err := one.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	one.leaves(-1)
	two.types("echo \"without \"\"one\"\r")
	two.sees("without one\r\n")
	three := s.sit("three", 80, 24, attach...)
	for _, text := range []string{"hello\r\n", "from one\r\n", "still here\r\n", "without one\r\n"} {
		three.sees(text)
	}

	// A program has the whole screen when two leaves and three stays.
	two.types("printf '\\033[?1049h'; echo \"whole \"\"screen\"\r")
	two.sees("whole screen\r\n")
	two.types("\x10\x11")
	two.sees("\x1b[?1049l")
	two.sees("detached=true")
	two.leaves(0)
	three.sees("whole screen\r\n")
	three.types("printf '\\033[?1049l'; exit 7\r")
	three.sees("state=exited exit_code=7")
	three.leaves(7)
}
