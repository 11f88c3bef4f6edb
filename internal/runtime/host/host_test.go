package host

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"

	"pyro/internal/runtime"
	"pyro/internal/runtime/runtimetest"
)

func TestConformance(t *testing.T) {
	runtimetest.Run(t, func(t *testing.T, dir string) runtime.Driver {
		d, err := New(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}, runtimetest.Options{})
}

func newDriver(t *testing.T) *Driver {
	t.Helper()
	d, err := New(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newTestMachine(t *testing.T, d *Driver, spec runtime.Spec) runtime.Machine {
	t.Helper()
	m, err := d.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Remove(context.Background(), spec.ID); err != nil {
			t.Error(err)
		}
	})
	return m
}

// The whole environment of a command, apart from what the caller gives.
func TestEnvironmentIsClean(t *testing.T) {
	t.Setenv("PATH", os.Getenv("PATH"))
	m := newTestMachine(t, newDriver(t), runtime.Spec{ID: "m"})
	var out bytes.Buffer
	p, err := m.Start(t.Context(), runtime.Command{Argv: []string{"env"}, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for line := range strings.Lines(out.String()) {
		key, _, _ := strings.Cut(line, "=")
		keys = append(keys, key)
	}
	slices.Sort(keys)
	if d := cmp.Diff([]string{"HOME", "LANG", "PATH", Marker}, keys); d != "" {
		t.Error(d)
	}
}

// A daemonized process, without parent and session, is found by its mark; one
// that cleared its environment too while its command runs, by its parent.
func TestRemoveFindsDaemons(t *testing.T) {
	d := newDriver(t)
	m := newTestMachine(t, d, runtime.Spec{ID: "m"})
	pids := filepath.Join(t.TempDir(), "pids")
	p, err := m.Start(t.Context(), runtime.Command{Argv: []string{
		"sh", "-c",
		"(setsid sh -c 'echo $$ >>" + pids + "; exec sleep 1000' &) ; env -i setsid -w sh -c 'echo $$ >>" + pids + "; exec /bin/sleep 1000'",
	}})
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for bytes.Count(b, []byte("\n")) < 2 {
		time.Sleep(10 * time.Millisecond)
		b, _ = os.ReadFile(pids)
	}
	if err := d.Remove(t.Context(), "m"); err != nil {
		t.Fatal(err)
	}
	p.Wait()
	for _, text := range strings.Fields(string(b)) {
		pid, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		if q, ok := readProc(pid); ok && q.state != 'Z' {
			t.Errorf("process %d is left: %+v", pid, q)
		}
	}
}

func TestInvalidIDs(t *testing.T) {
	d := newDriver(t)
	for _, id := range []string{"", ".", "..", "a/b", "../x", "A", strings.Repeat("a", 65)} {
		if _, err := d.Create(t.Context(), runtime.Spec{ID: id}); api.KindOf(err) != api.KindUsage {
			t.Errorf("id %q: %v", id, err)
		}
		if err := d.Remove(t.Context(), id); api.KindOf(err) != api.KindUsage {
			t.Errorf("id %q is removed with %v", id, err)
		}
	}
}
