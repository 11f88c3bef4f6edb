package spool

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func newLog(t testing.TB, size int64) *Log {
	t.Helper()
	l := NewLog(filepath.Join(t.TempDir(), "log"), size)
	t.Cleanup(l.Remove)
	return l
}

// follow reads from a cursor to the end, page by page.
func follow(t testing.TB, l *Log, page Page, limit int) (text string, records []Record, dropped int64) {
	t.Helper()
	_, end := l.Bounds()
	for {
		dropped += page.Dropped
		for _, r := range page.Records {
			text += fmt.Sprintf("%s:%s|", r.Stream, r.Data)
			records = append(records, r)
		}
		if page.Next >= end {
			return text, records, dropped
		}
		next, err := l.Read(page.Next, limit)
		if err != nil {
			t.Fatal(err)
		}
		if next.Next <= page.Next {
			t.Fatalf("reading from %d leads to %d", page.Next, next.Next)
		}
		page = next
	}
}

func read(t testing.TB, l *Log, cursor int64, limit int) Page {
	t.Helper()
	p, err := l.Read(cursor, limit)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLogKeepsStreamsAndOrder(t *testing.T) {
	l := newLog(t, 1<<20)
	l.Append(Stdout, 1000, []byte("one\ntw"))
	l.Append(Stderr, 1001, []byte("oh"))
	l.Append(Stdout, 1002, []byte("o\n"))
	want := Page{Next: 10, Records: []Record{
		{Stdout, 1000, 0, []byte("one\ntw")}, {Stderr, 1001, 6, []byte("oh")}, {Stdout, 1002, 8, []byte("o\n")},
	}}
	if diff := cmp.Diff(want, read(t, l, 0, 100)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want = Page{Cursor: 4, Next: 7, Records: []Record{{Stdout, 1000, 4, []byte("tw")}, {Stderr, 1001, 6, []byte("o")}}}
	if diff := cmp.Diff(want, read(t, l, 4, 3)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := read(t, l, 10, 5); got.Next != 10 || len(got.Records) > 0 {
		t.Errorf("at the end: %+v", got)
	}
	for _, bad := range []int64{-1, 11} {
		if _, err := l.Read(bad, 1); err == nil {
			t.Errorf("read from %d gave no error", bad)
		}
	}
}

func TestLogDropsTheOldest(t *testing.T) {
	const size = 200_000
	l := newLog(t, size)
	all := pattern(1_000_000)
	for at := 0; at < len(all); {
		n := min(len(all)-at, 1+at%40_000)
		l.Append(Stream(1+at%2), 5, all[at:at+n])
		at += n
	}
	_, records, dropped := follow(t, l, read(t, l, 0, 10_000), 10_000)
	begin, end := l.Bounds()
	if dropped != begin || end != int64(len(all)) || end-begin < size-2*(maxRecord+markEvery) || end-begin > size {
		t.Errorf("%d bytes dropped; holds %d to %d", dropped, begin, end)
	}
	at := begin
	for _, r := range records {
		if r.Cursor != at || !bytes.Equal(r.Data, all[at:at+int64(len(r.Data))]) {
			t.Fatalf("record at %d, want %d", r.Cursor, at)
		}
		at += int64(len(r.Data))
	}
	if at != end {
		t.Errorf("the records end at %d of %d", at, end)
	}
	if len(l.marks) > size/markEvery+2 {
		t.Errorf("%d marks for %d bytes", len(l.marks), size)
	}
}

func TestLogOfTinyRecords(t *testing.T) {
	l := newLog(t, 1<<20)
	for range maxRecords + 100 {
		l.Append(Stdout, 1, []byte("x"))
	}
	p := read(t, l, 0, 1<<20)
	if len(p.Records) != maxRecords || p.Next != maxRecords {
		t.Errorf("%d records to %d", len(p.Records), p.Next)
	}
}

func TestTail(t *testing.T) {
	type piece struct {
		stream Stream
		data   string
	}
	const o, e = Stdout, Stderr
	for _, test := range []struct {
		lines  int
		pieces []piece
		want   string
	}{
		{2, nil, ""},
		{0, []piece{{o, "a\n"}}, ""},
		{-1, []piece{{o, "a\n"}}, ""},
		{1, []piece{{o, "a\nb\n"}}, "stdout:b\n|"},
		{2, []piece{{o, "a\nb\n"}}, "stdout:a\nb\n|"},
		{9, []piece{{o, "a\nb\n"}}, "stdout:a\nb\n|"},
		{1, []piece{{o, "a\nb"}}, "stdout:b|"},
		{2, []piece{{o, "a\n"}, {e, "x\n"}, {o, "b\n"}}, "stderr:x\n|stdout:b\n|"},
		{1, []piece{{o, "a\nb"}, {e, "x\n"}, {o, "c\n"}}, "stdout:b|stdout:c\n|"},
		{2, []piece{{o, "a\nb"}, {e, "x\ny"}, {o, "c\n"}}, "stdout:b|stderr:y|stdout:c\n|"},
		{1, []piece{{e, "x"}, {o, "a\n"}, {o, "b\n"}}, "stderr:x|"},
		{3, []piece{{o, "\n\n\n\n"}}, "stdout:\n\n\n|"},
	} {
		l := newLog(t, 1<<20)
		for _, p := range test.pieces {
			l.Append(p.stream, 1, []byte(p.data))
		}
		if got, _, dropped := follow(t, l, l.Tail(test.lines, 100), 100); got != test.want || dropped != 0 {
			t.Errorf("last %d of %v: %q, want %q; %d dropped", test.lines, test.pieces, got, test.want, dropped)
		}
	}
}

func TestTailOfALongLog(t *testing.T) {
	l := newLog(t, 100_000)
	for i := range 50_000 {
		l.Append(Stream(1+i%2), 1, fmt.Appendf(nil, "line %d\n", i))
	}
	_, records, _ := follow(t, l, l.Tail(1500, 5000), 5000)
	var got strings.Builder
	for _, r := range records {
		got.Write(r.Data)
	}
	lines := strings.Split(strings.TrimSuffix(got.String(), "\n"), "\n")
	if len(lines) != 1500 || lines[0] != "line 48500" || lines[1499] != "line 49999" {
		t.Errorf("%d lines, from %q to %q", len(lines), lines[0], lines[len(lines)-1])
	}
}

// TestDamagedLog: whatever is in the file, readers come to the end.
func TestDamagedLog(t *testing.T) {
	for name, damage := range map[string]func(*Spool) error{
		"zeros": func(s *Spool) error { _, err := s.file.WriteAt(make([]byte, 300), 20_000); return err },
		"header": func(s *Spool) error {
			_, err := s.file.WriteAt([]byte{1, 255, 255, 255}, 0)
			return err
		},
		"noise":     func(s *Spool) error { _, err := s.file.WriteAt(pattern(50_000), 0); return err },
		"truncated": func(s *Spool) error { return os.Truncate(s.path, 1000) },
		"emptied":   func(s *Spool) error { return os.Truncate(s.path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t, 80_000)
			for range 2000 {
				l.Append(Stdout, 1, []byte("all work and no play\n"))
			}
			if err := damage(l.spool); err != nil {
				t.Fatal(err)
			}
			_, records, dropped := follow(t, l, read(t, l, 0, 3000), 3000)
			var got int64
			for _, r := range records {
				got += int64(len(r.Data))
			}
			if _, end := l.Bounds(); got+dropped > end || got == end {
				t.Errorf("%d bytes read, %d dropped of %d", got, dropped, end)
			}
			follow(t, l, l.Tail(10, 3000), 3000)
			l.Append(Stderr, 2, []byte("again\n"))
			if p := l.Tail(1, 100); len(p.Records) == 0 {
				t.Errorf("the newest line is not there: %+v", p)
			}
		})
	}
}

// FuzzLog compares a log with a plain list of what was written, and damages
// the file as well.
func FuzzLog(f *testing.F) {
	f.Add([]byte{1, 10, 2, 20, 1, 0, 3, 7}, []byte{}, int64(0))
	f.Add([]byte{1, 255, 1, 255, 2, 255, 1, 255}, []byte{1, 0, 0, 9}, int64(0))
	all := pattern(40 * 255 * 200)
	f.Fuzz(func(t *testing.T, steps, damage []byte, at int64) {
		if len(steps) > 80 {
			return
		}
		l := newLog(t, minSize)
		end := 0
		for i := 0; i+1 < len(steps); i += 2 {
			n := int(steps[i+1]) * 200 / (1 + int(steps[i])%7)
			l.Append(Stream(1+steps[i]%2), int64(i), all[end:end+n])
			end += n
		}
		if len(damage) > 0 && l.spool.file != nil && at >= 0 && at < minSize {
			if _, err := l.spool.file.WriteAt(damage, at); err != nil {
				t.Skip("the damage cannot be done")
			}
		}
		begin, last := l.Bounds()
		if last != int64(end) || begin < 0 || begin > last {
			t.Fatalf("bounds %d, %d after %d bytes", begin, last, end)
		}
		_, records, _ := follow(t, l, read(t, l, 0, 999), 999)
		follow(t, l, l.Tail(3, 999), 999)
		if len(damage) > 0 {
			return
		}
		next := begin
		for _, r := range records {
			if r.Cursor != next || !bytes.Equal(r.Data, all[next:next+int64(len(r.Data))]) {
				t.Fatalf("record at %d, want %d", r.Cursor, next)
			}
			next += int64(len(r.Data))
		}
		if next != last {
			t.Fatalf("the records end at %d of %d", next, last)
		}
	})
}

const minSize = 64 << 10
