package hostprocess

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
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

// sleeper is a process of the test's own, with a mark in its environment.
func sleeper(t *testing.T, mark string) (*exec.Cmd, Process) {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.Env = []string{"MARK=" + mark}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	p, err := Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return cmd, p
}

func TestWatch(t *testing.T) {
	cmd, p := sleeper(t, "")
	w, err := p.Watch()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	go func() { _ = cmd.Process.Kill() }()
	if !w.Ended() {
		t.Error("the watch ended before the process")
	}
	p.Collect()
	if w, err := p.Watch(); err == nil {
		w.Close()
		t.Error("a process that has ended can be watched")
	}
}

func TestWatchStops(t *testing.T) {
	_, p := sleeper(t, "")
	w, err := p.Watch()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	go w.Stop()
	if w.Ended() {
		t.Error("a process that runs has ended")
	}
	if !p.Lives() {
		t.Error("who stops watching a process ends it")
	}
}

func TestFind(t *testing.T) {
	mark := t.TempDir()
	_, p := sleeper(t, mark)
	sleeper(t, mark+"2")
	found := Find("environ", func(environ []byte) bool { return bytes.Contains(environ, []byte("MARK="+mark+"\x00")) })
	if len(found) != 1 || found[0] != p {
		t.Errorf("found %v, want %v", found, p)
	}
}

// ofNobody has the mark that TestFindOthers looks for as nobody.
const ofNobody = "PYRO_TEST_OF_NOBODY"

// TestFindOthers: a process of another user that passes itself off as one that is
// looked for keeps nobody from ending those.
func TestFindOthers(t *testing.T) {
	if mark := os.Getenv(ofNobody); mark != "" {
		if found := Find("cmdline", func(cmdline []byte) bool { return bytes.HasPrefix(cmdline, []byte(mark)) }); len(found) > 0 {
			t.Errorf("found %v", found)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to have processes of two users")
	}
	mark := "mark-of-" + t.Name()
	other := exec.Command("sleep", "1000")
	other.Args[0] = mark
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	self := exec.Command("/proc/self/exe", "-test.run=^TestFindOthers$")
	self.Env, self.Dir = []string{ofNobody + "=" + mark}, "/"
	const nobody = 65534
	self.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := self.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
