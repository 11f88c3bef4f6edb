package frame_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"pyro/internal/frame"
)

type item struct {
	Type    frame.Type
	Payload string
}

// readAll reads frames until the error that ends the stream.
func readAll(r io.Reader) (items []item, err error) {
	frames := frame.NewReader(r)
	for {
		t, p, err := frames.Next()
		if err != nil {
			return items, err
		}
		items = append(items, item{t, string(p)})
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	want := []item{{1, "stdin"}, {2, ""}, {255, strings.Repeat("x", frame.MaxPayload)}, {3, `{"signal":"INT"}`}}
	var buf bytes.Buffer
	w := frame.NewWriter(&buf)
	for _, it := range want[:3] {
		if err := w.Write(it.Type, []byte(it.Payload)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteJSON(3, map[string]string{"signal": "INT"}); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]io.Reader{"whole": bytes.NewReader(buf.Bytes()), "byte by byte": iotest.OneByteReader(bytes.NewReader(buf.Bytes()))} {
		got, err := readAll(r)
		if err != io.EOF {
			t.Errorf("%s: ended with %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestLimits(t *testing.T) {
	var buf bytes.Buffer
	if err := frame.NewWriter(&buf).Write(1, make([]byte, frame.MaxPayload+1)); err == nil || buf.Len() > 0 {
		t.Errorf("a payload above the limit: %v, %d bytes written", err, buf.Len())
	}
	if _, err := readAll(bytes.NewReader([]byte{1, 0, 16, 0, 1})); err == nil || !strings.Contains(err.Error(), "1048577") {
		t.Errorf("a length above the limit: %v", err)
	}
}

func TestAnEndWithinAFrame(t *testing.T) {
	whole := []byte{7, 0, 0, 0, 3, 'a', 'b', 'c'}
	for n := 1; n < len(whole); n++ {
		if _, err := readAll(bytes.NewReader(whole[:n])); err != io.ErrUnexpectedEOF {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	broken := errors.New("broken")
	if _, err := readAll(io.MultiReader(bytes.NewReader(whole[:6]), iotest.ErrReader(broken))); err != broken {
		t.Errorf("an error of the reader: %v", err)
	}
}

func TestStreamCutsIntoFrames(t *testing.T) {
	var buf bytes.Buffer
	data := strings.Repeat("0123456789", 20_000)
	if n, err := io.WriteString(frame.NewWriter(&buf).Stream(4), data); n != len(data) || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	var got strings.Builder
	items, _ := readAll(&buf)
	for _, it := range items {
		if it.Type != 4 {
			t.Errorf("frame of type %d", it.Type)
		}
		got.WriteString(it.Payload)
	}
	if got.String() != data || len(items) < 2 {
		t.Errorf("%d frames with %d bytes", len(items), got.Len())
	}
}

func TestWritersDoNotMix(t *testing.T) {
	r, w := io.Pipe()
	frames := frame.NewWriter(w)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			payload := bytes.Repeat([]byte{byte('a' + i)}, 100+i)
			for range 50 {
				frames.Write(frame.Type(i), payload)
			}
		})
	}
	go func() { wg.Wait(); w.Close() }()
	items, err := readAll(r)
	if err != io.EOF || len(items) != 400 {
		t.Fatalf("%d frames, %v", len(items), err)
	}
	for _, it := range items {
		if want := strings.Repeat(string(rune('a'+it.Type)), 100+int(it.Type)); it.Payload != want {
			t.Fatalf("frame of type %d holds %q", it.Type, it.Payload)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Add([]byte{4, 0, 0, 0, 2, 'h', 'i', 5, 0, 0, 0, 1, '!'})
	f.Add([]byte{1, 0, 16, 0, 0})
	f.Add([]byte{1, 255, 255, 255, 255, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		items, err := readAll(bytes.NewReader(data))
		if err == nil {
			t.Fatal("a stream without end")
		}
		// What was read, written again, is the beginning of what was there.
		var buf bytes.Buffer
		w := frame.NewWriter(&buf)
		for _, it := range items {
			if err := w.Write(it.Type, []byte(it.Payload)); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.HasPrefix(data, buf.Bytes()) {
			t.Fatalf("%x became %x", data, buf.Bytes())
		}
		if err == io.EOF && buf.Len() != len(data) {
			t.Fatalf("a clean end after %d of %d bytes", buf.Len(), len(data))
		}
	})
}
