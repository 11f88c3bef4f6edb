package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"pyro/api"
	"pyro/client/clienttest"
	"pyro/internal/paths"
)

// process prepares pyro as a process of its own.
func process(t *testing.T, dirs paths.Dirs, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), clienttest.Env(dirs)...), "CLI_TEST_PYRO=1")
	return cmd
}

// endless serves a command that writes until nobody takes it, and tells when
// that is.
func endless(t *testing.T) (paths.Dirs, <-chan struct{}) {
	dirs, gone := clienttest.Dirs(t), make(chan struct{})
	(&clienttest.Server{Exec: map[string]func(context.Context, []byte, clienttest.Stream){"run_in_vm": func(_ context.Context, _ []byte, s clienttest.Stream) {
		defer close(gone)
		for s.Write(api.FrameStdout, bytes.Repeat([]byte("y\n"), 1000)) == nil {
		}
	}}}).Start(t, dirs)
	return dirs, gone
}

// TestHead plays `pyro run ... | head -n 1`.
func TestHead(t *testing.T) {
	dirs, gone := endless(t)
	cmd := process(t, dirs, "run", "debian:12", "yes")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "y\n" {
		t.Errorf("got %q, %v", line, err)
	}
	stdout.Close()
	<-gone
	cmd.Wait()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signal() != syscall.SIGPIPE && status.ExitStatus() != 141 || stderr.Len() > 0 {
		t.Errorf("ended with %v, stderr %q", cmd.ProcessState, stderr.String())
	}
}

// TestKilled checks that the command ends with its caller.
func TestKilled(t *testing.T) {
	dirs, gone := endless(t)
	cmd := process(t, dirs, "run", "debian:12", "yes")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	io.ReadFull(stdout, make([]byte, 10))
	cmd.Process.Kill()
	<-gone
	cmd.Wait()
}

// TestRealSignal sends a signal to a process whose command then ends.
func TestRealSignal(t *testing.T) {
	cmd := process(t, scene(t), "run", "debian:12", "trap")
	stdin, err := cmd.StdinPipe() // stays open: only the signal ends the command
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "[run] phase=execute") {
			cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	exit, ok := errors.AsType[*exec.ExitError](cmd.Wait())
	if !ok || exit.ExitCode() != 143 {
		t.Errorf("got %v", exit)
	}
}
