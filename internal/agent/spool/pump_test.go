package spool

import (
	"bytes"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// pipe returns a pipe as a process has it for its output.
func pipe(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		t.Fatal(err)
	}
	ours, theirs = os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	t.Cleanup(func() {
		ours.Close()
		theirs.Close()
	})
	return ours, theirs
}

// TestCatchUp: what was written is there, though nothing else carries it.
func TestCatchUp(t *testing.T) {
	var p Pump
	var got bytes.Buffer
	ours, theirs := pipe(t)
	keep := func(b []byte) { got.Write(b) }
	p.CatchUp(ours, keep) // an empty pipe does not make it wait
	all := pattern(60_000)
	for end, piece := range []int{1, 32 << 10, 0, 27_000} {
		if _, err := theirs.Write(all[got.Len():][:piece]); err != nil {
			t.Fatal(err)
		}
		p.CatchUp(ours, keep)
		if !bytes.HasPrefix(all, got.Bytes()) {
			t.Fatalf("after piece %d the output is another", end)
		}
	}
	if want := 1 + 32<<10 + 27_000; got.Len() != want {
		t.Errorf("%d bytes, want %d", got.Len(), want)
	}
	ours.Close()
	p.CatchUp(ours, func([]byte) { t.Error("a closed pipe gave something") })
}

// TestCatchUpWhileRunning: each byte is taken once and in order, by whichever
// comes first, and a writer that has returned is always caught up with.
func TestCatchUpWhileRunning(t *testing.T) {
	var p Pump
	var got bytes.Buffer // the pump calls one keep at a time
	ours, theirs := pipe(t)
	keep := func(b []byte) { got.Write(b) }
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ours, keep)
	}()
	all := pattern(1 << 20)
	for end := 0; end < len(all); {
		n, err := theirs.Write(all[end:min(len(all), end+999)])
		if err != nil {
			t.Fatal(err)
		}
		end += n
		p.CatchUp(ours, keep)
		p.mu.Lock()
		if got.Len() != end {
			t.Errorf("%d of %d bytes were taken", got.Len(), end)
		}
		p.mu.Unlock()
	}
	theirs.Close()
	<-done
	if !bytes.Equal(got.Bytes(), all) {
		t.Error("the output is another")
	}
}
