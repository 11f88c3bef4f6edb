package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"pyro/internal/network/policy"
	"pyro/internal/network/refusals"
)

// Name is the name under which the program is started to be an uplink.
const Name = "pyro-uplink"

// Command is how to start an uplink.
type Command struct {
	// Executable is this program. Required.
	Executable string
	// Machine is the machine's folder, which shows in the command line. Required.
	Machine string
	// Nobody has the uplink run as nobody; the caller must be root.
	Nobody bool
	// Link is the gateway's end of the link. Required; the caller keeps it.
	Link *os.File
	// Sandbox is a pidfd of the process with whose end the uplink ends. Required;
	// the caller keeps it.
	Sandbox *os.File
	// Log gets what is refused. Optional; the caller keeps it.
	Log *refusals.Files
	// Policy is what the guest may reach. Required.
	Policy *policy.Policy
	// Checksums says that the guest checks what it receives. Optional.
	Checksums bool
	// Hostname is the guest's own name, which nobody else is asked for. Optional.
	Hostname string
}

// nobody is the user and group that own nothing.
const nobody = 65534

// Descriptors of an uplink beside its standard streams. It reads its config from
// stdin and writes what keeps it from serving, or nothing, to stdout.
const (
	linkFD    = 3
	sandboxFD = 4
	logFD     = 5 // and the next one
)

// config is what an uplink reads from its stdin.
type config struct {
	Policy    *policy.Policy `json:"policy"`
	Hostname  string         `json:"hostname"`
	HasLog    bool           `json:"has_log"`
	Checksums bool           `json:"checksums"`
}

// Starting is an uplink that may not serve yet.
type Starting struct {
	PID   int
	ready *os.File
}

// Start starts an uplink, which is a child of this process.
func (c Command) Start() (*Starting, error) {
	settings, err := json.Marshal(config{Policy: c.Policy, Hostname: c.Hostname, HasLog: c.Log != nil, Checksums: c.Checksums})
	if err != nil {
		return nil, fmt.Errorf("uplink: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("uplink: %w", err)
	}
	defer read.Close()
	ready, tell, err := os.Pipe()
	if err != nil {
		write.Close()
		return nil, fmt.Errorf("uplink: %w", err)
	}
	defer tell.Close()
	cmd := &exec.Cmd{
		Path: c.Executable, Args: []string{Name, "--machine=" + c.Machine}, Env: []string{}, Dir: "/",
		Stdin: read, Stdout: tell, ExtraFiles: []*os.File{c.Link, c.Sandbox},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if c.Log != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, c.Log[:]...)
	}
	if c.Nobody {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	if err := cmd.Start(); err != nil {
		write.Close()
		ready.Close()
		return nil, fmt.Errorf("uplink: %w", err)
	}
	go func() { // a policy may be larger than a pipe
		_, _ = write.Write(settings)
		write.Close()
	}()
	s := &Starting{PID: cmd.Process.Pid, ready: ready}
	_ = cmd.Process.Release() // who waits for it knows it by its pid
	return s, nil
}

// maxProblem bounds what an uplink says that cannot serve.
const maxProblem = 4 << 10

// Wait returns when the uplink serves, or says why it does not.
func (s *Starting) Wait(ctx context.Context) error {
	defer s.ready.Close()
	stop := context.AfterFunc(ctx, func() { _ = s.ready.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	said, err := io.ReadAll(io.LimitReader(s.ready, maxProblem))
	switch text := string(said); {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("uplink: %w", err)
	case text == serving:
		return nil
	case text != "":
		return fmt.Errorf("uplink: %s", strings.TrimSpace(text))
	}
	return errors.New("uplink: it ended before it served")
}

// serving is what an uplink says that serves.
const serving = "serving\n"
