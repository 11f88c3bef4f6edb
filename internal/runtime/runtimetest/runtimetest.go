// Package runtimetest is the conformance suite of runtime drivers: one test for
// each promise that package runtime makes. Every driver runs all of it; what a
// driver does not claim in its Features is not asked of it.
//
//	func TestConformance(t *testing.T) {
//		runtimetest.Run(t, func(t *testing.T, dir string) runtime.Driver {
//			d, err := gvisor.New(gvisor.Options{Dir: dir})
//			...
//		}, runtimetest.Options{Image: image})
//	}
//
// The guest needs what debian:12-base has: sh, coreutils, grep and perl.
package runtimetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pyro/internal/runtime"
)

// NewDriver makes a driver on the folder dir. It is called again with the same
// folder to play a later process.
type NewDriver func(t *testing.T, dir string) runtime.Driver

// Options are what the suite must know about the driver's world.
type Options struct {
	// Image is the path of an EROFS image of debian:12-base; empty if the
	// driver runs none.
	Image string
	// Env is given to every machine, as the image's configuration would be.
	Env []string
}

// Sizes of the suite's machines.
const (
	memoryBytes = 256 << 20
	diskBytes   = 128 << 20
	pids        = 64
)

// Run runs the suite.
func Run(t *testing.T, newDriver NewDriver, o Options) {
	s := &suite{newDriver: newDriver, options: o}
	for _, group := range []struct {
		name  string
		tests map[string]func(*testing.T, *world)
	}{
		{"Command", commandTests},
		{"Stream", streamTests},
		{"Process", processTests},
		{"Machine", machineTests},
		{"Isolation", isolationTests},
		{"Network", networkTests},
		{"Limits", limitTests},
		{"Layer", layerTests},
		{"Disk", diskTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) { test(t, s.world(t)) })
			}
		})
	}
}

type suite struct {
	newDriver NewDriver
	options   Options
}

// world is a driver on a folder of its own.
type world struct {
	*suite
	dir    string
	driver runtime.Driver
}

func (s *suite) world(t *testing.T) *world {
	dir := t.TempDir()
	return &world{s, dir, s.newDriver(t, dir)}
}

func (w *world) spec() runtime.Spec {
	var b [6]byte
	rand.Read(b[:])
	return runtime.Spec{
		ID: "test-" + hex.EncodeToString(b[:]), Image: w.options.Image, Env: w.options.Env,
		VCPUs: 1, MemoryBytes: memoryBytes, DiskBytes: diskBytes, PIDs: pids,
	}
}

// machine makes a machine that is removed with the test.
func (w *world) machine(t *testing.T) runtime.Machine {
	t.Helper()
	return w.create(t, w.spec())
}

func (w *world) create(t *testing.T, spec runtime.Spec) runtime.Machine {
	t.Helper()
	m, err := w.driver.Create(t.Context(), spec)
	if err != nil {
		t.Fatalf("create %s: %v", spec.ID, err)
	}
	t.Cleanup(func() {
		m.Close()
		if err := w.driver.Remove(context.Background(), spec.ID); err != nil {
			t.Errorf("remove %s: %v", spec.ID, err)
		}
	})
	return m
}

// result is a command that has ended.
type result struct {
	runtime.Exit
	stdout, stderr string
}

// run runs the command to its end.
func run(t *testing.T, m runtime.Machine, c runtime.Command) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if c.Stdout == nil {
		c.Stdout = &stdout
	}
	if c.Stderr == nil {
		c.Stderr = &stderr
	}
	exit, err := start(t, m, c).Wait()
	if err != nil {
		t.Fatalf("wait for %q: %v", c.Argv, err)
	}
	return result{exit, stdout.String(), stderr.String()}
}

// sh runs a shell script to its end.
func sh(t *testing.T, m runtime.Machine, script string) result {
	t.Helper()
	return run(t, m, runtime.Command{Argv: []string{"sh", "-c", script}})
}

func start(t *testing.T, m runtime.Machine, c runtime.Command) runtime.Process {
	t.Helper()
	p, err := m.Start(t.Context(), c)
	if err != nil {
		t.Fatalf("start %q: %v", c.Argv, err)
	}
	return p
}

// eventually waits until ok. It gives up after a time that only a fault needs.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// unique returns a number of seconds that names a sleep(1) of this test alone.
func unique() string {
	var b [4]byte
	rand.Read(b[:])
	return fmt.Sprintf("9%09d", int(b[0])<<16|int(b[1])<<8|int(b[2]))
}

// sleeping reports whether the machine runs "sleep SECONDS".
func sleeping(t *testing.T, m runtime.Machine, seconds string) bool {
	t.Helper()
	// The brackets keep the pattern from finding the command that looks for it.
	pattern := "^sleep " + seconds[:9] + "[" + seconds[9:] + "] $"
	out := sh(t, m, `for f in /proc/[0-9]*/cmdline; do tr '\0' ' ' 2>/dev/null <$f; echo; done | grep -c '`+pattern+`'`).stdout
	return strings.TrimSpace(out) != "0"
}

// processesOf returns the host's processes that name the machine in their
// command line or environment.
func processesOf(t *testing.T, id string) map[int]string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]string{}
	for _, file := range files {
		cmdline, _ := os.ReadFile(file)
		environ, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "environ"))
		if bytes.Contains(cmdline, []byte(id)) || bytes.Contains(environ, []byte(id)) {
			var pid int
			fmt.Sscanf(file, "/proc/%d/", &pid)
			found[pid] = strings.ReplaceAll(string(cmdline), "\x00", " ")
		}
	}
	return found
}
