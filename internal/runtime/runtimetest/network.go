package runtimetest

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pyro/internal/network/link"
	"pyro/internal/network/policy"
	"pyro/internal/network/refusals"
	"pyro/internal/network/uplink"
	"pyro/internal/runtime"
)

var networkTests = map[string]func(*testing.T, *world){
	"Reach":      networked(testReach),
	"Replaced":   networked(testReplaced),
	"Adopted":    networked(testAdoptedNetwork),
	"LeavesNone": networked(testNetworkLeavesNone),
	"Probe":      networked(testProbeNetwork),
}

// networked skips a test for drivers that do not claim network.
func networked(test func(*testing.T, *world)) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		if !w.driver.Features().Network {
			t.Skipf("%s does not claim network", w.driver.Name())
		}
		test(t, w)
	}
}

// greeter is a server of the host's loopback that greets each connection.
func greeter(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(conn, "welcome")
			conn.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// networkSpec opens one port of the host's loopback.
func (w *world) networkSpec(t *testing.T, port uint16) runtime.Spec {
	t.Helper()
	p, err := policy.Parse(fmt.Appendf(nil, `{"version":1,"rules":[{"address":"127.0.0.1","ports":[%d],"private":true}]}`, port))
	if err != nil {
		t.Fatal(err)
	}
	s := w.spec()
	s.Network = &runtime.Network{Policy: p, Refusals: t.TempDir()}
	return s
}

// visit connects from the guest and returns what the server says, or why not. A
// connection that was begun on a card that has been replaced since gets no answer.
func visit(t *testing.T, m runtime.Machine, to netip.AddrPort) string {
	t.Helper()
	script := fmt.Sprintf(`use Socket; $SIG{ALRM} = sub { print "closed: no answer"; exit }; alarm 10; socket(my $s, PF_INET, SOCK_STREAM, 0);
		connect($s, sockaddr_in(%d, inet_aton("%s"))) or do { print "closed: $!"; exit }; print <$s>;`, to.Port(), to.Addr())
	return strings.TrimSpace(run(t, m, runtime.Command{Argv: []string{"perl", "-e", script}}).stdout)
}

func host(port uint16) netip.AddrPort { return netip.AddrPortFrom(link.Gateway4.Addr(), port) }

func testReach(t *testing.T, w *world) {
	port, other := greeter(t), greeter(t)
	spec := w.networkSpec(t, port)
	m := w.create(t, spec)
	if got := visit(t, m, host(port)); got != "welcome" {
		t.Errorf("what is open says %q", got)
	}
	for _, to := range []netip.AddrPort{host(other), netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("169.254.169.254:80")} {
		if got := visit(t, m, to); !strings.HasPrefix(got, "closed") {
			t.Errorf("%s says %q", to, got)
		}
	}
	script := `use Socket; socket(my $l, PF_INET, SOCK_STREAM, 0); bind($l, sockaddr_in(0, INADDR_LOOPBACK)); listen($l, 1);
		socket(my $s, PF_INET, SOCK_STREAM, 0); print connect($s, getsockname($l)) ? "open" : "closed: $!";`
	if got := run(t, m, runtime.Command{Argv: []string{"perl", "-e", script}}); got.stdout != "open" {
		t.Errorf("the guest's own loopback does not work: %+v", got)
	}
	if got := sh(t, m, "cat /etc/resolv.conf").stdout; got != link.ResolvConf {
		t.Errorf("resolv.conf is %q", got)
	}
	eventually(t, "the refusals are logged", func() bool {
		events, err := refusals.Read(spec.Network.Refusals)
		if err != nil {
			t.Fatal(err)
		}
		return len(events) == 3
	})
}

// uplinks are the processes that carry a machine's network.
func uplinks(t *testing.T, id string) []int {
	t.Helper()
	var pids []int
	for pid, cmdline := range processesOf(t, id) {
		if strings.HasPrefix(cmdline, uplink.Name) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// testReplaced kills what carries the network, again and again.
func testReplaced(t *testing.T, w *world) {
	port := greeter(t)
	spec := w.networkSpec(t, port)
	m := w.create(t, spec)
	for range 3 {
		w.killUplink(t, m, port)
	}
	w.assertIdle(t, m)
}

func (w *world) killUplink(t *testing.T, m runtime.Machine, port uint16) {
	t.Helper()
	before := uplinks(t, m.ID())
	if len(before) != 1 {
		t.Fatalf("the network is carried by %v", before)
	}
	if err := syscall.Kill(before[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another process carries the network", func() bool {
		now := uplinks(t, m.ID())
		return len(now) == 1 && now[0] != before[0]
	})
	eventually(t, "the network is back", func() bool { return visit(t, m, host(port)) == "welcome" })
	if n, ok := m.(runtime.Networked); !ok || !n.NetworkUp() {
		t.Error("the machine says that its network is down")
	}
}

// killAll ends what the traffic has started.
func killAll(t *testing.T, m runtime.Machine) {
	t.Helper()
	sh(t, m, `for p in /proc/[0-9]*; do case "$(tr '\0' ' ' <$p/cmdline)" in "bash -c while"*) kill -9 ${p#/proc/};; esac; done`)
}

// assertIdle checks that nothing on the host spins because of what was lost.
func (w *world) assertIdle(t *testing.T, m runtime.Machine) {
	t.Helper()
	eventually(t, "the machine is idle", func() bool {
		before := ticksOf(t, m.ID())
		time.Sleep(500 * time.Millisecond)
		return ticksOf(t, m.ID())-before < 25 // of 50 for each processor
	})
}

// ticksOf is the processor time of the machine's processes, proc_pid_stat(5).
func ticksOf(t *testing.T, id string) (sum int64) {
	t.Helper()
	for pid := range processesOf(t, id) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // it may have ended
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(fields) < 13 {
			continue
		}
		for _, field := range fields[11:13] {
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}

// testAdoptedNetwork lets the process that made the network go.
func testAdoptedNetwork(t *testing.T, w *world) {
	port := greeter(t)
	spec := w.networkSpec(t, port)
	m := w.create(t, spec)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	later := w.newDriver(t, w.dir)
	adopted, err := later.Adopt(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if got := visit(t, adopted, host(port)); got != "welcome" {
		t.Errorf("after adoption what is open says %q", got)
	}
	for range 2 { // the second time on a link of this process
		w.killUplink(t, adopted, port)
	}
	w.assertIdle(t, adopted)

	// The network dies while nobody looks, in the middle of traffic.
	traffic := `while :; do exec 3<>/dev/tcp/` + host(port).Addr().String() + fmt.Sprintf("/%d && read <&3; done", port)
	if _, err := adopted.Start(t.Context(), runtime.Command{Argv: []string{"bash", "-c", traffic}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is traffic", func() bool { return visit(t, adopted, host(port)) == "welcome" })
	adopted.Close()
	for _, pid := range uplinks(t, spec.ID) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	last := w.newDriver(t, w.dir)
	again, err := last.Adopt(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the network is back", func() bool { return visit(t, again, host(port)) == "welcome" })
	killAll(t, again)
	w.assertIdle(t, again)
	if err := last.Remove(t.Context(), spec.ID); err != nil {
		t.Error(err)
	}
	w.assertNothingLeft(t, spec.ID)
}

func testNetworkLeavesNone(t *testing.T, w *world) {
	spec := w.networkSpec(t, greeter(t))
	w.create(t, spec)
	if err := w.driver.Remove(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	w.assertNothingLeft(t, spec.ID)
	if _, err := os.Stat(filepath.Join(spec.Network.Refusals, refusals.Name(0))); err != nil {
		t.Errorf("the log of refusals: %v", err)
	}

	// A sandbox that is killed takes its network along.
	spec = w.networkSpec(t, greeter(t))
	m := w.create(t, spec)
	for pid, cmdline := range processesOf(t, spec.ID) {
		if !strings.HasPrefix(cmdline, uplink.Name) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	<-m.Done()
	eventually(t, "nothing carries the network of a dead machine", func() bool { return len(uplinks(t, spec.ID)) == 0 })
}

func testProbeNetwork(t *testing.T, w *world) {
	prober, ok := w.driver.(runtime.NetworkProber)
	if !ok {
		t.Fatal("the driver cannot be asked whether its network works")
	}
	if err := prober.ProbeNetwork(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ids, err := w.driver.List(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("the probe left %v, %v", ids, err)
	}
}
