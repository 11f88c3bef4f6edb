package pyro_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLeftovers checks the check that every script ends with: what does harm is
// found, what may stay is not.
func TestLeftovers(t *testing.T) {
	dir := shortDir(t)
	for _, name := range []string{"s/pyro.db", "s/daemon.log", "s/gvisor/agent/0123/pyro-agent", "tmp/forgotten", "s/vm-1/image"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ln, err := net.Listen("unix", filepath.Join(dir, "s", "daemon.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	sleep := exec.Command("sleep", "600")
	sleep.Env = []string{"PYRO_STATE_DIR=" + dir + "/s"}
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	defer sleep.Wait()
	defer sleep.Process.Kill()

	// A process that has just been executed has no environment for a moment:
	// exec(2) closes the pipe on which Start waits before it sets one up.
	found := strings.Join(leftovers(dir, 0), "\n")
	for end := time.Now().Add(patience); !strings.Contains(found, ": sleep 600") && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		found = strings.Join(leftovers(dir, 0), "\n")
	}
	for _, want := range []string{"file: tmp/forgotten", "file: s/vm-1/image", "socket: ", ": sleep 600"} {
		if !strings.Contains(found, want) {
			t.Errorf("%q was not found among:\n%s", want, found)
		}
	}
	for _, stays := range []string{"pyro.db", "daemon.log", "pyro-agent"} {
		if strings.Contains(found, stays) {
			t.Errorf("%s may stay, but was found:\n%s", stays, found)
		}
	}
}

func TestLookup(t *testing.T) {
	doc, err := oneDocument(`{"a": {"b": [10, {"c": "<text>"}]}, "none": null, "yes": true}`)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"a.b.0": "10", "a.b.1.c": "<text>", "a.b.len": "2", "a.b.1": `{"c":"<text>"}`, "none": "null", "yes": "true",
	} {
		if got, ok := lookup(doc, path); !ok || got != want {
			t.Errorf("lookup(%q) = %q, %t, want %q", path, got, ok, want)
		}
	}
	for _, path := range []string{"b", "a.c", "a.b.2", "a.b.x", "yes.no", ""} {
		if got, ok := lookup(doc, path); ok {
			t.Errorf("lookup(%q) = %q, want nothing", path, got)
		}
	}
	for _, text := range []string{"", "{", "{} {}", "log line\n{}", "{}\nlog line"} {
		if _, err := oneDocument(text); err == nil {
			t.Errorf("%q passes for one JSON document", text)
		}
	}
}
