package runtimetest

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pyro/api"
	"pyro/internal/runtime"
)

var machineTests = map[string]func(*testing.T, *world){
	"Adopt":             testAdopt,
	"List":              testList,
	"CreateTwice":       testCreateTwice,
	"RemoveIdempotent":  testRemoveIdempotent,
	"RemoveLeavesNone":  testRemoveLeavesNone,
	"RemoveWhileBusy":   testRemoveWhileBusy,
	"RemoveAfterDeath":  testRemoveAfterDeath,
	"RemoveByStranger":  testRemoveByStranger,
	"Death":             testDeath,
	"ParallelLifecycle": testParallelLifecycle,
	"Usage":             testUsage,
	"Probe":             testProbe,
}

func testAdopt(t *testing.T, w *world) {
	spec := w.spec()
	m := w.create(t, spec)
	sh(t, m, "echo kept >file")
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	later := w.newDriver(t, w.dir)
	adopted, err := later.Adopt(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer adopted.Close()
	if adopted.ID() != spec.ID {
		t.Errorf("adopted %s, want %s", adopted.ID(), spec.ID)
	}
	if adopted.Mode() != m.Mode() {
		t.Errorf("the machine was %s, and is %s for a later process", m.Mode(), adopted.Mode())
	}
	if got := sh(t, adopted, "cat file"); got.stdout != "kept\n" {
		t.Errorf("after adoption: %+v", got)
	}
	select {
	case <-adopted.Done():
		t.Errorf("a live machine is done: %v", adopted.Err())
	default:
	}
	if err := adopted.Err(); err != nil {
		t.Errorf("a live machine has error %v", err)
	}
	if _, err := later.Adopt(t.Context(), w.spec()); api.KindOf(err) != api.KindNotFound {
		t.Errorf("an unknown machine is adopted with %v", err)
	}
	if err := later.Remove(t.Context(), spec.ID); err != nil {
		t.Error(err)
	}
	<-adopted.Done()
	if adopted.Err() == nil {
		t.Error("a removed machine has no error")
	}
}

func testList(t *testing.T, w *world) {
	if ids, err := w.driver.List(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("an empty folder lists %v, %v", ids, err)
	}
	var want []string
	for range 3 {
		spec := w.spec()
		w.create(t, spec)
		want = append(want, spec.ID)
	}
	slices.Sort(want)
	ids, err := w.newDriver(t, w.dir).List(t.Context())
	slices.Sort(ids)
	if err != nil || !slices.Equal(ids, want) {
		t.Errorf("list is %v, %v, want %v", ids, err, want)
	}
}

func testCreateTwice(t *testing.T, w *world) {
	spec := w.spec()
	m := w.create(t, spec)
	if _, err := w.driver.Create(t.Context(), spec); err == nil {
		t.Error("a second machine with the same id was made")
	}
	if got := sh(t, m, "echo well").stdout; got != "well\n" {
		t.Errorf("afterwards the first one answers %q", got)
	}
}

func testRemoveIdempotent(t *testing.T, w *world) {
	spec := w.spec()
	w.create(t, spec)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := w.driver.Remove(t.Context(), spec.ID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := w.driver.Remove(t.Context(), spec.ID); err != nil {
		t.Errorf("removed again: %v", err)
	}
	if err := w.driver.Remove(t.Context(), w.spec().ID); err != nil {
		t.Errorf("unknown id: %v", err)
	}
	if _, err := w.driver.Adopt(t.Context(), spec); api.KindOf(err) != api.KindNotFound {
		t.Errorf("a removed machine is adopted with %v", err)
	}
}

func testRemoveLeavesNone(t *testing.T, w *world) {
	spec := w.spec()
	m := w.create(t, spec)
	sh(t, m, "mkdir closed; touch closed/file; chmod 000 closed; sleep 100000 & perl -MPOSIX -e 'POSIX::setsid(); exec qw(sleep 100000)' & true")
	if err := w.driver.Remove(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	w.assertNothingLeft(t, spec.ID)
}

// assertNothingLeft looks for processes, mounts and files that carry the id.
func (w *world) assertNothingLeft(t *testing.T, id string) {
	t.Helper()
	if left := processesOf(t, id); len(left) > 0 {
		t.Errorf("processes of %s are left: %v", id, left)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), id) {
		t.Errorf("a mount of %s is left:\n%s", id, mounts)
	}
	filepath.WalkDir(w.dir, func(path string, _ fs.DirEntry, _ error) error {
		if strings.Contains(filepath.Base(path), id) {
			t.Errorf("%s is left", path)
		}
		return nil
	})
	if ids, err := w.driver.List(t.Context()); err != nil || slices.Contains(ids, id) {
		t.Errorf("list is %v, %v", ids, err)
	}
}

func testRemoveWhileBusy(t *testing.T, w *world) {
	spec := w.spec()
	m := w.create(t, spec)
	var out lines
	p := start(t, m, runtime.Command{Argv: []string{"sh", "-c", "echo ready; sleep 100000"}, Stdin: blocked(t), Stdout: &out})
	out.waitFor(t, "ready")
	if err := w.driver.Remove(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(); err == nil && exit.Code == 0 {
		t.Errorf("the command ended well: %+v", exit)
	}
	<-m.Done()
	if _, err := m.Start(t.Context(), runtime.Command{Argv: []string{"true"}}); err == nil {
		t.Error("a removed machine started a command")
	}
	w.assertNothingLeft(t, spec.ID)
}

// kill ends the machine as the kernel's OOM killer would. It reports false if
// the driver has no process to kill.
func kill(t *testing.T, id string) bool {
	t.Helper()
	killed := false
	for pid := range processesOf(t, id) {
		killed = syscall.Kill(pid, syscall.SIGKILL) == nil || killed
	}
	return killed
}

func testDeath(t *testing.T, w *world) {
	if !w.driver.Features().Isolated {
		t.Skip("such a machine is a folder: it cannot die")
	}
	spec := w.spec()
	m := w.create(t, spec)
	p := start(t, m, runtime.Command{Argv: []string{"sleep", "100000"}, Stdin: blocked(t)})
	if !kill(t, spec.ID) {
		t.Fatal("the machine has no process on the host")
	}
	<-m.Done()
	if err := m.Err(); api.KindOf(err) != api.KindSandboxDied {
		t.Errorf("error is %v, kind %q", err, api.KindOf(err))
	}
	if exit, err := p.Wait(); err == nil && exit.Code == 0 {
		t.Errorf("the command ended well: %+v", exit)
	}
	if _, err := w.newDriver(t, w.dir).Adopt(t.Context(), spec); api.KindOf(err) != api.KindNotFound {
		t.Errorf("a dead machine is adopted with %v", err)
	}
	if ids, err := w.driver.List(t.Context()); err != nil || !slices.Contains(ids, spec.ID) {
		t.Errorf("the dead machine is not listed: %v, %v", ids, err)
	}
}

func testRemoveAfterDeath(t *testing.T, w *world) {
	spec := w.spec()
	m := w.create(t, spec)
	if kill(t, spec.ID) {
		<-m.Done()
	}
	if err := w.driver.Remove(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	w.assertNothingLeft(t, spec.ID)
}

// testRemoveByStranger removes a machine with a driver that never saw it, as a
// new process does that finds an unknown id.
func testRemoveByStranger(t *testing.T, w *world) {
	spec := w.spec()
	m := w.create(t, spec)
	start(t, m, runtime.Command{Argv: []string{"sleep", "100000"}})
	m.Close()
	if err := w.newDriver(t, w.dir).Remove(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	w.assertNothingLeft(t, spec.ID)
}

func testParallelLifecycle(t *testing.T, w *world) {
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			spec := w.spec()
			m, err := w.driver.Create(t.Context(), spec)
			if err != nil {
				t.Errorf("create: %v", err)
				return
			}
			var out lines
			p, err := m.Start(t.Context(), runtime.Command{Argv: []string{"echo", spec.ID}, Stdout: &out})
			if err != nil {
				t.Errorf("start: %v", err)
			} else if _, err := p.Wait(); err != nil || out.String() != spec.ID+"\n" {
				t.Errorf("%s answers %q, %v", spec.ID, out.String(), err)
			}
			m.Close()
			if err := w.driver.Remove(t.Context(), spec.ID); err != nil {
				t.Error(err)
			}
			w.assertNothingLeft(t, spec.ID)
		})
	}
	wg.Wait()
}

func testUsage(t *testing.T, w *world) {
	m := w.machine(t)
	p := start(t, m, runtime.Command{Argv: []string{"sh", "-c", "head -c 20000000 /dev/zero >file; sleep 100000"}})
	defer p.Kill()
	var u runtime.Usage
	eventually(t, "20 MB on the disk are measured", func() bool {
		var err error
		if u, err = m.Usage(t.Context()); err != nil {
			t.Fatal(err)
		}
		return u.DiskBytes >= 20_000_000
	})
	if u.MemoryBytes <= 0 || u.PIDs <= 0 || u.Measured.IsZero() {
		t.Errorf("usage is %+v", u)
	}
}

func testProbe(t *testing.T, w *world) {
	if err := w.driver.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ids, err := w.driver.List(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("the probe left %v, %v", ids, err)
	}
}
