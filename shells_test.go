package pyro_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"pyro/api"
)

// TestShells uses shells and services as scripts cannot: many of them, and by
// people at terminals.
func TestShells(t *testing.T) {
	h := newHarness(t)
	if err := h.install(smallEnvironment); err != nil {
		t.Fatal(err)
	}
	t.Run("many", func(t *testing.T) { testManyProcesses(t, h) })
	t.Run("people", func(t *testing.T) { testPeople(t, h) })
}

// How many there are at a time in one workspace.
const (
	manyServices = 50
	manyShells   = 20
)

// counting writes numbered lines for ever, so that a gap shows.
const counting = `n=0; while :; do n=$((n+1)); echo "line $n."; sleep 1; done`

// many is a workspace in which many processes count.
type many struct {
	*stateFolder
	id       string
	shells   []string
	services []string
	seen     map[string]int // the last line that was read of each
}

// testManyProcesses kills the background process while they write: each goes
// on, and everything that it has written can be read.
func testManyProcesses(t *testing.T, h *harness) {
	m := &many{stateFolder: newStateFolder(t, h), seen: map[string]int{}}
	t.Cleanup(m.deleteAll)
	m.id = m.create()
	for i := range manyServices {
		name := fmt.Sprintf("s%02d", i)
		m.ok("workspace", "service", "start", m.id, name, "--ready-file", "/tmp/"+name, "--ready-interval-ms", "50", "--", "sh", "-c", "touch /tmp/"+name+"; "+counting)
		m.services = append(m.services, name)
		if i%5 < 2 {
			var shell api.Shell
			m.decode(&shell, "workspace", "shell", "open", m.id)
			m.ok("workspace", "shell", "write", m.id, shell.ShellID, "--input", counting)
			m.shells = append(m.shells, shell.ShellID)
		}
	}
	before := m.started()
	m.readAll()
	for range 2 {
		m.killBackground()
		m.readAll()
	}
	if after := m.started(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("started at\n%v\nand afterwards at\n%v", before, after)
	}
	for _, id := range m.shells { // they take input as before
		m.interrupt(id)
		m.listens(id)
	}
	m.ok("workspace", "reset", m.id)
	if left := m.started(); len(left) > 0 {
		t.Errorf("after a reset there are %v", left)
	}
}

// interrupt types Ctrl-C until the shell waits for a command. Once is not always
// enough: what ends a command of a loop in the moment in which it has ended by
// itself does not end the loop.
func (m *many) interrupt(shell string) {
	m.Helper()
	m.until("the prompt of shell "+shell, func() bool {
		if strings.HasSuffix(m.output(shell), "# ") {
			return true
		}
		m.ok("workspace", "shell", "write", m.id, shell, "--no-newline", "--input", "\x03")
		return false
	})
}

// listens types a line at the prompt and waits for its output. A line that comes
// while the shell still minds an interrupt is thrown away with what was typed
// before, and the prompt stays as it was.
func (m *many) listens(shell string) {
	m.Helper()
	var output string
	defer func() {
		if m.Failed() {
			m.Logf("shell %s ends with %q", shell, output[max(0, len(output)-500):])
		}
	}()
	m.until("the answer of shell "+shell, func() bool {
		output = m.output(shell)
		if strings.Contains(output, "listens\r\n") {
			return true
		}
		if strings.HasSuffix(output, "# ") {
			m.ok("workspace", "shell", "write", m.id, shell, "--input", `echo "li""stens"`)
		}
		return false
	})
}

// started says when each was started; all must run.
func (m *many) started() map[string]time.Time {
	m.Helper()
	var services api.ServiceList
	var shells api.ShellList
	m.decode(&services, "workspace", "service", "list", m.id)
	m.decode(&shells, "workspace", "shell", "list", m.id)
	all := map[string]time.Time{}
	for _, s := range services.Services {
		if s.State != api.ServiceRunning || s.Restarts != 0 || s.ReadyAt.IsZero() {
			m.Errorf("service %s: %+v", s.ServiceName, s)
		}
		all[s.ServiceName] = s.StartedAt
	}
	for _, s := range shells.Shells {
		if s.State != api.ShellRunning {
			m.Errorf("shell %s: %+v", s.ShellID, s)
		}
		all[s.ShellID] = s.StartedAt
	}
	return all
}

// readAll reads all from its beginning, until there is more than was last time.
func (m *many) readAll() {
	m.Helper()
	for _, name := range m.services {
		m.until("service "+name, func() bool {
			var log api.ServiceLog
			m.decode(&log, "workspace", "service", "logs", m.id, name)
			return m.goesOn(name, log.Stdout)
		})
	}
	for _, id := range m.shells {
		m.until("a new line of shell "+id, func() bool { return m.goesOn(id, m.output(id)) })
	}
}

func (m *many) output(shell string) string {
	m.Helper()
	var out api.ShellOutput
	m.decode(&out, "workspace", "shell", "read", m.id, shell)
	if out.DroppedBytes > 0 || out.Cursor != 0 {
		m.Fatalf("shell %s has dropped %d bytes", shell, out.DroppedBytes)
	}
	return out.Output
}

// goesOn wants the lines without a gap, and says whether there are new ones.
func (m *many) goesOn(name, text string) bool {
	m.Helper()
	n := 0
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(line, "\x1b[?2004l\r") // bash hands the terminal to its command
		if !strings.HasPrefix(line, "line ") {
			continue // what the shell's user typed
		}
		if n++; strings.TrimRight(line, "\r\n") != fmt.Sprintf("line %d.", n) {
			m.Fatalf("%s: line %d is %q", name, n, line)
		}
	}
	if n < m.seen[name] {
		m.Fatalf("%s has %d lines, and had %d", name, n, m.seen[name])
	}
	more := n > m.seen[name]
	m.seen[name] = n
	return more
}

// until waits for something to become true.
func (s *stateFolder) until(what string, ready func() bool) {
	s.Helper()
	for end := time.Now().Add(patience); !ready(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// killBackground kills the background process and waits until it is gone.
func (s *stateFolder) killBackground() {
	s.Helper()
	for _, p := range processes(s.dir) {
		if p.args != "pyro daemon run" {
			continue
		}
		if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
			s.Fatal(err)
		}
		s.until(p.String(), func() bool { return !alive(p.pid) })
		return
	}
	s.Fatal("there is no background process")
}
