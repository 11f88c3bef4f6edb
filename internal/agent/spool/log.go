package spool

import (
	"context"
	"encoding/binary"
	"sync"
)

// Stream is one of the two outputs of a process.
type Stream byte

// The streams, numbered as file descriptors are.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

// A record in the spool is a header, then the data:
//
//	1 byte   the stream
//	3 bytes  the length of the data, at most maxRecord
//	8 bytes  the time, Unix milliseconds
//
// Numbers are big endian.
const (
	headerLen = 12
	maxRecord = 16 << 10
)

// markEvery is the distance between two places of the spool that are known to
// be the beginning of a record. When the oldest bytes are overwritten, output
// is lost up to the next one.
const markEvery = 16 << 10

// mark is the place of a record.
type mark struct {
	cursor int64 // of its first byte of output
	at     int64 // of its header in the spool
}

// Log keeps the newest output of a process with two streams, in the order in
// which it came. Its cursors count bytes of output, of both streams together.
type Log struct {
	bell bell

	mu    sync.Mutex // guards what follows; taken before the spool's
	spool *Spool
	end   int64
	marks []mark // ascending; the first may be of a record that is gone
}

// NewLog returns an empty log of size bytes, which counts the records' headers.
func NewLog(path string, size int64) *Log { return &Log{spool: New(path, size)} }

// Record is output that came at one time from one stream.
type Record struct {
	Stream Stream
	TimeMS int64 // Unix time in milliseconds
	Cursor int64 // of the first byte of Data
	Data   []byte
}

// Append adds output.
func (l *Log) Append(stream Stream, timeMS int64, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget() // damage may have taken all
	for len(data) > 0 {
		n := min(len(data), maxRecord)
		_, at := l.spool.Bounds()
		if len(l.marks) == 0 || at-l.marks[len(l.marks)-1].at >= markEvery {
			l.marks = append(l.marks, mark{l.end, at})
		}
		var head [headerLen]byte
		binary.BigEndian.PutUint32(head[:], uint32(n))
		head[0] = byte(stream)
		binary.BigEndian.PutUint64(head[4:], uint64(timeMS))
		_, _ = l.spool.Write(head[:])
		_, _ = l.spool.Write(data[:n])
		l.end += int64(n)
		data = data[n:]
	}
	l.forget()
	l.bell.ring()
}

// forget drops the marks of what the spool has dropped.
func (l *Log) forget() {
	begin, _ := l.spool.Bounds()
	gone := 0
	for gone < len(l.marks) && l.marks[gone].at < begin {
		gone++
	}
	l.marks = append(l.marks[:0], l.marks[gone:]...)
}

// Bounds returns the oldest cursor that can be read and the one after the newest.
func (l *Log) Bounds() (begin, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begin(), l.end
}

func (l *Log) begin() int64 {
	if len(l.marks) == 0 {
		return l.end
	}
	return l.marks[0].cursor
}

// Page is what a reader of a log gets.
type Page struct {
	// Cursor is where the records begin: Dropped bytes after what was asked for.
	// Next is the cursor to go on with; it may be beyond the last record if
	// there were bytes that the reader did not want or that were damaged.
	Cursor, Next, Dropped int64
	Records               []Record
}

// maxRecords bounds a page of very small records.
const maxRecords = 2000

// Read returns at most limit bytes of output from cursor on.
func (l *Log) Read(cursor int64, limit int) (Page, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cursor < 0 || cursor > l.end {
		return Page{}, &BeyondError{cursor, l.end}
	}
	return l.page(cursor, limit, nil), nil
}

// page reads from cursor on, without what is before the start of its stream.
func (l *Log) page(cursor int64, limit int, starts map[Stream]int64) Page {
	from := max(cursor, l.begin())
	page := Page{Cursor: from, Next: from, Dropped: from - cursor}
	whole := l.each(from, func(r Record) bool {
		if len(page.Records) == 0 && starts == nil && r.Cursor > page.Cursor {
			// Damage between the cursor and the first record that can be read.
			page.Dropped += r.Cursor - page.Cursor
			page.Cursor = r.Cursor
		}
		if skip := min(starts[r.Stream]-r.Cursor, int64(len(r.Data))); skip > 0 {
			r.Data = r.Data[skip:]
			r.Cursor += skip
		}
		r.Data = r.Data[:min(len(r.Data), limit)]
		limit -= len(r.Data)
		page.Next = r.Cursor + int64(len(r.Data))
		if len(r.Data) > 0 {
			r.Data = append([]byte(nil), r.Data...)
			page.Records = append(page.Records, r)
		}
		return limit > 0 && len(page.Records) < maxRecords
	})
	if whole {
		if page.Next = l.end; len(page.Records) == 0 {
			page.Dropped += l.end - page.Cursor
			page.Cursor = l.end
		}
	}
	return page
}

// each calls f with the records from cursor on, the first one cut so that it
// begins there, until f returns false; it says whether f never did. The data is
// valid only during the call. What is damaged is passed over.
func (l *Log) each(cursor int64, f func(Record) bool) bool {
	i := 0
	for i+1 < len(l.marks) && l.marks[i+1].cursor <= cursor {
		i++
	}
	for ; i < len(l.marks); i++ {
		end := mark{cursor: l.end}
		_, end.at = l.spool.Bounds()
		if i+1 < len(l.marks) {
			end = l.marks[i+1]
		}
		if !l.section(l.marks[i], end, cursor, f) {
			return false
		}
	}
	return true
}

// section calls f with the records from one mark to the next.
func (l *Log) section(from, to mark, cursor int64, f func(Record) bool) bool {
	chunk, err := l.spool.Read(from.at, int(to.at-from.at))
	if err != nil || chunk.Dropped > 0 {
		return true
	}
	b, at := chunk.Data, from.cursor
	for len(b) >= headerLen {
		n := int(binary.BigEndian.Uint32(b) & 0xffffff)
		r := Record{Stream: Stream(b[0]), TimeMS: int64(binary.BigEndian.Uint64(b[4:])), Cursor: at}
		b = b[headerLen:]
		if r.Stream != Stdout && r.Stream != Stderr || n == 0 || n > len(b) || at+int64(n) > to.cursor {
			return true
		}
		r.Data, b = b[:n], b[n:]
		at += int64(n)
		if at <= cursor {
			continue
		}
		if skip := cursor - r.Cursor; skip > 0 {
			r.Data = r.Data[skip:]
			r.Cursor = cursor
		}
		if !f(r) {
			return false
		}
	}
	return true
}

// Wait returns when there is output after cursor, done is closed or ctx ends.
func (l *Log) Wait(ctx context.Context, cursor int64, done <-chan struct{}) {
	l.bell.wait(ctx, done, func() bool {
		_, end := l.Bounds()
		return end > cursor
	})
}

// Remove gives up the log.
func (l *Log) Remove() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spool.Remove()
	l.marks = nil
	l.bell.ring()
}
