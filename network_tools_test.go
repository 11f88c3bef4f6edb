package pyro_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tools has the programs that developers fetch things with do so, by a policy that
// names their servers.
func (w *web) tools(t *testing.T) {
	repository := serveGit(t, "93.184.216.30:80")
	servePackage(t, "93.184.216.31:80")
	seed := t.TempDir()
	pip := bundledPip(t, seed)
	policy := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(policy, []byte(`{"version":1,"rules":[{"name":"git.example"},{"name":"pypi.example"}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	id := w.workspaceOf(t, "debian:12-build", seed, "--network-policy", policy)
	sh := func(t *testing.T, script string) string {
		t.Helper()
		return string(w.pyro(t, "workspace", "exec", id, "--timeout-seconds", "300", "--", "sh", "-ec", script))
	}
	t.Run("git", func(t *testing.T) {
		if repository == "" {
			t.Skip("needs git with git-http-backend on this machine")
		}
		sh(t, `cd /tmp; git clone -q http://git.example/project.git; cd project; echo changed >file
			git -c user.name=a -c user.email=a@example.org commit -qam changed; git push -q origin HEAD`)
		if got := hostGit(t, repository, "show", "HEAD:file"); got != "changed\n" {
			t.Errorf("the file that was pushed holds %q", got)
		}
	})
	t.Run("curl", func(t *testing.T) {
		if got := sh(t, "curl -fsS http://pypi.example/simple/greeting/"); !strings.Contains(got, "greeting-1.0") {
			t.Errorf("curl says %q", got)
		}
		got := sh(t, "curl -sS http://closed.example/ 2>&1 || echo $?")
		if !strings.Contains(got, "Could not resolve host") {
			t.Errorf("a name that is not open: %q", got)
		}
	})
	t.Run("pip", func(t *testing.T) {
		if pip == "" {
			t.Skip("needs python3 with ensurepip on this machine, whose pip runs in the sandbox")
		}
		got := sh(t, "PYTHONPATH=$PWD/"+pip+` python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --target /tmp/lib \
			--index-url http://pypi.example/simple/ --trusted-host pypi.example greeting
			PYTHONPATH=/tmp/lib python3 -c 'import greeting; print(greeting.text)'`)
		if got != "hello\n" {
			t.Errorf("what pip installed says %q", got)
		}
	})
}

func serveAt(t *testing.T, at string, h http.Handler) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go http.Serve(l, h)
}

// hostGit runs git on the host.
func hostGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "safe.directory=*"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v %s", cmd, err, out)
	}
	return string(out)
}

// serveGit serves a repository to read and to write, see git-http-backend(1). It
// returns its folder, "" if this machine lacks the program.
func serveGit(t *testing.T, at string) string {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, statErr := os.Stat(backend); err != nil || statErr != nil {
		return ""
	}
	root := t.TempDir()
	bare := filepath.Join(root, "project.git")
	hostGit(t, root, "init", "-q", "--bare", bare)
	hostGit(t, bare, "config", "http.receivepack", "true")
	work := filepath.Join(root, "work")
	hostGit(t, root, "clone", "-q", bare, work)
	if err := os.WriteFile(filepath.Join(work, "file"), []byte("first\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	hostGit(t, work, "add", "file")
	hostGit(t, work, "commit", "-qm", "first")
	hostGit(t, work, "push", "-q", "origin", "HEAD")
	serveAt(t, at, &cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}})
	return bare
}

// servePackage is an index with a package of Python,
// https://packaging.python.org/en/latest/specifications/simple-repository-api/.
func servePackage(t *testing.T, at string) {
	t.Helper()
	const name = "greeting-1.0-py3-none-any.whl"
	var wheel bytes.Buffer
	z := zip.NewWriter(&wheel)
	for _, f := range [][2]string{
		{"greeting.py", "text = 'hello'\n"},
		{"greeting-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n"},
		{"greeting-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{"greeting-1.0.dist-info/RECORD", "greeting.py,,\ngreeting-1.0.dist-info/METADATA,,\ngreeting-1.0.dist-info/WHEEL,,\ngreeting-1.0.dist-info/RECORD,,\n"},
	} {
		part, err := z.Create(f[0])
		if err != nil {
			t.Fatal(err)
		}
		_, _ = part.Write([]byte(f[1]))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/simple/greeting/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!DOCTYPE html><html><body><a href="/files/%s">%s</a></body></html>`, name, name)
	})
	mux.HandleFunc("/files/"+name, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(wheel.Bytes()) })
	serveAt(t, at, mux)
}

// bundledPip copies the pip that Python carries into a folder and returns its
// name, "" if there is none. A wheel of pip runs where it lies.
func bundledPip(t *testing.T, dir string) string {
	t.Helper()
	const script = "import ensurepip, glob, os; print((glob.glob(os.path.join(os.path.dirname(ensurepip.__file__), '_bundled', 'pip-*.whl')) + glob.glob('/usr/share/python-wheels/pip-*.whl'))[0])"
	out, err := exec.Command("python3", "-c", script).Output()
	if err != nil {
		return ""
	}
	path := strings.TrimSpace(string(out))
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, filepath.Base(path)), b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(path)
}
