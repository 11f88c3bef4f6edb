package runtimetest

import (
	"bytes"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pyro/internal/runtime"
)

var processTests = map[string]func(*testing.T, *world){
	"SignalCaught":     testSignalCaught,
	"SignalDefault":    testSignalDefault,
	"SignalGroup":      testSignalGroup,
	"SignalAfterEnd":   testSignalAfterEnd,
	"KillTree":         testKillTree,
	"OtherCommandsRun": testOtherCommandsRun,
}

// lines is a writer that lets a test wait for text.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) waitFor(t *testing.T, text string) {
	t.Helper()
	eventually(t, "the command prints "+text, func() bool { return strings.Contains(l.String(), text) })
}

func testSignalCaught(t *testing.T, w *world) {
	m := w.machine(t)
	for name, sig := range map[string]syscall.Signal{
		"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
	} {
		var out lines
		p := start(t, m, runtime.Command{Stdout: &out, Argv: []string{"sh", "-c", "trap 'echo got; exit 42' " + name + "; echo ready; while :; do sleep 0.05; done"}})
		out.waitFor(t, "ready")
		if err := p.Signal(sig); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if exit, err := p.Wait(); err != nil || exit.Code != 42 || out.String() != "ready\ngot\n" {
			t.Errorf("%s: %+v, %v, output %q", name, exit, err, out.String())
		}
	}
}

func testSignalDefault(t *testing.T, w *world) {
	m := w.machine(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		p := start(t, m, runtime.Command{Argv: []string{"sleep", "100000"}})
		if err := p.Signal(sig); err != nil {
			t.Errorf("%s: %v", sig, err)
		}
		if exit, err := p.Wait(); err != nil || exit.Signal != int(sig) || exit.Code != 128+int(sig) {
			t.Errorf("%s: %+v, %v", sig, exit, err)
		}
	}
}

// testSignalGroup: a signal reaches the children of the command too.
func testSignalGroup(t *testing.T, w *world) {
	m := w.machine(t)
	seconds := unique()
	var out lines
	p := start(t, m, runtime.Command{Stdout: &out, Argv: []string{"sh", "-c", "sleep " + seconds + " & echo ready; wait"}})
	out.waitFor(t, "ready")
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if exit, err := p.Wait(); err != nil || exit.Signal != int(syscall.SIGTERM) {
		t.Errorf("%+v, %v", exit, err)
	}
	eventually(t, "the child is gone", func() bool { return !sleeping(t, m, seconds) })
}

func testSignalAfterEnd(t *testing.T, w *world) {
	m := w.machine(t)
	p := start(t, m, runtime.Command{Argv: []string{"true"}})
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("signal after the end: %v", err)
	}
	if err := p.Kill(); err != nil {
		t.Errorf("kill after the end: %v", err)
	}
}

// testKillTree kills a command with children, one in a process group of its own
// and one that ignores signals.
func testKillTree(t *testing.T, w *world) {
	m := w.machine(t)
	sleepers := []string{unique(), unique(), unique()}
	var out lines
	p := start(t, m, runtime.Command{Stdout: &out, Argv: []string{
		"sh", "-c",
		"sleep " + sleepers[0] + " & (trap '' INT TERM HUP; exec sleep " + sleepers[1] + ") & " +
			"perl -e 'setpgrp(0,0); exec qw(sleep " + sleepers[2] + ")' & echo ready; wait",
	}})
	out.waitFor(t, "ready")
	for _, s := range sleepers {
		eventually(t, "the children run", func() bool { return sleeping(t, m, s) })
	}
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	if exit, err := p.Wait(); err == nil && exit.Code == 0 {
		t.Errorf("a killed command ended well: %+v", exit)
	}
	for _, s := range sleepers {
		eventually(t, "the children are gone", func() bool { return !sleeping(t, m, s) })
	}
}

// testOtherCommandsRun: killing one command leaves the others alone.
func testOtherCommandsRun(t *testing.T, w *world) {
	m := w.machine(t)
	seconds := unique()
	other := start(t, m, runtime.Command{Argv: []string{"sleep", seconds}})
	p := start(t, m, runtime.Command{Argv: []string{"sleep", "100000"}})
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	p.Wait()
	if !sleeping(t, m, seconds) {
		t.Error("the other command is gone")
	}
	if err := other.Kill(); err != nil {
		t.Error(err)
	}
	other.Wait()
}
