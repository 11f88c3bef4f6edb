package spool

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func newSpool(t testing.TB, size int64) *Spool {
	t.Helper()
	s := New(filepath.Join(t.TempDir(), "out"), size)
	t.Cleanup(s.Remove)
	return s
}

// check reads all that a spool should hold of what was written, in pieces.
func check(t testing.TB, s *Spool, all []byte, kept int) {
	t.Helper()
	begin, end := s.Bounds()
	if end != int64(len(all)) || begin > int64(max(0, len(all)-kept)) {
		t.Fatalf("holds %d to %d of %d bytes, want the last %d", begin, end, len(all), kept)
	}
	c, err := s.Read(0, 7)
	if err != nil || c.Cursor != begin || c.Dropped != begin {
		t.Fatalf("read from 0: %+v, %v; the spool begins at %d", c, err, begin)
	}
	for at := begin; at < end; {
		c, err := s.Read(at, 1+len(all)/3)
		if err != nil || c.Cursor != at || c.Dropped != 0 || len(c.Data) == 0 {
			t.Fatalf("read from %d: %d bytes at %d, %d dropped, %v", at, len(c.Data), c.Cursor, c.Dropped, err)
		}
		if !bytes.Equal(c.Data, all[at:c.Next()]) {
			t.Fatalf("bytes %d to %d are not those that were written", at, c.Next())
		}
		at = c.Next()
	}
}

// pattern is output in which every piece differs from every other.
func pattern(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func TestKeepsTheNewest(t *testing.T) {
	all := pattern(100_000)
	for _, size := range []int64{1, 7, 4096, 99_999, 100_000, 1 << 20} {
		for _, piece := range []int{1 + len(all)/5000, 4096, len(all)} {
			s := newSpool(t, size)
			for rest := all; len(rest) > 0; {
				n := min(piece, len(rest))
				if w, err := s.Write(rest[:n]); w != n || err != nil {
					t.Fatalf("wrote %d of %d: %v", w, n, err)
				}
				rest = rest[n:]
			}
			check(t, s, all, int(min(size, int64(len(all)))))
		}
	}
}

func TestBeyondTheEnd(t *testing.T) {
	s := newSpool(t, 10)
	_, _ = s.Write([]byte("abc"))
	for _, cursor := range []int64{-1, 4} {
		if _, err := s.Read(cursor, 1); err == nil {
			t.Errorf("read from %d gave no error", cursor)
		} else if _, ok := errors.AsType[*BeyondError](err); !ok {
			t.Errorf("read from %d: %v", cursor, err)
		}
	}
	if c, err := s.Read(3, 1); err != nil || len(c.Data) != 0 || c.Next() != 3 {
		t.Errorf("read at the end: %+v, %v", c, err)
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(filepath.Join(t.TempDir(), "out"), 10)
		defer s.Remove()
		done := make(chan struct{})
		var woken int
		var mu sync.Mutex
		wait := func(cursor int64, timeout time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			s.Wait(ctx, cursor, done)
			mu.Lock()
			defer mu.Unlock()
			woken++
		}
		count := func(want int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if woken != want {
				t.Errorf("%d of the readers were woken, want %d", woken, want)
			}
		}
		go wait(0, time.Hour)
		go wait(2, time.Hour)
		go wait(9, time.Hour)
		go wait(9, time.Second)
		count(0)
		_, _ = s.Write([]byte("ab"))
		count(1)
		_, _ = s.Write([]byte("c"))
		count(2)
		time.Sleep(time.Second)
		count(3)
		close(done)
		count(4)
	})
}

// TestReadersAndAWriter is for the race detector, and for a reader that
// follows: it gets every byte once or is told that it is lost.
func TestReadersAndAWriter(t *testing.T) {
	s := newSpool(t, 10_000)
	all := pattern(1 << 20)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for at := int64(0); at < int64(len(all)); {
				s.Wait(t.Context(), at, done)
				c, err := s.Read(at, 3000)
				if err != nil || c.Cursor != at+c.Dropped || !bytes.Equal(c.Data, all[c.Cursor:c.Next()]) {
					t.Errorf("read from %d: cursor %d, dropped %d, %v", at, c.Cursor, c.Dropped, err)
					return
				}
				at = c.Next()
			}
		})
	}
	for rest := all; len(rest) > 0; {
		n := min(777, len(rest))
		_, _ = s.Write(rest[:n])
		rest = rest[n:]
	}
	close(done)
	wg.Wait()
}

