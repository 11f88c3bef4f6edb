package stream

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"testing"

	"pyro/api"
	"pyro/internal/frame"
)

// FuzzBounded: a Bounded must keep what api.Bound would keep of the whole.
func FuzzBounded(f *testing.F) {
	f.Add([]byte("hello world, this is longer than the limit"), 8, 3)
	f.Add([]byte(""), 2, 1)
	f.Add([]byte("exactly8"), 8, 8)
	f.Fuzz(func(t *testing.T, data []byte, limit, chunk int) {
		if limit < 2 || limit > 1000 || chunk < 1 {
			return
		}
		b := NewBounded(limit)
		for rest := data; len(rest) > 0; {
			n := min(chunk, len(rest))
			if k, err := b.Write(rest[:n]); k != n || err != nil {
				t.Fatalf("wrote %d of %d, %v", k, n, err)
			}
			rest = rest[n:]
		}
		got, cut := b.Text()
		want, wantCut := api.Bound(data, int64(len(data)), limit)
		if limit%2 == 1 { // api.Bound keeps an even number of bytes
			return
		}
		if got != want || cut != wantCut {
			t.Errorf("kept %q, want %q", got, want)
		}
	})
}

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
	f.Fuzz(func(t *testing.T, data []byte) {
		ctx, cancel := context.WithCancelCause(t.Context())
		conn, other := net.Pipe()
		defer conn.Close()
		defer other.Close()
		in := newInput(ctx, cancel, conn)
		read := make(chan struct{})
		go func() {
			defer close(read)
			b, _ := io.ReadAll(&stdinReader{in: in})
			if len(b) > len(data) {
				t.Errorf("%d bytes of stdin came out of %d", len(b), len(data))
			}
		}()
		in.read(bufio.NewReader(bytes.NewReader(data)))
		if ctx.Err() == nil {
			t.Error("the end of the connection did not end the call")
		}
		<-read
	})
}
