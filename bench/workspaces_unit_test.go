package bench

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestProjectSizes(t *testing.T) {
	sizes := projectSizes()
	sum := 0
	for _, size := range sizes {
		sum += size
	}
	if len(sizes) != projectFiles || sum != projectBytes {
		t.Errorf("%d files of %d bytes, want %d of %d", len(sizes), sum, projectFiles, projectBytes)
	}
	if slices.Min(sizes) < 100 { // two lines, which the scripts rely on
		t.Errorf("the smallest file has %d bytes", slices.Min(sizes))
	}
	if !slices.Equal(sizes, projectSizes()) {
		t.Error("the sizes are not the same every time")
	}
}

// TestEditScript: two projects are the same bytes, and the script changes just
// the files it says, each time anew.
func TestEditScript(t *testing.T) {
	sizes := make([]int, 51*projectFolders)
	for i := range sizes {
		sizes[i] = 100
	}
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{a, b} {
		if err := writeProject(dir, sizes); err != nil {
			t.Fatal(err)
		}
	}
	if got := differing(t, a, b, len(sizes)); len(got) != 0 {
		t.Errorf("two projects differ in %q", got)
	}
	for _, word := range []string{"one", "two"} {
		cmd := exec.Command("sh", "-ec", editScript(word))
		cmd.Dir = b
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got := differing(t, a, b, len(sizes)); len(got) != edited {
			t.Errorf("%d files differ, want %d: %q", len(got), edited, got)
		}
		copy, err := os.ReadFile(filepath.Join(b, "d03/f50.txt"))
		if want := "# edited: " + word + "\n"; err != nil || !strings.Contains(string(copy), want) {
			t.Errorf("%q lacks %q; error %v", copy, want, err)
		}
	}
}

// differing names the files of a project that differ in two folders.
func differing(t *testing.T, a, b string, files int) []string {
	t.Helper()
	var names []string
	for i := range files {
		name := projectFile(i)
		inA, errA := os.ReadFile(filepath.Join(a, name))
		inB, errB := os.ReadFile(filepath.Join(b, name))
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		if string(inA) != string(inB) {
			names = append(names, name)
		}
	}
	return names
}

// TestTickScript: a pause is noticed in its length.
func TestTickScript(t *testing.T) {
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skipf("needs perl from perl-base")
	}
	const pause = 300 * time.Millisecond
	var out strings.Builder
	cmd := exec.Command("sh", "-c", tickScript(3*time.Second))
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(pause)
	stop, goOn := syscall.SIGSTOP, syscall.SIGCONT
	for _, sig := range []syscall.Signal{stop, goOn, stop, goOn, stop, goOn} { // it may not have begun at once
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		time.Sleep(pause)
	}
	err := cmd.Wait()
	got, err := ticks(out.String(), err)
	if err != nil {
		t.Fatal(err)
	}
	if longest := got[""]; longest < pause.Seconds() {
		t.Errorf("longest pause %v s, want %v at least", longest, pause)
	}
}

func TestTicksOfNonsense(t *testing.T) {
	if _, err := ticks("Can't locate Time/HiRes.pm", nil); err == nil {
		t.Error("no error")
	}
}

// TestCPUTime: work shows, and what sleeps takes none.
func TestCPUTime(t *testing.T) {
	self := []int{os.Getpid()}
	before := cpuTime(self)
	const work = 100 * time.Millisecond
	for start := time.Now(); time.Since(start) < 4*work && cpuTime(self)-before < work.Seconds(); {
	}
	if got := cpuTime(self) - before; got < work.Seconds()/10 { // the machine may be busy
		t.Errorf("%v s of CPU time for %v of work", got, work)
	}
	sleeper := exec.Command("sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() })
	if got := cpuTime([]int{sleeper.Process.Pid}); got > 0.5 {
		t.Errorf("%v s of CPU time of a process that sleeps", got)
	}
}
