package hostprocess

import (
	"os/exec"
	"testing"
	"time"
)

func TestKill(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	p, err := Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	stranger := Process{PID: p.PID, Start: p.Start + 1}
	if err := stranger.Kill(time.Second); err != nil {
		t.Error(err)
	}
	if _, err := Identify(p.PID); err != nil {
		t.Fatalf("a process with the same pid but another start time was killed: %v", err)
	}
	if err := p.Kill(10 * time.Second); err != nil {
		t.Error(err)
	}
	if again, err := Identify(p.PID); err == nil && again == p {
		t.Error("the process lives on")
	}
	if err := p.Kill(time.Second); err != nil {
		t.Errorf("second kill: %v", err)
	}
}