func TestRemove(t *testing.T) {
	s := newSpool(t, 10)
	_, _ = s.Write([]byte("abc"))
	s.Remove()
	_, _ = s.Write([]byte("def"))
	if c, err := s.Read(0, 10); err != nil || len(c.Data) != 0 || c.Dropped != 3 {
		t.Errorf("read %+v, %v", c, err)
	}
	if _, err := os.Stat(s.path); err == nil {
		t.Error("the file is still there")
	}
}

// TestDamagedFile: the guest's root may do what it likes to the file.
func TestDamagedFile(t *testing.T) {
	s := newSpool(t, 1000)
	_, _ = s.Write(pattern(500))
	if err := os.Truncate(s.path, 100); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Read(50, 400); err != nil || c.Dropped != 450 || len(c.Data) != 0 {
		t.Errorf("read %d bytes, %d dropped, %v", len(c.Data), c.Dropped, err)
	}
	_, _ = s.Write([]byte("new"))
	if c, err := s.Read(500, 400); err != nil || string(c.Data) != "new" {
		t.Errorf("read %q, %v", c.Data, err)
	}
}

// FuzzSpool compares a spool with the plain bytes that were written, while its
// file comes and goes as a full disk would have it.
func FuzzSpool(f *testing.F) {
	f.Add(uint16(100), []byte{1, 5, 2, 200, 3, 9})
	f.Add(uint16(1), []byte{255, 0, 254})
	f.Add(uint16(5000), []byte{200, 255, 201, 1, 202, 255, 203, 2, 255, 1})
	f.Add(uint16(60000), bytes.Repeat([]byte{255, 254, 20}, 30))
	all := pattern(60 * 20_000)
	f.Fuzz(func(t *testing.T, size uint16, steps []byte) {
		if len(steps) > 60 {
			return
		}
		s := newSpool(t, int64(size)+1)
		end := 0
		kept := 0 // at least so many of the newest bytes must be there
		for _, step := range steps {
			switch step {
			case 255: // the file fails from now on
				if s.file != nil {
					s.file.Close()
				}
			case 254: // and again takes what comes
				if s.file != nil {
					f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
					if err != nil {
						t.Fatal(err)
					}
					s.file.Close()
					s.file = f
				}
			default:
				n := int(step) * 78
				if w, err := s.Write(all[end : end+n]); w != n || err != nil {
					t.Fatal(w, err)
				}
				end += n
				kept = min(kept+n, int(size)+1, tailBytes-retryBytes)
			}
			begin, last := s.Bounds()
			if last != int64(end) || begin < 0 || begin > last {
				t.Fatalf("bounds %d, %d after %d bytes", begin, last, end)
			}
			if cap(s.tail) > 3*tailBytes {
				t.Fatalf("%d bytes of memory", cap(s.tail))
			}
			c, err := s.Read(begin, end)
			if err != nil || !bytes.Equal(c.Data, all[c.Cursor:c.Next()]) {
				t.Fatalf("read from %d: %d bytes at %d, %v", begin, len(c.Data), c.Cursor, err)
			}
		}
	})
}

// TestFileShowsNothing: what is saved of a sandbox's disk must not tell what its
// terminals showed.
func TestFileShowsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	s := New(path, 64)
	const line = "token=0123456789abcdef\n"
	for range 20 { // round and round
		_, _ = s.Write([]byte(line))
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(b) - 4 {
			if strings.Contains(line+line, string(b[i:i+5])) {
				t.Fatalf("the file shows %q", b[i:i+5])
			}
		}
	}
	begin, end := s.Bounds()
	c, err := s.Read(begin, 64)
	if want := strings.Repeat(line, 20)[begin:end]; err != nil || string(c.Data) != want {
		t.Errorf("read %q, %v, want %q", c.Data, err, want)
	}
}
