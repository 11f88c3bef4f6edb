package tree_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/iotest"

	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

func TestStoreFromSeveralGoroutines(t *testing.T) {
	tr := treetest.New(t)
	type stored struct {
		name, data string
		put        func() error
	}
	all := make([]stored, 200)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			data := bytes.Repeat(fmt.Appendf(nil, "%d,", i), i*100)
			src, off, size, err := tr.Store(bytes.NewReader(data))
			if err != nil || size != int64(len(data)) {
				t.Errorf("%d bytes of %d: %v", size, len(data), err)
			}
			name := fmt.Sprintf("/d/%03d", i)
			all[i] = stored{name, string(data), func() error {
				return tr.PutData(name, &tree.Node{Size: size}, src, off)
			}}
		})
	}
	wg.Wait()
	for _, s := range all {
		if err := s.put(); err != nil {
			t.Fatal(err)
		}
	}
	got := treetest.Entries(t, tr)
	for _, s := range all {
		if got[s.name].Data != s.data {
			t.Errorf("%s holds %d bytes, want %d", s.name, len(got[s.name].Data), len(s.data))
		}
	}
}

func TestStoreAfterFailedReader(t *testing.T) {
	tr := treetest.New(t)
	boom := errors.New("boom")
	if _, _, _, err := tr.Store(iotest.TimeoutReader(bytes.NewReader(make([]byte, 3<<20)))); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("got %v", err)
	}
	if _, _, _, err := tr.Store(iotest.ErrReader(boom)); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	src, off, size, err := tr.Store(bytes.NewReader([]byte("fine")))
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if _, err := src.ReadAt(b, off); err != nil || string(b) != "fine" {
		t.Errorf("got %q, %v", b, err)
	}
}
