package bench

import (
	"fmt"
	"io"
	"os"
	"testing"

	"pyro/api"
	"pyro/client"
	"pyro/internal/paths"
	"pyro/internal/runtime"
)

// newBenchDriver is the driver; without root there is none to be had alike.
func newBenchDriver(b *testing.B) driver {
	b.Helper()
	if os.Geteuid() != 0 {
		b.Skip("needs root, as the comparisons do")
	}
	d, err := newDriver()
	if err != nil {
		b.Fatal(err)
	}
	return d
}

// mustCreate makes a machine that is removed with the benchmark.
func mustCreate(b *testing.B, d driver) runtime.Machine {
	b.Helper()
	m, err := d.create(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := d.remove(m); err != nil {
			b.Error(err)
		}
	})
	return m
}

// BenchmarkCreate makes sandboxes; removing them does not count.
func BenchmarkCreate(b *testing.B) {
	d := newBenchDriver(b)
	for b.Loop() {
		m, err := d.create(b.Context())
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		if err := d.remove(m); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkRemove removes sandboxes; making them does not count.
func BenchmarkRemove(b *testing.B) {
	d := newBenchDriver(b)
	for b.Loop() {
		b.StopTimer()
		m, err := d.create(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := d.remove(m); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExec runs true in one sandbox again and again.
func BenchmarkExec(b *testing.B) {
	m := mustCreate(b, newBenchDriver(b))
	for b.Loop() {
		if err := execTrue(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
}

// streamed is how many bytes go through a stream in one round.
const streamed = 1 << 30

// BenchmarkStdout takes 1 GiB from a command.
func BenchmarkStdout(b *testing.B) {
	m := mustCreate(b, newBenchDriver(b))
	b.SetBytes(streamed)
	for b.Loop() {
		var out counter
		// Large writes: otherwise the guest's system calls are measured.
		argv := []string{"dd", "if=/dev/zero", "bs=1M", fmt.Sprint("count=", streamed>>20), "status=none"}
		err := execute(b.Context(), m, runtime.Command{Argv: argv, Dir: "/", Stdout: &out})
		if err != nil || out != streamed {
			b.Fatalf("%d bytes arrived, want %d; error %v", out, streamed, err)
		}
	}
}

// BenchmarkStdin gives 1 GiB to a command.
func BenchmarkStdin(b *testing.B) {
	m := mustCreate(b, newBenchDriver(b))
	b.SetBytes(streamed)
	for b.Loop() {
		argv := []string{"sh", "-c", fmt.Sprintf("test $(wc -c) = %d", streamed)}
		if err := execute(b.Context(), m, runtime.Command{Argv: argv, Dir: "/", Stdin: io.LimitReader(zeros{}, streamed)}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCall is a round trip of package client to the background process.
func BenchmarkCall(b *testing.B) {
	bin, err := pyroProgram()
	if err != nil {
		b.Fatal(err)
	}
	dir, err := theLab.folder("call")
	if err != nil {
		b.Fatal(err)
	}
	c, err := client.New(client.Options{
		Executable: bin, Env: theLab.env(),
		Dirs: paths.Dirs{State: dir + "/s", Cache: dir + "/cache", Config: dir + "/c"},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if _, err := client.Do(theLab.ctx, c, api.DaemonStop, api.DaemonStopRequest{Force: true}); err != nil {
			b.Error(err)
		}
	})
	call := func() {
		if _, err := client.Do(b.Context(), c, api.ListVMs, api.Empty{}); err != nil {
			b.Fatal(err)
		}
	}
	call() // starts the process
	for b.Loop() {
		call()
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
