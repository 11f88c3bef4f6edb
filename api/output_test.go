package api_test

import (
	"strings"
	"testing"

	"pyro/api"
)

func TestOutputKeepsHeadAndTail(t *testing.T) {
	for _, chunk := range []int{1, 7, 100, 5000} {
		for _, total := range []int{0, 50, 100, 101, 4321} {
			text := strings.Repeat("0123456789", total/10+1)[:total]
			o := &api.Output{Limit: 100}
			write(t, o, []byte(text), chunk)
			got, cut := o.Text()
			want, wantCut := api.Bound([]byte(text), int64(total), 100)
			if got != want || cut != wantCut {
				t.Errorf("%d bytes by %d: got %q, %v, want %q, %v", total, chunk, got, cut, want, wantCut)
			}
		}
	}
}

func TestOutputOfZeroValue(t *testing.T) {
	var o api.Output
	write(t, &o, make([]byte, api.MaxOutput), 1<<16)
	if text, cut := o.Text(); len(text) != api.MaxOutput || cut {
		t.Errorf("%d bytes, %v", len(text), cut)
	}
	write(t, &o, []byte("end"), 3)
	text, cut := o.Text()
	if len(text) > api.MaxOutput+100 || !cut || !strings.HasSuffix(text, "\x00end") || !strings.Contains(text, "[... 3 bytes left out ...]") {
		t.Errorf("%d bytes, %v", len(text), cut)
	}
}

// FuzzOutput: an Output must keep what Bound would keep of the whole.
func FuzzOutput(f *testing.F) {
	f.Add([]byte("hello world, this is longer than the limit"), 8, 3)
	f.Add([]byte("hello world, this is longer than the limit"), 7, 3)
	f.Add([]byte(""), 2, 1)
	f.Add([]byte("exactly8"), 8, 8)
	f.Fuzz(func(t *testing.T, data []byte, limit, chunk int) {
		if limit < 1 || limit > 1000 || chunk < 1 {
			return
		}
		o := &api.Output{Limit: limit}
		write(t, o, data, chunk)
		got, cut := o.Text()
		want, wantCut := api.Bound(data, int64(len(data)), limit)
		if got != want || cut != wantCut {
			t.Errorf("kept %q, %v, want %q, %v", got, cut, want, wantCut)
		}
	})
}

func write(t *testing.T, o *api.Output, data []byte, chunk int) {
	t.Helper()
	for len(data) > 0 {
		n := min(chunk, len(data))
		if k, err := o.Write(data[:n]); k != n || err != nil {
			t.Fatalf("wrote %d of %d, %v", k, n, err)
		}
		data = data[n:]
	}
}
