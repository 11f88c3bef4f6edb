package pyro_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// hasMicroVMs says whether the tests of the network run on microVMs too.
func hasMicroVMs() bool {
	_, err := exec.LookPath("qemu-system-x86_64")
	return err == nil
}

// microVM tries the roads out of a microVM: a choice of what is tried of gVisor's
// sandboxes, as the process that decides is the same, and an emulated guest slow.
func (w *web) microVM(t *testing.T) {
	if !hasMicroVMs() {
		t.Skip("needs QEMU: apt-get install --no-install-recommends qemu-system-x86")
	}
	repository := serveGit(t, "93.184.216.32:80")
	policy := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(policy, []byte(`{"version":1,"rules":[{"name":"open.example"},{"name":"code.example"},{"name":"private.example"}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	id := w.workspaceOf(t, "debian:12-build", t.TempDir(), "--runtime", "vm", "--network-policy", policy)
	w.try(t, id, []attempt{
		{"HTTP", "get http://open.example/", "200 open.example at 93.184.216.10:80"},
		{"HTTPS", "get https://open.example/", "200 open.example at 93.184.216.10:443"},
		{"IPv6", "get http://[2606:2800::11]/", "failed: "},
		{"IPv6 by its name", "get http://open.example/ open.example [2606:2800::10]:80", "200 open.example"},
		{"raw address", "get http://93.184.216.20/", "failed: "},
		{"other server name, same address", "get https://open.example/ closed.example", "failed: "},
		{"UDP", "udp 93.184.216.20:443", "failed: "},
		{"DNS to another server", "lookup open.example A udp 93.184.216.53:53", "failed: "},
		{"exfiltration below an open name", "lookup c2vjcmv0.open.example A", "failed: "},
		{"rebinding to a private address", "get http://private.example/", "failed: "},
		{"metadata", "get http://169.254.169.254/", "failed: "},
		{"the host's services", "get http://10.213.77.1:8080/", "failed: "},
	})
	sh := func(t *testing.T, script string) string {
		t.Helper()
		return string(w.pyro(t, "workspace", "exec", id, "--timeout-seconds", "300", "--", "sh", "-ec", script))
	}
	t.Run("curl", func(t *testing.T) {
		if got := sh(t, "curl -fsS http://open.example/; curl -sS http://closed.example/ 2>&1 || echo $?"); !strings.Contains(got, "open.example at") || !strings.Contains(got, "Could not resolve host") {
			t.Errorf("curl says %q", got)
		}
	})
	t.Run("git", func(t *testing.T) {
		if repository == "" {
			t.Skip("needs git with git-http-backend on this machine")
		}
		sh(t, `cd /tmp; git clone -q http://code.example/project.git; cd project; echo changed >file
			git -c user.name=a -c user.email=a@example.org commit -qam changed; git push -q origin HEAD`)
		if got := hostGit(t, repository, "show", "HEAD:file"); got != "changed\n" {
			t.Errorf("the file that was pushed holds %q", got)
		}
	})
	log := string(w.pyro(t, "workspace", "network", "log", id))
	for _, want := range []string{"93.184.216.20:80", "c2vjcmv0.open.example", "169.254.169.254:80", "[2606:2800::11]:80", "10.1.0.7"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not tell of %s:\n%s", want, log)
		}
	}
}
