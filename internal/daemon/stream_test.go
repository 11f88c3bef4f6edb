package daemon

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pyro/api"
)

func TestStream(t *testing.T) {
	c := inProcess(t)
	s := c.upgrade("run_in_vm", command("sh", "-c", "cat; echo err >&2; exit 3"))
	s.out.Write(api.FrameStdin, []byte("one "))
	s.out.Write(api.FrameStdin, []byte("two"))
	s.out.Write(api.FrameStdinEOF, nil)
	res, err := s.end()
	if err != nil || res.ExitCode != 3 || s.stdout.String() != "one two" || s.stderr.String() != "err\n" || res.Stdout != "" || res.StdoutBytes != 7 {
		t.Errorf("%+v, stdout %q, stderr %q, %v", res, s.stdout.String(), s.stderr.String(), err)
	}
	if want := []string{"create", "start", "execute"}; !slices.Equal(s.phases, want) {
		t.Errorf("phases %v", s.phases)
	}
	if _, _, err := s.in.Next(); err != io.EOF {
		t.Errorf("after the last frame: %v", err)
	}
}

func TestStreamOfStartedVM(t *testing.T) {
	c := inProcess(t)
	vm := must(c, api.CreateVM, resources(nil))
	must(c, api.StartVM, fields{"vm_id": vm.VMID})
	s := c.upgrade("exec_vm", fields{"vm_id": vm.VMID, "command": []string{"no-such-command"}})
	res, err := s.end()
	if err != nil || res.ExitCode != 127 || res.Limit == nil || res.Limit.Kind != api.KindExec {
		t.Errorf("%+v, %v", res, err)
	}
	c.assertNoVMs()
}

func TestStreamErrors(t *testing.T) {
	c := inProcess(t)
	s := c.upgrade("run_in_vm", fields{"environment": "nosuch", "allow_host_compat": true, "command": []string{"true"}})
	if _, err := s.end(); api.KindOf(err) != api.KindNotFound {
		t.Errorf("got %v", err)
	}
	// What is wrong with the request itself is said before the upgrade.
	conn, err := c.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST /v1/run_in_vm HTTP/1.1\r\nHost: pyro\r\nConnection: Upgrade\r\nUpgrade: pyro-exec/1\r\nContent-Length: 2\r\n\r\n{}")
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "400") {
		t.Errorf("%q, %v", line, err)
	}
}

func TestStreamBigBothWays(t *testing.T) {
	c := inProcess(t)
	s := c.upgrade("run_in_vm", command("cat"))
	const size = 20 << 20
	sent := sha256.New()
	go func() {
		io.Copy(io.MultiWriter(sent, s), io.LimitReader(rand.NewChaCha8([32]byte{}), size))
		s.out.Write(api.FrameStdinEOF, nil)
	}()
	res, err := s.end()
	got := sha256.Sum256(s.stdout.Bytes())
	if err != nil || res.StdoutBytes != size || !bytes.Equal(got[:], sent.Sum(nil)) {
		t.Errorf("%d bytes came back, %v", s.stdout.Len(), err)
	}
}

func TestStreamSignals(t *testing.T) {
	c := inProcess(t)
	s := c.upgrade("run_in_vm", command("sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done"))
	s.until("ready")
	s.out.WriteJSON(api.FrameSignal, api.SignalEvent{Signal: "USR1"})
	if res, err := s.end(); err != nil || res.ExitCode != 9 {
		t.Errorf("%+v, %v", res, err)
	}
}

// A signal does not wait behind stdin that the command does not take.
func TestStreamSignalPassesStdin(t *testing.T) {
	c := inProcess(t)
	s := c.upgrade("run_in_vm", command("sh", "-c", "trap 'exit 9' INT; echo ready; while :; do sleep 0.05; done"))
	s.until("ready")
	s.out.Write(api.FrameStdin, make([]byte, api.StdinWindow))
	s.out.WriteJSON(api.FrameSignal, api.SignalEvent{Signal: "INT"})
	if res, err := s.end(); err != nil || res.ExitCode != 9 {
		t.Errorf("%+v, %v", res, err)
	}
}

