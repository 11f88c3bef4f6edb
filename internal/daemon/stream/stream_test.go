package stream

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"

	"pyro/api"
	"pyro/internal/frame"
)

// FuzzInput feeds the reading side of a stream with bytes of a hostile caller.
func FuzzInput(f *testing.F) {
	var good bytes.Buffer
	w := frame.NewWriter(&good)
	w.Write(api.FrameStdin, []byte("hello"))
	w.WriteJSON(api.FrameSignal, api.SignalEvent{Signal: "INT"})
	w.Write(api.FrameStdinEOF, nil)
	f.Add(good.Bytes())
	f.Add([]byte{3, 0, 0, 0, 1, '{'})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff})
	const window = 16
	many := bytes.Repeat([]byte{api.FrameStdin, 0, 0, 0, 2, 'h', 'i'}, window)
	f.Add(many[:7*window/2])
	f.Add(many)
	f.Add(append([]byte{api.FrameStdin, 0, 0, 0, window + 1}, many[:window+1]...))
	f.Fuzz(func(t *testing.T, data []byte) {
		ctx, cancel := context.WithCancelCause(t.Context())
		told, got := 0, make(chan int)
		in := newInput(cancel, newStdin(ctx, window, func(taken int) { told += taken }))
		go func() {
			b, _ := io.ReadAll(in.stdin)
			if told > len(b) {
				t.Errorf("the caller was told of %d bytes, %d were taken", told, len(b))
			}
			got <- len(b)
		}()
		in.read(bufio.NewReader(bytes.NewReader(data)))
		if ctx.Err() == nil {
			t.Error("the end of the connection did not end the call")
		}
		if n := <-got; n > len(data) {
			t.Errorf("%d bytes of stdin came out of %d", n, len(data))
		}
		// Without a reader the queue holds what fits into the window.
		ctx, cancel = context.WithCancelCause(t.Context())
		in = newInput(cancel, newStdin(ctx, window, func(int) { t.Error("told although nothing was taken") }))
		in.read(bufio.NewReader(bytes.NewReader(data)))
		if n := in.stdin.queue.Len(); n > window {
			t.Errorf("%d bytes are queued", n)
		}
	})
}

// TestStdinWindow plays a caller that always uses the whole window, with reads
// of several sizes: it must be able to go on as long as the command reads.
func TestStdinWindow(t *testing.T) {
	const window = 1000
	for _, size := range []int{1, 100, 249, 250, 251, 2 * window} {
		var s *stdin
		send := func(n int) {
			if err := s.put(make([]byte, n)); err != nil {
				t.Errorf("reads of %d: %d bytes within the window: %v", size, n, err)
			}
		}
		s = newStdin(t.Context(), window, send)
		send(window)
		buf := make([]byte, size)
		for taken := 0; taken < 4*window; {
			n, err := s.Read(buf)
			if n == 0 || err != nil {
				t.Fatalf("reads of %d: %d, %v after %d bytes", size, n, err, taken)
			}
			taken += n
		}
		if err := s.put([]byte("x")); api.KindOf(err) != api.KindUsage {
			t.Errorf("reads of %d: a byte more than the window: %v", size, err)
		}
	}
}

// TestStdinReadWaits: a reader gets what comes later, the end, and word of a
// call that ended.
func TestStdinReadWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newStdin(ctx, 100, nil)
		var got bytes.Buffer
		var end error
		go func() { _, end = io.Copy(&got, s); got.WriteByte('.') }()
		synctest.Wait()
		s.put([]byte("one "))
		synctest.Wait()
		s.put([]byte("two"))
		s.end()
		synctest.Wait()
		if got.String() != "one two." || end != nil {
			t.Errorf("read %q, %v", got.String(), end)
		}
		if err := s.put(nil); api.KindOf(err) != api.KindUsage {
			t.Errorf("after the end: %v", err)
		}
		go func() { _, end = newStdin(ctx, 100, nil).Read(make([]byte, 1)) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if end != io.ErrUnexpectedEOF {
			t.Errorf("when the call ended: %v", end)
		}
	})
}

// TestStdinQuiet: nothing is told once the last frame is on its way.
func TestStdinQuiet(t *testing.T) {
	s := newStdin(t.Context(), 100, func(int) { t.Error("told") })
	s.put(make([]byte, 50))
	s.Read(make([]byte, 50))
	s.quiet()
	s.put([]byte("x"))
	s.Read(make([]byte, 1))
}
