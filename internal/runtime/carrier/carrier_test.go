package carrier

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"pyro/internal/runtime"
	"pyro/internal/runtime/hostprocess"
)

// stuck is a machine whose card cannot be given another link: it does not answer.
type stuck struct {
	asked chan struct{} // closed when it is asked
	end   chan error    // gets why the asking ended
}

func (s stuck) RecordUplink(hostprocess.Process) error { return nil }

func (s stuck) Replug(ctx context.Context, _ *os.File) error {
	close(s.asked)
	<-ctx.Done()
	s.end <- ctx.Err()
	return ctx.Err()
}

// TestCloseStuck: a machine that does not answer keeps nobody from letting go of
// its network, as its removal does first. What was started for it goes.
func TestCloseStuck(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program") // an uplink that says nothing
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := hostprocess.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	c := Adopt(Options{
		Spec: runtime.Spec{ID: "vm-1", Network: &runtime.Network{}}, Dir: t.TempDir(), Executable: program, Logger: slog.New(slog.DiscardHandler),
	}, self, hostprocess.Process{})
	m := stuck{make(chan struct{}), make(chan error, 1)}
	c.Keep(nil, m)
	<-m.asked
	c.Close()
	if err := <-m.end; !errors.Is(err, context.Canceled) {
		t.Errorf("it was waited for: %v", err)
	}
	if p := c.process(); p.PID == 0 || p.Lives() {
		t.Errorf("process %d is left", p.PID)
	}
}

func TestIsUplink(t *testing.T) {
	for cmdline, want := range map[string]bool{
		"pyro-uplink\x00--machine=/m/vm-1\x00":       true,
		"pyro-uplink\x00--machine=/m/vm-12\x00":      false, // another's
		"pyro-uplink\x00--machine=/other/m/vm-1\x00": false,
		"pyro-uplink2\x00--machine=/m/vm-1\x00":      false,
		"cat\x00--machine=/m/vm-1\x00":               false,
		"":                                           false,
	} {
		if got := isUplink([]byte(cmdline), "/m/vm-1"); got != want {
			t.Errorf("%q: %v", cmdline, got)
		}
	}
}