// A caller that goes away takes its command with it, also with stdin that the
// command does not take.
func TestCallerGoesAway(t *testing.T) {
	for name, before := range map[string]func(s *conversation){
		"quiet":                        func(*conversation) {},
		"with stdin that nobody reads": func(s *conversation) { s.out.Write(api.FrameStdin, make([]byte, api.StdinWindow)) },
		"half":                         func(s *conversation) { s.conn.(*net.UnixConn).CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			c := inProcess(t)
			pidFile := filepath.Join(t.TempDir(), "pid")
			s := c.upgrade("run_in_vm", command("sh", "-c", "echo $$ >"+pidFile+"; echo ready; exec sleep 1000"))
			s.until("ready")
			before(s)
			if name != "half" {
				s.conn.Close()
			}
			c.assertNoVMs()
			pid := strings.TrimSpace(readFile(t, pidFile))
			eventually(t, "the command is gone", func() bool {
				b, err := os.ReadFile("/proc/" + pid + "/cmdline")
				return err != nil || !bytes.Contains(b, []byte("sleep"))
			})
		})
	}
}

// Frames that a caller must not send end its call.
func TestStreamViolations(t *testing.T) {
	for name, send := range map[string]func(s *conversation){
		"wrong type":     func(s *conversation) { s.out.Write(api.FrameResult, nil) },
		"unknown signal": func(s *conversation) { s.out.WriteJSON(api.FrameSignal, api.SignalEvent{Signal: "BOOM"}) },
		"signal not JSON": func(s *conversation) {
			s.out.Write(api.FrameSignal, []byte("{"))
		},
		"stdin after its end": func(s *conversation) {
			s.out.Write(api.FrameStdinEOF, nil)
			s.out.Write(api.FrameStdin, []byte("x"))
		},
		"more stdin than the window": func(s *conversation) { // and than what is in pipes on the way
			for range 4 {
				s.out.Write(api.FrameStdin, make([]byte, api.StdinWindow))
			}
		},
		"too long": func(s *conversation) { s.conn.Write([]byte{api.FrameStdin, 0xff, 0xff, 0xff, 0xff}) },
	} {
		t.Run(name, func(t *testing.T) {
			c := inProcess(t)
			s := c.upgrade("run_in_vm", command("sh", "-c", "echo ready; sleep 1000"))
			s.until("ready")
			send(s)
			if _, err := s.end(); api.KindOf(err) != api.KindUsage && api.KindOf(err) != api.KindCanceled {
				t.Errorf("got %v", err)
			}
			c.assertNoVMs()
		})
	}
}

// A state folder may be deeper than the address of a socket is long.
func TestLongPath(t *testing.T) {
	state := filepath.Join(t.TempDir(), strings.Repeat("deep/", 40))
	spawn(t, state)
	c := &caller{t, state}
	must(c, api.ListVMs, nil)
	info, err := os.Stat(filepath.Join(state, "daemon.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// Another user is not let in, even if the file's mode would allow it.
func TestOtherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	state, err := os.MkdirTemp("", "pyro-other-user")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(state) })
	spawn(t, state)
	socket := filepath.Join(state, "daemon.sock")
	for path, mode := range map[string]os.FileMode{state: 0o755, socket: 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(state, "test") // where everyone may run it
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, []byte(readFile(t, self)), 0o755); err != nil {
		t.Fatal(err)
	}
	dial := func(uid uint32) string {
		cmd := exec.CommandContext(t.Context(), program)
		cmd.Env = append(os.Environ(), roleDial+"="+state)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := dial(0); got != "answered" {
		t.Errorf("the owner gets %q", got)
	}
	if got := dial(65534); got != "" {
		t.Errorf("another user gets %q", got)
	}
}
