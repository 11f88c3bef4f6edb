package runtimetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pyro/internal/runtime"
)

var isolationTests = map[string]func(*testing.T, *world){
	"HostFiles":     isolated(testHostFiles),
	"HostProcesses": isolated(testHostProcesses),
	"Network":       isolated(testNetwork),
	"Hostname":      isolated(testHostname),
	"OtherMachines": isolated(testOtherMachines),
}

// isolated skips a test for drivers that do not claim isolation.
func isolated(test func(*testing.T, *world)) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		if !w.driver.Features().Isolated {
			t.Skipf("%s does not claim isolation", w.driver.Name())
		}
		test(t, w)
	}
}

func testHostFiles(t *testing.T, w *world) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("host secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	m := w.machine(t)
	for _, path := range []string{secret, "/proc/1/root" + secret, "/proc/self/root" + secret, "/proc/self/cwd/../../.." + secret} {
		if got := run(t, m, runtime.Command{Argv: []string{"cat", path}}); got.Code == 0 || strings.Contains(got.stdout, "secret") {
			t.Errorf("%s is visible: %+v", path, got)
		}
	}
	if got := sh(t, m, "for f in /proc/self/fd/*; do readlink $f; done").stdout; strings.Contains(got, w.dir) {
		t.Errorf("descriptors of the host are open: %q", got)
	}
}

func testHostProcesses(t *testing.T, w *world) {
	seconds := unique()
	p := exec.CommandContext(t.Context(), "sleep", seconds)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	defer p.Wait()
	defer p.Process.Kill()
	m := w.machine(t)
	if sleeping(t, m, seconds) {
		t.Error("a process of the host is visible")
	}
	if out := sh(t, m, "sleep "+seconds+" & sleep 0.1; for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f; echo; done").stdout; !strings.Contains(out, seconds) {
		t.Errorf("/proc does not even show the machine's own processes: %q", out)
	}
}

func testNetwork(t *testing.T, w *world) {
	m := w.machine(t)
	for line := range strings.Lines(sh(t, m, "cat /proc/net/dev").stdout) {
		name, _, found := strings.Cut(strings.TrimSpace(line), ":")
		if found && name != "lo" {
			t.Errorf("there is a network interface %q", name)
		}
	}
	script := `use Socket; socket(my $s, PF_INET, SOCK_STREAM, 0); print connect($s, sockaddr_in(80, inet_aton("192.0.2.1"))) ? "open" : "closed: $!";`
	if got := run(t, m, runtime.Command{Argv: []string{"perl", "-e", script}}); !strings.HasPrefix(got.stdout, "closed") {
		t.Errorf("the outside is reachable: %+v", got)
	}
	script = `use Socket; socket(my $l, PF_INET, SOCK_STREAM, 0); bind($l, sockaddr_in(0, INADDR_LOOPBACK)); listen($l, 1);
		socket(my $s, PF_INET, SOCK_STREAM, 0); print connect($s, getsockname($l)) ? "open" : "closed: $!";`
	if got := run(t, m, runtime.Command{Argv: []string{"perl", "-e", script}}); got.stdout != "open" {
		t.Errorf("the loopback does not work: %+v", got)
	}
}

func testHostname(t *testing.T, w *world) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(sh(t, w.machine(t), "uname -n").stdout); got == host || got == "" {
		t.Errorf("the machine is called %q, the host %q", got, host)
	}
}

func testOtherMachines(t *testing.T, w *world) {
	first, second := w.machine(t), w.machine(t)
	if got := sh(t, first, "echo x >/etc/only-here && rm /etc/debian_version && touch /tmp/t /dev/shm/s"); got.Code != 0 {
		t.Fatalf("the root file system is not writable: %+v", got)
	}
	if got := sh(t, second, "test -e /etc/debian_version && ! test -e /etc/only-here && ! test -e /tmp/t && ! test -e /dev/shm/s"); got.Code != 0 {
		t.Errorf("changes of one machine show in another: %+v", got)
	}
}
