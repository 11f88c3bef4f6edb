package runtimetest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pyro/internal/runtime"
)

var streamTests = map[string]func(*testing.T, *world){
	"Separate":         testSeparate,
	"StdinEnds":        testStdinEnds,
	"StdinNeverEnds":   testStdinNeverEnds,
	"StdinNobodyReads": testStdinNobodyReads,
	"BigBothWays":      testBigBothWays,
	"BigOutput":        testBigOutput,
	"SlowReader":       testSlowReader,
	"BackgroundChild":  testBackgroundChild,
	"AllDelivered":     testAllDelivered,
}

const big = 100 << 20

func testSeparate(t *testing.T, w *world) {
	got := sh(t, w.machine(t), "echo out; echo err >&2; printf 'no newline'")
	if got.stdout != "out\nno newline" || got.stderr != "err\n" {
		t.Errorf("stdout %q, stderr %q", got.stdout, got.stderr)
	}
}

func testStdinEnds(t *testing.T, w *world) {
	m := w.machine(t)
	if got := run(t, m, runtime.Command{Argv: []string{"wc", "-c"}}).stdout; strings.TrimSpace(got) != "0" {
		t.Errorf("without stdin wc counts %q", got)
	}
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	if got := run(t, m, runtime.Command{Argv: []string{"cat"}, Stdin: bytes.NewReader(all)}).stdout; got != string(all) {
		t.Errorf("bytes come back as %q", got)
	}
}

// blocked is a reader that never returns before the test ends.
func blocked(t *testing.T) io.Reader {
	r, w := io.Pipe()
	t.Cleanup(func() { w.Close() })
	return r
}

func testStdinNeverEnds(t *testing.T, w *world) {
	m := w.machine(t)
	if got := run(t, m, runtime.Command{Argv: []string{"echo", "done"}, Stdin: blocked(t)}); got.stdout != "done\n" {
		t.Errorf("got %+v", got)
	}
	// Some bytes, then nothing and no end.
	in := io.MultiReader(strings.NewReader("line\n"), blocked(t))
	if got := run(t, m, runtime.Command{Argv: []string{"sh", "-c", "read x; echo $x"}, Stdin: in}); got.stdout != "line\n" {
		t.Errorf("got %+v", got)
	}
}

// endless is an input without end that counts what is taken.
type endless struct{ taken atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	e.taken.Add(int64(len(p)))
	return len(p), nil
}

func testStdinNobodyReads(t *testing.T, w *world) {
	m := w.machine(t)
	var in endless
	if got := run(t, m, runtime.Command{Argv: []string{"sh", "-c", "head -c 10 | wc -c; sleep 1"}, Stdin: &in}); strings.TrimSpace(got.stdout) != "10" {
		t.Errorf("got %+v", got)
	}
	if n := in.taken.Load(); n > 64<<20 {
		t.Errorf("%d bytes of stdin were taken that nobody read", n)
	}
}

func testBigBothWays(t *testing.T, w *world) {
	m := w.machine(t)
	sent, received := sha256.New(), sha256.New()
	source := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), big), sent)
	got := run(t, m, runtime.Command{Argv: []string{"cat"}, Stdin: source, Stdout: received})
	if got.Code != 0 || !bytes.Equal(sent.Sum(nil), received.Sum(nil)) {
		t.Errorf("%d bytes through cat came back different; %+v", big, got)
	}
}

// summing counts and hashes what is written.
type summing struct {
	n int64
	h interface {
		io.Writer
		Sum([]byte) []byte
	}
}

func newSumming() *summing { return &summing{h: sha256.New()} }

func (s *summing) Write(p []byte) (int, error) {
	s.n += int64(len(p))
	return s.h.Write(p)
}

func (s *summing) String() string { return fmt.Sprintf("%d bytes %x", s.n, s.h.Sum(nil)) }

func testBigOutput(t *testing.T, w *world) {
	m := w.machine(t)
	stdout, stderr := newSumming(), newSumming()
	script := fmt.Sprintf("head -c %d /dev/zero | tr '\\0' o & head -c %d /dev/zero | tr '\\0' e >&2; wait", big, big)
	got := run(t, m, runtime.Command{Argv: []string{"sh", "-c", script}, Stdout: stdout, Stderr: stderr})
	for _, tc := range []struct {
		name string
		got  *summing
		fill string
	}{{"stdout", stdout, "o"}, {"stderr", stderr, "e"}} {
		want := newSumming()
		io.WriteString(want, strings.Repeat(tc.fill, big))
		if tc.got.String() != want.String() {
			t.Errorf("%s: %s, want %s (exit %+v)", tc.name, tc.got, want, got.Exit)
		}
	}
}

// gate is a writer that blocks until it is opened.
type gate struct {
	open chan struct{}
	n    atomic.Int64
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.n.Add(int64(len(p)))
	return len(p), nil
}

// testSlowReader blocks the reader of a command that notes how far it has come,
// and waits until the command stands still: it must do so long before its end.
func testSlowReader(t *testing.T, w *world) {
	m := w.machine(t)
	const blocks, blockSize = 200, 1 << 20
	g := &gate{open: make(chan struct{})}
	p := start(t, m, runtime.Command{Stdout: g, Argv: []string{"sh", "-c", fmt.Sprintf(
		"i=0; while [ $i -lt %d ]; do echo $i >progress; head -c %d /dev/zero; i=$((i+1)); done", blocks, blockSize)}})
	last, same := "", 0
	eventually(t, "the command stands still", func() bool {
		now := strings.TrimSpace(sh(t, m, "cat progress").stdout)
		if now == last && now != "" {
			same++
		} else {
			last, same = now, 0
		}
		time.Sleep(50 * time.Millisecond)
		return same == 20
	})
	if n, err := strconv.Atoi(last); err != nil || n > 64 {
		t.Errorf("the command wrote %s MiB although nobody read", last)
	}
	close(g.open)
	if exit, err := p.Wait(); err != nil || exit.Code != 0 || g.n.Load() != blocks*blockSize {
		t.Errorf("then %d bytes arrived, want %d; %+v, %v", g.n.Load(), blocks*blockSize, exit, err)
	}
}

func testBackgroundChild(t *testing.T, w *world) {
	m := w.machine(t)
	seconds := unique()
	if got := sh(t, m, "sleep "+seconds+" & echo out; echo err >&2"); got.stdout != "out\n" || got.stderr != "err\n" {
		t.Errorf("got %+v", got)
	}
	if !sleeping(t, m, seconds) {
		t.Error("the background process is gone: Wait was held up, or killed it")
	}
	// One that goes on writing holds nothing up either, and is not hurt.
	seconds = unique()
	sh(t, m, "(echo a; sleep 1; echo b; sleep 0.2; echo c; exec sleep "+seconds+") &")
	eventually(t, "the background process has written all", func() bool { return sleeping(t, m, seconds) })
}

// testAllDelivered ends commands right after their last write.
func testAllDelivered(t *testing.T, w *world) {
	m := w.machine(t)
	for range 20 {
		if got := sh(t, m, "head -c 50000 /dev/zero; head -c 300 /dev/zero >&2"); len(got.stdout) != 50000 || len(got.stderr) != 300 {
			t.Fatalf("%d and %d bytes arrived, want 50000 and 300", len(got.stdout), len(got.stderr))
		}
	}
}
