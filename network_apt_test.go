package pyro_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pyro/internal/debian"
	"pyro/internal/network/policy"
)

// TestApt installs a package in a sandbox, from the mirror that pyro itself uses,
// with a policy that names nothing else, and with egress.
func TestApt(t *testing.T) {
	mirrors, err := debian.FindMirrors(os.DirFS("/"), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	rules, public := mirrorRules(t, mirrors.Main, mirrors.Security)
	h := newHarness(t)
	environ := append(os.Environ(), "PYRO_STATE_DIR="+filepath.Join(h.dir, "s"), "PYRO_CACHE_DIR="+h.cache, "PYRO_CONFIG_DIR="+filepath.Join(h.dir, "c"))
	pyro := func(t *testing.T, args ...string) string {
		t.Helper()
		cmd := exec.Command(program(t), args...)
		cmd.Env = environ
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("pyro %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	defer pyro(t, "daemon", "stop", "--force")
	install := func(t *testing.T, which string) {
		out := pyro(t, "run", "debian:12", "--network-policy", which, "--timeout-seconds", "600", "--", "sh", "-ec",
			"apt-get update; apt-get install -y --no-install-recommends hello; hello")
		if !strings.Contains(out, "Hello, world!") {
			t.Error(out)
		}
	}
	file := filepath.Join(t.TempDir(), "policy.json")
	b, err := json.Marshal(map[string]any{"version": 1, "rules": rules})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("allowlist", func(t *testing.T) { install(t, file) })
	t.Run("microVM", func(t *testing.T) {
		if !hasMicroVMs() {
			t.Skip("needs QEMU: apt-get install --no-install-recommends qemu-system-x86")
		}
		// The list of the whole archive takes an emulated guest minutes to read, this
		// part of it seconds.
		out := pyro(t, "run", "debian:12", "--runtime", "vm", "--network-policy", file, "--timeout-seconds", "600", "--", "sh", "-ec",
			"sed -i -n '/ bookworm-updates /p' /etc/apt/sources.list; apt-get update; ls /var/lib/apt/lists")
		if !strings.Contains(out, "bookworm-updates_InRelease") || !strings.Contains(out, "Packages") {
			t.Error(out)
		}
	})
	t.Run("egress", func(t *testing.T) {
		if !public {
			t.Skip("needs a Debian mirror with a public address, to which egress leads")
		}
		install(t, "egress")
	})
}

// mirrorRules opens the mirrors, and says whether their addresses are the
// internet's.
func mirrorRules(t *testing.T, mirrors ...string) (rules []map[string]any, public bool) {
	t.Helper()
	public = true
	for _, mirror := range mirrors {
		answer, err := http.Get(mirror + "/README")
		if err != nil {
			t.Skipf("needs the Debian mirror, which is not reached: %v", err)
		}
		answer.Body.Close()
		u, err := url.Parse(mirror)
		if err != nil {
			t.Fatal(err)
		}
		addrs, err := net.DefaultResolver.LookupNetIP(t.Context(), "ip", u.Hostname())
		if err != nil {
			t.Skipf("needs a Debian mirror that this host reaches without a proxy: %v", err)
		}
		for _, addr := range addrs {
			class, _ := policy.Classify(addr.Unmap())
			public = public && (class == policy.Public || class == policy.Documentation)
		}
		rule := map[string]any{"private": true}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
			rule["address"] = addr
		} else {
			rule["name"] = u.Hostname()
		}
		if port := u.Port(); port != "" {
			rule["ports"] = []string{port}
		}
		rules = append(rules, rule)
	}
	return rules, public
}
