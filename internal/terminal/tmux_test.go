package terminal_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A tmux is a server of tmux, to compare with.
type tmux struct {
	t      *testing.T
	folder string // of its socket and configuration
}

const tmuxConfig = "set -g status off\nset -g scroll-on-clear off\nset -g default-shell /bin/sh\n"

// startTmux starts a server that ends with the test.
func startTmux(t *testing.T) tmux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skipf("needs tmux from tmux")
	}
	m := tmux{t: t, folder: t.TempDir()}
	if err := os.WriteFile(filepath.Join(m.folder, "tmux.conf"), []byte(tmuxConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	m.run("new-session", "-d", "exec sleep 3600") // the server lives as long as a session
	t.Cleanup(func() { m.command("kill-server").Run() })
	return m
}

func (m tmux) command(args ...string) *exec.Cmd {
	cmd := exec.Command("tmux", append([]string{"-u", "-f", filepath.Join(m.folder, "tmux.conf")}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMUX=", "TMUX_TMPDIR="+m.folder)
	return cmd
}

func (m tmux) run(args ...string) string {
	m.t.Helper()
	out, err := m.command(args...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %s: %v: %s", args[0], err, out)
	}
	return string(out)
}

// show plays a file in a pane and tells when tmux has drawn it: the answer to
// the question for the cursor's position, of 6 bytes at least, comes after that.
const show = `stty raw -echo; cat "%s"; printf '\033[6n'; dd bs=1 count=6 >/dev/null 2>&1; tmux wait-for -S shown; exec sleep 3600`

// shows is the text of a pane, with its scroll-back, after r was written to it.
func (m tmux) shows(r recording) string {
	m.t.Helper()
	file, err := filepath.Abs(r.name + ".raw")
	if err != nil {
		m.t.Fatal(err)
	}
	m.run("new-session", "-d", "-s", "show", "-x", fmt.Sprint(r.Cols), "-y", fmt.Sprint(r.Rows), fmt.Sprintf(show, file))
	defer m.run("kill-session", "-t", "show")
	m.run("wait-for", "shown")
	text := m.run("capture-pane", "-t", "show", "-p", "-J", "-S", "-")
	if strings.TrimSpace(m.run("display-message", "-t", "show", "-p", "#{alternate_on}")) == "1" {
		text = strings.TrimRight(m.run("capture-pane", "-t", "show", "-p", "-J", "-a"), " \n") + "\n" + text
	}
	return text
}
