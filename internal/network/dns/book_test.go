package dns

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func numbered(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

func TestBookForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &Book{Grace: time.Minute}
		addr := numbered(1)
		b.Add("first.example", addr, time.Second)
		b.Add("second.example", addr, time.Hour)
		b.Add("first.example", addr, time.Minute) // again
		for _, tc := range []struct {
			wait time.Duration
			want []string
		}{
			{0, []string{"first.example", "second.example"}},
			{2*time.Minute - time.Second, []string{"first.example", "second.example"}},
			{time.Second, []string{"second.example"}},
			{time.Hour, nil},
		} {
			time.Sleep(tc.wait)
			if diff := cmp.Diff(tc.want, b.Names(addr)); diff != "" {
				t.Errorf("after %v more: %s", tc.wait, diff)
			}
		}
	})
}

func TestBookIsBounded(t *testing.T) {
	b := &Book{Size: 100}
	for i := range 1000 {
		b.Add("many.example", numbered(i), time.Hour)
		b.Add("used.example", numbered(0), time.Hour)
		if n := b.Len(); n > 100 {
			t.Fatalf("%d addresses", n)
		}
		if b.Names(numbered(i)) == nil || b.Names(numbered(0)) == nil {
			t.Fatal("the newest is gone")
		}
	}
	if n := b.Len(); n < 99 {
		t.Errorf("%d addresses of 100", n)
	}
	// Many names of one address push out the others, in the end each other.
	for i := range 1000 {
		b.Add(fmt.Sprintf("n%d.example", i), numbered(0), time.Hour)
	}
	if names := b.Names(numbered(0)); len(names) != namesPerAddress || names[0] != "n999.example" {
		t.Errorf("%d names, the newest %s", len(names), names[0])
	}
	if n := b.Len(); n > 100-namesPerAddress+1 || b.pairs > 100 {
		t.Errorf("%d addresses, %d pairs", n, b.pairs)
	}
	small := &Book{Size: 1}
	for i := range 10 {
		small.Add("a.example", numbered(i), time.Hour)
		small.Add("b.example", numbered(i), time.Hour)
		if small.Len() != 1 || len(small.Names(numbered(i))) != 2 {
			t.Errorf("%d addresses", small.Len())
		}
	}
}

func TestBookParallel(t *testing.T) {
	b := &Book{Size: 50}
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 500 {
				b.Add(fmt.Sprintf("g%d.example", g), numbered(i%100), time.Hour)
				b.Names(numbered(i % 100))
			}
		})
	}
	all.Wait()
	if n := b.Len(); n > 50 {
		t.Errorf("%d addresses", n)
	}
}
