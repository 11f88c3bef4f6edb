package pyro_test

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The benchmarks run the program as a user does, so they include its start and
// the way over the socket. docs/benchmarks.md has the figures.

// bench is a state folder of its own with debian:12 installed.
type bench struct {
	*testing.B
	h   *harness
	env []string
}

func newBench(b *testing.B) bench {
	b.Helper()
	h := newHarness(b)
	if err := h.install("debian:12"); err != nil {
		b.Fatal(err)
	}
	dir, err := h.scriptDir()
	if err != nil {
		b.Fatal(err)
	}
	env := h.env(dir)
	b.Cleanup(func() { h.finish(b, dir, env) })
	return bench{b, h, env}
}

// command is the program with its output discarded.
func (b bench) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(b.h.dir, "bin", "pyro"), args...)
	cmd.Env = b.env
	return cmd
}

// must runs a command that must succeed.
func (b bench) must(cmd *exec.Cmd) {
	b.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.String())
	}
}

func BenchmarkVersion(b *testing.B) {
	p := newBench(b)
	for b.Loop() {
		p.must(p.command("--version"))
	}
}

func BenchmarkRun(b *testing.B) {
	p := newBench(b)
	p.must(p.command("vm", "list")) // starts the background process
	for b.Loop() {
		p.must(p.command("run", "debian:12", "--", "true"))
	}
}

func BenchmarkRunCold(b *testing.B) {
	p := newBench(b)
	for b.Loop() {
		p.must(p.command("run", "debian:12", "--", "true"))
		b.StopTimer()
		p.must(p.command("daemon", "stop"))
		b.StartTimer()
	}
}

func BenchmarkRunParallel(b *testing.B) {
	p := newBench(b)
	p.must(p.command("vm", "list"))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if out, err := p.command("run", "debian:12", "--", "true").CombinedOutput(); err != nil {
				b.Errorf("%v\n%s", err, out)
				return
			}
		}
	})
}

// payload is how many bytes go through in one round.
const payload = 256 << 20

func BenchmarkStdout(b *testing.B) {
	p := newBench(b)
	b.SetBytes(payload)
	for b.Loop() {
		cmd := p.command("run", "debian:12", "--timeout-seconds", "600", "--", "head", "-c", fmt.Sprint(payload), "/dev/zero")
		count := &counter{}
		cmd.Stdout = count
		p.must(cmd)
		if count.n != payload {
			b.Fatalf("%d bytes arrived, want %d", count.n, payload)
		}
	}
}

func BenchmarkStdin(b *testing.B) {
	p := newBench(b)
	b.SetBytes(payload)
	for b.Loop() {
		cmd := p.command("run", "debian:12", "--timeout-seconds", "600", "--", "wc", "-c")
		cmd.Stdin = io.LimitReader(zeros{}, payload)
		var stdout strings.Builder
		cmd.Stdout = &stdout
		p.must(cmd)
		if strings.TrimSpace(stdout.String()) != fmt.Sprint(payload) {
			b.Fatalf("%s bytes arrived, want %d", stdout.String(), payload)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	p := newBench(b)
	id := regexp.MustCompile(`vm-[0-9a-f]{12}`)
	for b.Loop() {
		b.StopTimer()
		out, err := p.command("vm", "create", "debian:12", "--json").Output()
		if err != nil {
			b.Fatal(err)
		}
		vm := id.FindString(string(out))
		b.StartTimer()
		p.must(p.command("vm", "start", vm))
		b.StopTimer()
		p.must(p.command("vm", "delete", vm))
		b.StartTimer()
	}
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
