package spool

import "bytes"

// Tail returns the newest lines of both streams together, in pages like Read.
// Lines are ordered by their ends; a line without an end counts, as the newest.
// The rest is read from the page's Next on.
func (l *Log) Tail(lines, limit int) Page {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lines <= 0 {
		return Page{Cursor: l.end, Next: l.end}
	}
	total := l.lines()
	if total <= lines {
		return l.page(l.begin(), limit, nil)
	}
	starts := l.after(total - lines)
	first := min(starts[Stdout], starts[Stderr])
	page := l.page(first, limit, starts)
	page.Dropped = 0 // what the caller did not ask for is not lost
	page.Cursor = page.Next
	if len(page.Records) > 0 {
		page.Cursor = page.Records[0].Cursor
	}
	return page
}

// lines counts the lines of both streams.
func (l *Log) lines() int {
	n := 0
	open := map[Stream]int{} // 1 if the stream's last line has no end
	l.each(l.begin(), func(r Record) bool {
		n += bytes.Count(r.Data, []byte("\n"))
		open[r.Stream] = 1
		if bytes.HasSuffix(r.Data, []byte("\n")) {
			open[r.Stream] = 0
		}
		return true
	})
	return n + open[Stdout] + open[Stderr]
}

// after returns, for each stream, the cursor of its first line that is not among
// the n lines that ended first.
func (l *Log) after(n int) map[Stream]int64 {
	starts := map[Stream]int64{Stdout: l.begin(), Stderr: l.begin()}
	l.each(l.begin(), func(r Record) bool {
		for at := 0; n > 0; n-- {
			i := bytes.IndexByte(r.Data[at:], '\n')
			if i < 0 {
				return true
			}
			at += i + 1
			starts[r.Stream] = r.Cursor + int64(at)
		}
		return false
	})
	return starts
}
