package runtimetest

import (
	"strconv"
	"strings"
	"testing"

	"pyro/api"
	"pyro/internal/runtime"
)

var limitTests = map[string]func(*testing.T, *world){
	"Visible":         limited(testVisible),
	"Disk":            limited(testDiskLimit),
	"Memory":          limited(testMemoryLimit("head -c 4294967296 /dev/zero | tail >/dev/null")),
	"MemoryFiles":     limited(testMemoryLimit("head -c 4294967296 /dev/zero >/dev/shm/file")),
	"Processes":       limited(testPIDLimit),
	"ForkBomb":        limited(testForkBomb),
	"NoneAtFirst":     limited(testNoneAtFirst),
	"OneNotTheOthers": limited(testOneNotTheOthers),
}

// limited skips a test for drivers that do not claim limits.
func limited(test func(*testing.T, *world)) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		if !w.driver.Features().Limits {
			t.Skipf("%s does not claim limits", w.driver.Name())
		}
		test(t, w)
	}
}

func number(t *testing.T, m runtime.Machine, script string) int64 {
	t.Helper()
	got := sh(t, m, script)
	n, err := strconv.ParseInt(strings.TrimSpace(got.stdout), 10, 64)
	if err != nil {
		t.Fatalf("%s: %+v", script, got)
	}
	return n
}

func about(t *testing.T, what string, got, want int64) {
	t.Helper()
	if got < want*9/10 || got > want*11/10 {
		t.Errorf("%s is %d, want about %d", what, got, want)
	}
}

func testVisible(t *testing.T, w *world) {
	m := w.machine(t)
	if n := number(t, m, "nproc"); n != 1 {
		t.Errorf("nproc is %d, want 1", n)
	}
	about(t, "MemTotal", number(t, m, "grep MemTotal: /proc/meminfo | tr -dc 0-9")*1024, memoryBytes)
	about(t, "the size of /", number(t, m, "df -B1 --output=size / | tail -n 1"), diskBytes)
	about(t, "the size of /workspace", number(t, m, "df -B1 --output=size /workspace | tail -n 1"), diskBytes)
}

func testNoneAtFirst(t *testing.T, w *world) {
	m := w.machine(t)
	sh(t, m, "head -c 1000000 /dev/zero >file; (exit 3)")
	if hit := m.LimitHit(t.Context()); hit != nil {
		t.Errorf("limit %v was hit by nothing", hit)
	}
}

// assertHit wants the limit to be named, and the machine to be alive or to have
// died of it.
func assertHit(t *testing.T, m runtime.Machine, kind api.Kind) {
	t.Helper()
	select {
	case <-m.Done():
		if got := api.KindOf(m.Err()); got != kind {
			t.Errorf("the machine died of %v (kind %q), want kind %q", m.Err(), got, kind)
		}
		return
	default:
	}
	hit := m.LimitHit(t.Context())
	if hit == nil || hit.Kind != kind || hit.Hint == "" {
		t.Errorf("limit hit is %+v, want kind %q and a hint", hit, kind)
	}
	if got := sh(t, m, "echo well"); got.stdout != "well\n" {
		t.Errorf("afterwards the machine answers %+v", got)
	}
}

func testDiskLimit(t *testing.T, w *world) {
	m := w.machine(t)
	if got := sh(t, m, "head -c 400000000 /dev/zero >/workspace/file"); got.Code == 0 || !strings.Contains(got.stderr, "No space left") {
		t.Errorf("400 MB were written to a disk of %d: %+v", diskBytes, got)
	}
	hit := m.LimitHit(t.Context())
	if hit == nil || hit.Kind != api.KindDiskLimit {
		t.Errorf("limit hit is %+v", hit)
	}
	if got := sh(t, m, "rm file; echo well"); got.stdout != "well\n" {
		t.Errorf("afterwards the machine answers %+v", got)
	}
}

func testMemoryLimit(script string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		m := w.machine(t)
		p := start(t, m, runtime.Command{Argv: []string{"sh", "-c", script}})
		if exit, err := p.Wait(); err == nil && exit.Code == 0 {
			t.Errorf("4 GiB fit into %d bytes", memoryBytes)
		}
		assertHit(t, m, api.KindMemoryLimit)
	}
}

func testPIDLimit(t *testing.T, w *world) {
	m := w.machine(t)
	p := start(t, m, runtime.Command{Argv: []string{"sh", "-c", "i=0; while [ $i -lt 500 ]; do sleep 100000 & i=$((i+1)); done"}})
	if exit, err := p.Wait(); err == nil && exit.Code == 0 {
		t.Errorf("500 processes run within a limit of %d", pids)
	}
	if hit := m.LimitHit(t.Context()); hit == nil || hit.Kind != api.KindPIDLimit || hit.Hint == "" {
		t.Errorf("limit hit is %+v", hit)
	}
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	eventually(t, "the machine has room again", func() bool {
		var out lines
		p, err := m.Start(t.Context(), runtime.Command{Argv: []string{"echo", "well"}, Stdout: &out})
		if err != nil {
			return false
		}
		_, err = p.Wait()
		return err == nil && out.String() == "well\n"
	})
}

func testForkBomb(t *testing.T, w *world) {
	spec := w.spec()
	m := w.create(t, spec)
	start(t, m, runtime.Command{Argv: []string{"sh", "-c", "bomb() { bomb | bomb & }; bomb; while :; do sleep 1; done"}})
	eventually(t, "the limit of processes is named", func() bool {
		hit := m.LimitHit(t.Context())
		return hit != nil && hit.Kind == api.KindPIDLimit
	})
	if err := w.driver.Remove(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	w.assertNothingLeft(t, spec.ID)
}

// testOneNotTheOthers: a machine at its limits does not disturb its neighbour.
func testOneNotTheOthers(t *testing.T, w *world) {
	greedy, other := w.machine(t), w.machine(t)
	p := start(t, greedy, runtime.Command{Argv: []string{
		"sh", "-c",
		"head -c 400000000 /dev/zero >file; i=0; while [ $i -lt 200 ]; do sleep 100000 & i=$((i+1)); done; exec tail /dev/zero",
	}})
	p.Wait()
	if got := sh(t, other, "echo well >file && cat file"); got.stdout != "well\n" {
		t.Errorf("the neighbour answers %+v", got)
	}
	if hit := other.LimitHit(t.Context()); hit != nil {
		t.Errorf("the neighbour hit %v", hit)
	}
}
