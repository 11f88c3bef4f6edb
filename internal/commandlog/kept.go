package commandlog

import (
	"fmt"
	"io"
	"strings"
)

// section is a part of a file.
type section struct {
	file   io.ReaderAt
	off, n int64
}

// kept is what there is of a stream: its beginning and, behind a gap, more. What
// is missing to total is missing at the end.
type kept struct {
	total int64
	head  section
	gap   int64
	tail  []section
}

// mark stands in a text for n bytes that are not in it, as in api.Bound.
func mark(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("\n[... %d bytes left out ...]\n", n)
}

// text returns the beginning and the end of the stream, of both at most limit
// bytes, with marks for what is left out; nothing more is read. Invalid UTF-8 is
// replaced. The text is truncated if anything is left out.
func (k kept) text(limit int) (text string, truncated bool, err error) {
	limit = max(0, limit)
	first, last := []section{k.head}, k.tail
	size := length(first) + length(last)
	missing := max(0, k.total-size-k.gap)
	if size > int64(limit) {
		if k.gap == 0 { // as one: half of the limit may reach from the beginning into the rest
			first = append(first, last...)
			last = first
		}
		first, last = front(first, int64(limit/2)), back(last, int64(limit/2))
	}
	left := size + k.gap - length(first) - length(last)
	var b strings.Builder
	if err := read(&b, first); err != nil {
		return "", false, err
	}
	b.WriteString(mark(left))
	if err := read(&b, last); err != nil {
		return "", false, err
	}
	b.WriteString(mark(missing))
	return strings.ToValidUTF8(b.String(), "\uFFFD"), left+missing > 0, nil
}

func length(sections []section) (n int64) {
	for _, s := range sections {
		n += s.n
	}
	return n
}

// front returns the first n bytes of sections.
func front(sections []section, n int64) (first []section) {
	for _, s := range sections {
		s.n = min(s.n, n)
		n -= s.n
		first = append(first, s)
	}
	return first
}

// back returns the last n bytes of sections.
func back(sections []section, n int64) (last []section) {
	skip := length(sections) - n
	for _, s := range sections {
		k := max(0, min(s.n, skip))
		skip -= k
		last = append(last, section{s.file, s.off + k, s.n - k})
	}
	return last
}

func read(b *strings.Builder, sections []section) error {
	for _, s := range sections {
		if s.n == 0 {
			continue
		}
		if _, err := io.Copy(b, io.NewSectionReader(s.file, s.off, s.n)); err != nil {
			return err
		}
	}
	return nil
}
